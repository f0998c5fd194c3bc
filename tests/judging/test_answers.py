"""Answers to prompts: what is kept, made and refused; and the program that makes them, on a tiny real model."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml
from rich.console import Console

from alphaf_orch.core.errors import Interrupted, RunStateError, StageError
from alphaf_orch.core.lock import held
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.judging.answers import Answer, Prompt, PromptSet, ensure_answers, read_answers
from alphaf_orch.runs.chain import ChainModel

real = pytest.mark.real
quiet = pytest.mark.filterwarnings("ignore")

PROMPTS = PromptSet(
    "질문",
    (
        Prompt("하나", "금융", ("금리가 뭐예요?",), reference="돈의 값입니다."),
        Prompt("둘", "금융", ("예금이 뭐예요?", "표로 정리해 줘."), system="짧게 답하세요."),
        Prompt("셋", "일상", ("비가 오나요?",)),
        Prompt("넷", "일상", ("주택담보대출의 한도는 어떻게 계산하나요? 순서대로 알려 주세요.",)),
    ),
    "a set's identity",
)

# Answers like the real program, or ends early, fails, hangs, as FAKE_ANSWERS says.
FAKE = """
import json, os, sys, time
from pathlib import Path
import yaml
config = yaml.safe_load(Path(sys.argv[3]).read_text(encoding="utf-8"))
behaviour = os.environ["FAKE_ANSWERS"]
prompts = [json.loads(line) for line in Path(config["prompts"]).read_text(encoding="utf-8").splitlines()]
with Path(os.environ["FAKE_CALLS"]).open("a", encoding="utf-8") as calls:
    calls.write(json.dumps([sys.argv[2].rpartition(".")[2], [p["id"] for p in prompts], config]) + "\\n")
if behaviour != "ok":
    prompts = prompts[:2]
output = Path(config["output"])
there = output.read_bytes() if output.is_file() else b""
output.write_bytes(there[: there.rfind(b"\\n") + 1])
with output.open("a", encoding="utf-8") as file:
    for prompt in prompts:
        turns = prompt["turns"] if behaviour == "ok" else prompt["turns"][:1]
        row = {"id": prompt["id"], "turns": [f"답: {turn}" for turn in turns], "tokens": 3, "seconds": 0.5,
               "truncated": False, "key": config["key"]}
        file.write(json.dumps(row, ensure_ascii=False) + "\\n")
    if behaviour == "hang":
        file.write('{"id": "셋", "tur')
if behaviour == "hang":
    print("hanging", flush=True)
    time.sleep(60)
if behaviour == "fail":
    print("error: prompt 넷 does not fit\\n  where: prompt 넷\\n  next:  shorten it", file=sys.stderr)
    sys.exit(3)
"""


class Place:
    """A run with a finished SFT, whose tools are the stand-in above."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.paths = RunPaths(folder / "실행 폴더" / "시험")
        (folder / "fake.py").write_text(FAKE, "utf-8")
        python = folder / "가짜 python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "{folder}/fake.py" "$@"\n')
        python.chmod(python.stat().st_mode | stat.S_IEXEC)
        self.calls_file = folder / "calls.jsonl"
        self.monkeypatch = monkeypatch
        monkeypatch.setenv("FAKE_CALLS", str(self.calls_file))
        self.behave("ok")
        self.model = ChainModel("sft", str(self.paths.merged("sft")), None, "local:sft")
        self.paths.merged("sft").mkdir(parents=True)
        (self.paths.merged("sft") / "tokenizer.json").write_text("{}")
        self.paths.config.write_text(f"model: tiny\ntools: {{axolotl: '{python}'}}\n", "utf-8")
        self.paths.manifest.write_text('{"format": 1, "stages": {"merge_sft": {"state": "done"}}}')
        self.said = io.StringIO()

    def behave(self, how: str) -> None:
        self.monkeypatch.setenv("FAKE_ANSWERS", how)

    def ask(self, prompts: PromptSet = PROMPTS, model: ChainModel | None = None, **options: Any) -> dict[str, Answer]:
        console = Console(file=self.said, width=200)
        return ensure_answers(self.paths, model or self.model, prompts, console=console, **options)

    def calls(self) -> list[list[str]]:
        """Return the ids that each call of the program was given."""
        return [json.loads(line)[1] for line in self.calls_file.read_text("utf-8").splitlines()]

    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.calls_file.read_text("utf-8").splitlines()[-1])[2]
        return found

    @property
    def file(self) -> Path:
        return self.paths.root / "answers" / "sft" / "질문.jsonl"


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

