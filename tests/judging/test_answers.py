"""Answers to prompts: what is kept, made and refused; and the program that makes them, on a tiny real model."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from answer_place import PROMPTS, Place

from alphaf_orch.core.errors import Interrupted, RunStateError, StageError
from alphaf_orch.core.lock import held
from alphaf_orch.judging.answers import Answer, PromptSet, read_answers
from alphaf_orch.runs.chain import ChainModel


@pytest.fixture
def place(tmp_path, monkeypatch):
    return Place(tmp_path, monkeypatch)


def test_answers_are_made_once_and_read_back(place):
    made = place.ask()
    assert list(made) == ["하나", "둘", "셋", "넷"]
    assert made["둘"] == Answer("둘", ("답: 예금이 뭐예요?", "답: 표로 정리해 줘."), 3, 0.5, False)
    assert place.ask() == made
    assert place.calls() == [["하나", "둘", "셋", "넷"]]
    assert "answers of sft: 4 prompts in 2 s, 12 tokens, 0 cut" in place.said.getvalue()
    assert "answers of sft: 4 kept" in place.said.getvalue()
    rows = [json.loads(line) for line in place.file.read_text("utf-8").splitlines()]
    assert {frozenset(row) for row in rows} == {frozenset(["id", "turns", "tokens", "seconds", "truncated", "key"])}
    assert len({row["key"] for row in rows}) == 1
    assert read_answers(place.file) == made


def test_what_the_program_is_told(place):
    place.ask(max_new_tokens=7)
    config = place.config()
    work = place.paths.root / ".partial" / "answers" / "sft" / "질문"
    assert config == {
        "stage": "sft",
        "model": str(place.paths.merged("sft")),
        "revision": None,
        "trust_remote_code": False,
        "reference": str(place.paths.merged("sft")),
        "prompts": str(work / "prompts.jsonl"),
        "output": str(work / f"{config['key'][:16]}.jsonl"),
        "progress": str(work / "progress.jsonl"),
        "key": config["key"],
        "max_new_tokens": 7,
        "batch_size": 16,
    }
    assert not work.exists()
    assert "evaluation.generate_answers" in place.paths.log("answers_sft").read_text("utf-8")


def test_a_base_without_a_trained_model_is_asked_as_training_would(place):
    place.paths.manifest.write_text('{"format": 1, "stages": {"data": {"state": "done"}}}')
    place.ask(model=ChainModel("base", "org/model", "abc", "abc"))
    config = place.config()
    assert (config["reference"], config["model"], config["revision"]) == (None, "org/model", "abc")
    assert (config["chat_template"], config["added_tokens"]) == ("chatml", [])
    assert config["special_tokens"]["eos_token"] == "<|im_end|>"


def test_a_limit_takes_the_first_and_a_higher_one_only_what_lacks(place):
    assert list(place.ask(limit=2)) == ["하나", "둘"]
    assert list(place.ask()) == ["하나", "둘", "셋", "넷"]
    assert place.calls() == [["하나", "둘"], ["셋", "넷"]]
    assert list(read_answers(place.file)) == ["하나", "둘", "셋", "넷"]
    place.ask(limit=3)
    assert len(place.calls()) == 2


@pytest.mark.parametrize("change", ["model", "tokens", "prompts", "system", "tokenizer"])
def test_another_key_makes_all_answers_anew(place, change):
    place.ask()
    first, prompts, options = place.config()["key"], PROMPTS, {}
    if change == "model":
        options["model"] = replace(place.model, identity="local:other")
    elif change == "tokens":
        options["max_new_tokens"] = 99
    elif change == "tokenizer":
        (place.paths.merged("sft") / "tokenizer.json").write_text('{"other": 1}')
    else:
        new = {"turns": ("금리란?",)} if change == "prompts" else {"system": "길게."}
        prompts = replace(PROMPTS, prompts=(replace(PROMPTS.prompts[0], **new), *PROMPTS.prompts[1:]))
    place.ask(prompts, **options)
    assert place.calls() == [["하나", "둘", "셋", "넷"]] * 2
    assert place.config()["key"] != first
    assert len(place.file.read_text("utf-8").splitlines()) == 4
    assert "answers of sft: those kept are of other prompts, settings or another model, asked" in place.said.getvalue()


def test_what_no_answer_depends_on_makes_none_anew(place):
    place.ask()
    other = replace(PROMPTS.prompts[0], category="다른 것", reference="다른 답")
    place.ask(PromptSet("질문", (other, *PROMPTS.prompts[1:]), "another identity"))
    assert len(place.calls()) == 1


def test_a_failure_is_told_and_leaves_the_old_answers(place):
    place.ask()
    before = place.file.read_bytes()
    place.behave("fail")
    with pytest.raises(StageError) as caught:
        place.ask(max_new_tokens=99)
    assert caught.value.what.startswith("answers_sft exited with 3: prompt 넷 does not fit")
    assert "answers_sft.log" in caught.value.where
    assert place.file.read_bytes() == before
    place.behave("ok")
    work = place.config()["output"]
    place.ask(max_new_tokens=99)
    assert place.config()["output"] == work  # where the first try's answers are
    assert read_answers(place.file, place.config()["key"]).keys() == {"하나", "둘", "셋", "넷"}


def test_a_program_that_ends_well_without_every_answer_is_not_believed(place):
    place.behave("half")
    with pytest.raises(StageError) as caught:
        place.ask()
    # `둘` has two turns and one answer.
    assert caught.value.what == "answers_sft ended without an answer to 3 prompts, the first of them 둘"
    assert not place.file.exists()


def test_half_a_conversation_of_a_stopped_call_is_not_published(place):
    place.behave("fail")
    with pytest.raises(StageError):
        place.ask()
    place.behave("ok")
    place.ask(limit=1)
    assert list(read_answers(place.file)) == ["하나"]


def test_ctrl_c_keeps_what_is_answered(place):
    place.behave("hang")
    log = place.paths.log("answers_sft")

    def interrupt() -> None:
        while not (log.is_file() and "hanging" in log.read_text("utf-8")):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(Interrupted) as caught:
        place.ask()
    # The cut last line is no answer, and no reason to stop reading.
    assert read_answers(Path(caught.value.where)).keys() == {"하나", "둘"}
    place.behave("ok")
    assert len(place.ask()) == 4


def test_two_calls_do_not_answer_at_once(place):
    with held(place.paths.root / "answers" / ".lock", "someone"), pytest.raises(RunStateError, match="시험 is in use"):
        place.ask()
    assert not place.calls_file.exists()


def test_no_file_means_no_answers(tmp_path):
    assert read_answers(tmp_path / "없다.jsonl") == {}


# --- the program itself -------------------------------------------------------------------------------------------
