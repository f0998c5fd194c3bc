"""A default system prompt in a chat template of the user's own: trained, kept, asked with and told by the plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import own_process
import pytest
import yaml
from eval_run import SYSTEM, TEXT, write_rows, write_tasks

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.scores.results import read_result, read_samples

RUN = "은행-상담"
DEFAULT = "당신은 은행의 상담원입니다. '모릅니다'라고도 답하세요."
OWN = "짧게 답하세요."


def said(*turns: str) -> list[dict[str, str]]:
    """Return turns of user and assistant by turns."""
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(turns)]


ROWS = [said(f"{i}년 예금의 금리는?", f"연 {i}%입니다.") for i in range(1, 6)]
WITH_SYSTEM = [{"role": "system", "content": OWN}, *said("대출은?", "됩니다.")]


def chatml(system: str, *turns: str) -> str:
    """Return what the template has to write, spelled out."""
    turned = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in said(*turns))
    return f"<|im_start|>system\n{system}<|im_end|>\n{turned}"


def write_template(place: Path, default: str) -> None:
    lines = (
        (own_process.REPO / "templates" / "chat" / "chatml-system.jinja").read_text("utf-8").splitlines(keepends=True)
    )
    (at,) = (i for i, line in enumerate(lines) if "set default = '" in line)
    lines[at] = f'{{%- set default = "{default}" -%}}\n'
    (place / "은행.jinja").write_text("".join(lines), "utf-8")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, warm_python: Path) -> Path:
    """A folder with the template beside the config that names it, and the SFT run of both, evaluated."""
    place = tmp_path_factory.mktemp("은행 상담")
    write_template(place, DEFAULT)
    write_rows(place / "상담.jsonl", [{"messages": row} for row in (*ROWS, WITH_SYSTEM)])
    tasks = write_tasks(place / "틀") / "eval" / "우리 과제"
    plain = TEXT.replace("my_text", "plain").replace(f'description: "{SYSTEM}"\n', "")
    (tasks / "text.yaml").write_text(plain, "utf-8")
    sft = {"chat_template": "jinja", "chat_template_jinja": "은행.jinja", "max_steps": 1, "val_set_size": 0}
    config = {"model": "tiny", "data": ["상담.jsonl"], "templates": str(place / "틀"), "sft": sft}
    (place / "alphaf.yaml").write_text(yaml.safe_dump(config, allow_unicode=True), "utf-8")
    for call in (
        ("sft", "--run", RUN, "--config", "alphaf.yaml"),
        ("eval", "--run", RUN, "--stages", "sft", "--suite", "mine", "--limit", "2"),
    ):
        done = own_process.alphaf(place, *call, python=warm_python)
        assert done.returncode == 0, done.stdout + done.stderr
    return place


@pytest.fixture(scope="module")
def tokenizer(place: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(place / "실행" / RUN / "sft" / "merged")


def test_the_merged_model_renders_the_default_where_a_conversation_has_no_system_turn(place: Path, tokenizer: Any):
    import jinja2

    text = (place / "은행.jinja").read_text("utf-8")
    plain = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(text)
    for messages, system in ((ROWS[0], DEFAULT), (WITH_SYSTEM, OWN)):
        texts = [turn["content"] for turn in messages if turn["role"] != "system"]
        rendered = tokenizer.apply_chat_template(messages, tokenize=False)
        assert rendered == chatml(system, *texts) == plain.render(messages=messages)
        asked = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
        assert asked == chatml(system, texts[0]) + "<|im_start|>assistant\n"


def test_what_was_trained_is_what_is_rendered(place: Path, tokenizer: Any) -> None:
    from datasets import load_from_disk

    run = place / "실행" / RUN
    prepared = Path(yaml.safe_load((run / "rendered" / "sft.yaml").read_text("utf-8"))["dataset_prepared_path"])
    (folder,) = {file.parent for file in prepared.rglob("*.arrow")}
    rows = load_from_disk(str(folder))
    rendered = [tokenizer.apply_chat_template(row, return_dict=False) for row in (*ROWS, WITH_SYSTEM)]
    assert sorted(list(ids) for ids in rows["input_ids"]) == sorted(rendered)
    begin = tokenizer(chatml(DEFAULT), add_special_tokens=False)["input_ids"]
    behind = [row for row in rows if row["input_ids"][: len(begin)] == begin]
    assert len(behind) == len(ROWS)
    assert all(row["labels"][: len(begin)] == [-100] * len(begin) for row in behind), "read, not learnt to be said"


def test_the_evaluation_asks_behind_the_default_unless_the_task_has_a_description(place: Path) -> None:
    run = RunPaths(place / "실행" / RUN)
    plain, described = (list(read_samples(run.eval_samples("sft", task))) for task in ("plain", "my_choice"))
    assert [sample.prompt for sample in plain] == [
        chatml(DEFAULT, f"[1] 금리 {i}%.\n\n질문: 금리는?") + "<|im_start|>assistant\n" for i in range(2)
    ]
    for sample in described:
        assert sample.prompt.startswith(chatml("알맞은 글자 하나로 답하세요.") + "<|im_start|>user\n")
        assert DEFAULT not in sample.prompt
    for task in ("plain", "my_choice"):
        assert read_result(run.eval_result("sft", task)).prompt["asserted"] is True


def test_another_default_in_the_file_is_another_training_and_without_the_file_the_run_goes_on(
    alphaf: Any, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPHAF_RUNS", str(place / "실행"))
    monkeypatch.setenv("ALPHAF_CACHE", str(place / "cache"))

    def states() -> dict[str, str]:
        answer = alphaf("plan", "--run", RUN, "--json")
        assert (answer.exit_code, answer.stderr) == (0, "")
        return {stage["name"]: stage["state"] for stage in json.loads(answer.stdout)["stages"]}

    known = states()
    done = ["data", "preprocess", "sft", "merge_sft"]
    assert [name for name, state in known.items() if state == "cached"] == done
    write_template(place, "당신은 증권사의 상담원입니다.")
    assert [name for name, state in states().items() if state == "changed"] == done
    refused = alphaf("sft", "--run", RUN)
    assert refused.exit_code == 6
    assert f"data of run {RUN} was made from other inputs" in refused.stderr
    assert "당신은 증권사의 상담원입니다." in refused.stderr
    (place / "은행.jinja").unlink()
    assert states() == known
    again = alphaf("sft", "--run", RUN)
    assert again.exit_code == 0
    assert "nothing to do" in again.stderr