SHORT = [
    {"id": "하나", "turns": ["금리가 뭐예요?"], "system": None},
    {"id": "둘", "turns": ["예금이 뭐예요?", "표로."], "system": "짧게."},
    {"id": "셋", "turns": ["비가 오나요?"], "system": None},
    {"id": "넷", "turns": ["총부채원리금상환비율을 계산합니다. 맞나요?"], "system": None},
    {"id": "다섯", "turns": ["a", "b", "c"], "system": None},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    pytest.importorskip("transformers", reason="transformers not installed")
    return tiny.save_base(tmp_path_factory.mktemp("끝난 모델"))


def settings(folder: Path, model: Path, prompts: list[dict] = SHORT, /, **changes: Any) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "prompts.jsonl"
    file.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in prompts), "utf-8")
    return {
        "stage": "sft",
        "model": str(model),
        "revision": None,
        "trust_remote_code": False,
        "reference": str(model),
        "prompts": str(file),
        "output": str(folder / "out.jsonl"),
        "progress": str(folder / "progress.jsonl"),
        "key": "열쇠",
        "max_new_tokens": 12,
        "batch_size": 4,
    } | changes


def answered(config: dict[str, Any]) -> dict[str, dict]:
    """Run the program in this process and return the last line of each id."""
    from alphaf_orch.programs.evaluation import generate_answers

    generate_answers.run(config)
    return {row["id"]: row for row in lines(config)}


def lines(config: dict[str, Any]) -> list[dict]:
    return [json.loads(line) for line in Path(config["output"]).read_text("utf-8").splitlines()]


def by_hand(model: Path, messages: list[dict[str, str]], new: int) -> list[int]:
    """Return the greedy continuation, token by token, without generate() and without padding."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    net = AutoModelForCausalLM.from_pretrained(model).eval()
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)
    start = len(ids)
    with torch.inference_mode():
        for _ in range(new):
            ids.append(int(net(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[start:]


@real
@quiet
def test_every_turn_follows_the_models_own_answer(tmp_path, model):
    from transformers import AutoTokenizer

    found = answered(settings(tmp_path / "한 글", model))
    tokenizer = AutoTokenizer.from_pretrained(model)
    for prompt in SHORT:
        messages = [{"role": "system", "content": prompt["system"]}] if prompt["system"] else []
        said = []
        for turn in prompt["turns"]:
            messages.append({"role": "user", "content": turn})
            text = tokenizer.decode(by_hand(model, messages, 12), skip_special_tokens=True)
            said.append(text.rstrip("\ufffd").strip())
            messages.append({"role": "assistant", "content": said[-1]})
        row = found[prompt["id"]]
        assert row["turns"] == said
        # A random model meets no end.
        assert (row["tokens"], row["truncated"], row["key"]) == (12 * len(said), True, "열쇠")
        assert row["seconds"] > 0
    progress = [json.loads(line) for line in (tmp_path / "한 글" / "progress.jsonl").read_text().splitlines()]
    assert [line["step"] for line in progress] == [0, 4, 5, 7, 8]
    assert {line["max_steps"] for line in progress} == {8}


@real
@quiet
def test_the_batch_size_changes_no_answer(tmp_path, model):
    one = answered(settings(tmp_path / "1", model, batch_size=1))
    four = answered(settings(tmp_path / "4", model, batch_size=4))
    assert {name: row["turns"] for name, row in one.items()} == {name: row["turns"] for name, row in four.items()}


@real
@quiet
def test_a_cut_file_is_gone_on_with(tmp_path, model):
    config = settings(tmp_path, model)
    whole = answered(config)
    output = Path(config["output"])
    first = output.read_bytes().split(b"\n")
    # Two first turns are there, the third line was cut, and a line of another key lies among them.
    other = json.dumps({**json.loads(first[0]), "key": "다른 열쇠", "id": "셋"}).encode()
    output.write_bytes(b"\n".join([first[0], other, first[1], first[2][: len(first[2]) // 2]]))
    again = answered(config)
    assert {name: row["turns"] for name, row in again.items()} == {name: row["turns"] for name, row in whole.items()}
    rows = lines(config)  # each line is whole
    assert rows[0] == json.loads(first[0])
    made = [row["id"] for row in rows[3:]]
    kept = [json.loads(line)["id"] for line in (first[0], first[1])]
    assert len(rows) == 3 + 8 - 2
    assert not {name for name in kept if len(whole[name]["turns"]) == 1} & set(made)
    before = output.read_bytes()
    answered(config)
    assert output.read_bytes() == before


@real
@quiet
def test_an_answer_ends_where_the_tokenizer_or_the_model_says(tmp_path, model):
    from transformers import GenerationConfig

    made = by_hand(model, [{"role": "user", "content": "금리가 뭐예요?"}], 12)
    place = next(i for i in range(2, 12) if made[i] not in made[:i])
    other = Path(shutil.copytree(model, tmp_path / "모델"))
    # What else a model's settings ask for is no part of the comparison.
    GenerationConfig(
        eos_token_id=[1, made[place]], do_sample=True, temperature=9.0, repetition_penalty=3.0
    ).save_pretrained(other)
    row = answered(settings(tmp_path / "a", other, SHORT[:1]))["하나"]
    assert (row["tokens"], row["truncated"]) == (place, False)


@real
@quiet
def test_a_prompt_that_cannot_fit_is_named_before_the_first_answer(tmp_path, model):
    from alphaf_orch.programs.common import Failure
    from alphaf_orch.programs.evaluation import generate_answers

    config = settings(tmp_path, model, [*SHORT, {"id": "긴 것", "turns": ["예금 " * 300], "system": None}])
    with pytest.raises(Failure) as caught:
        generate_answers.run(config)
    assert caught.value.code == 3
    assert caught.value.message.startswith("error: prompt 긴 것 has ")
    assert "the model holds 512" in caught.value.message
    # The room for every turn's answer counts: three of 170 tokens are more than 512.
    with pytest.raises(Failure, match="3") as caught:
        generate_answers.run(settings(tmp_path, model, max_new_tokens=170))
    assert "prompt 다섯" in caught.value.message
    assert "3 x 170 new ones" in caught.value.message
    assert not Path(config["output"]).exists()


@real
@quiet
def test_a_prompt_that_the_template_refuses_is_named(tmp_path, model):
    from transformers import AutoTokenizer

    from alphaf_orch.programs.common import Failure
    from alphaf_orch.programs.evaluation import generate_answers

    strict = tmp_path / "엄격"
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        + tokenizer.chat_template
    )
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(model).save_pretrained(strict)
    tokenizer.save_pretrained(strict)
    with pytest.raises(Failure) as caught:
        generate_answers.run(settings(tmp_path, strict))
    assert caught.value.message.startswith("error: the chat template refuses prompt 둘: no system")


def bare_and_trained(folder: Path) -> tuple[Path, Path, int]:
    """Return a base model without ChatML, the tokenizer that training made of its own, and the base's vocabulary."""
    base = tiny.save_base(folder / "base", chatml=False)
    trained = tiny.tokenizer(chatml=False)
    size = len(trained)
    trained.add_tokens([tiny.IM_START, tiny.IM_END], special_tokens=True)
    trained.eos_token, trained.chat_template = tiny.IM_END, tiny.CHATML
    trained.save_pretrained(folder / "trained")
    return base, folder / "trained", size


@real
@quiet
def test_the_base_is_asked_as_its_trained_model_where_it_can_be(tmp_path, capsys):
    from alphaf_orch.programs.evaluation.answer_model import asked_through

    base, trained, size = bare_and_trained(tmp_path)
    config = settings(tmp_path, base, stage="base", reference=str(trained))
    conversation = [{"role": "user", "content": "a"}]
    fits = asked_through(config, size + 2)
    ids = fits.apply_chat_template(conversation, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert (ids[0], fits.eos_token_id) == (size, size + 1)
    assert "warning" not in capsys.readouterr().out
    narrow = asked_through(config, size)
    shown = narrow.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False)
    assert shown == "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
    assert max(narrow(shown)["input_ids"]) < size
    assert "warning: training added 2 tokens" in capsys.readouterr().out
    # And the whole way, with a model that has no rows for them.
    assert answered(config).keys() == {"하나", "둘", "셋", "넷", "다섯"}


@real
@quiet
def test_before_training_the_base_is_asked_as_training_will(tmp_path):
    from alphaf_orch.programs.evaluation.answer_model import asked_through

    base, _, size = bare_and_trained(tmp_path)
    special = {"bos_token": None, "eos_token": tiny.IM_END, "pad_token": "</s>"}
    setup = {"chat_template": "chatml", "added_tokens": [tiny.IM_START, tiny.IM_END], "special_tokens": special}
    config = settings(tmp_path, base, stage="base", reference=None) | setup
    fits = asked_through(config, size + 2)
    ids = fits.apply_chat_template([{"role": "user", "content": "a"}], tokenize=True, return_dict=False)
    # axolotl adds the special tokens first, then `tokens`: eos has the first new id.
    assert (ids[0], fits.eos_token, fits.eos_token_id) == (size + 1, tiny.IM_END, size)
    assert max(asked_through(config, size).get_vocab().values()) < size


@real
@quiet
def test_a_batch_that_does_not_fit_is_made_smaller(tmp_path, model):
    import torch

    from alphaf_orch.programs.evaluation.answer_model import Made
    from alphaf_orch.programs.evaluation.generate_answers import Work, answer_all

    class Small:
        """A model whose memory holds two conversations."""

        def __init__(self) -> None:
            self.sizes: list[int] = []

        def encode(self, messages: list[dict[str, str]], name: str) -> list[int]:
            return list(range(sum(len(message["content"]) for message in messages)))

        def generate(self, batch: list[list[int]]) -> list[Made]:
            self.sizes.append(len(batch))
            if len(batch) > 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return [Made("답", 1, False) for _ in batch]

    small = Small()
    config = settings(tmp_path, model)
    answer_all(Work(config, small, SHORT), 4)
    assert small.sizes == [4, 3, 2, 2, 1, 2, 1]
    assert [row["id"] for row in lines(config)][:5] == ["넷", "둘", "하나", "셋", "다섯"]  # the longest first


@real
@quiet
def test_the_program_says_what_failed_with_its_exit_code(tmp_path, model):
    def run(**changes: Any) -> tuple[int, str]:
        file = tmp_path / "설정.yaml"
        file.write_text(yaml.safe_dump(settings(tmp_path, model, **changes), allow_unicode=True), "utf-8")
        argv = [sys.executable, "-m", "alphaf_orch.programs.evaluation.generate_answers", str(file)]
        env = {**os.environ, "PYTHONUTF8": "1"}
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=200, check=False)
        return done.returncode, done.stderr + done.stdout

    code, said = run(max_new_tokens=0)
    assert (code, "error: max_new_tokens must be a whole number" in said) == (2, True)
    code, said = run(model=str(tmp_path / "없다"))
    assert (code, "error: cannot load the model" in said) == (4, True)
    assert f"where: {tmp_path / '없다'}" in said
    assert "Traceback" not in said


@real
@quiet
def test_a_run_answers_with_the_real_program(place, model):
    shutil.rmtree(place.paths.merged("sft"))
    shutil.copytree(model, place.paths.merged("sft"))
    place.paths.config.write_text("model: tiny\n", "utf-8")
    made = place.ask(max_new_tokens=6)
    assert [len(answer.turns) for answer in made.values()] == [1, 2, 1, 1]
    assert made["둘"].tokens == 12
    shown = place.said.getvalue()
    assert "answers_sft: started" in shown
    assert "5 prompts" not in shown and "answers of sft: 4 prompts in" in shown
    log = place.paths.log("answers_sft").read_text("utf-8")
    assert "answers end at <|im_end|>" in log
    assert log.rstrip().endswith("4 prompts answered")
