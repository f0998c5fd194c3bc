"""A finished run without training, and two tasks of our own: what the evaluation tests start from."""

from __future__ import annotations

import json
import os
import shutil
import stat
import struct
import sys
from pathlib import Path
from typing import Any

from fake_tool import safetensors

FAKE = Path(__file__).with_name("fake_lm_eval.py")
SYSTEM = "자료만 보고 답하고 근거 번호를 [1]처럼 적으세요."

CHOICE = """\
task: my_choice
tag: mine
dataset_path: json
dataset_kwargs: {data_files: {test: choice.jsonl}}
test_split: test
output_type: multiple_choice
description: "알맞은 글자 하나로 답하세요."
doc_to_text: "{{question}}"
doc_to_choice: [A, B, C, D]
doc_to_target: answer
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""
TEXT = f"""\
task: my_text
tag: mine
dataset_path: json
dataset_kwargs: {{data_files: {{test: text.jsonl}}}}
test_split: test
output_type: generate_until
description: "{SYSTEM}"
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: [], max_gen_toks: 16, do_sample: false}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
metadata: {{title_ko: 금리 문답, title_en: Questions on rates}}
"""


def write_tasks(templates: Path, rows: int = 6) -> Path:
    """Write a choice and a text task, with a Korean folder name, and return the templates folder."""
    folder = templates / "eval" / "우리 과제"
    folder.mkdir(parents=True)
    (folder / "choice.yaml").write_text(CHOICE, encoding="utf-8")
    (folder / "text.yaml").write_text(TEXT, encoding="utf-8")
    choices = ["한국은행", "금감원", "국세청", "통계청"]
    names = ("question", "choices", "answer")
    asked = [(f"{i}. 기준금리를 정하는 곳은?", choices, i % 4) for i in range(rows)]
    texts = [(f"[1] 금리 {i}%.\n\n질문: 금리는?", [], f"{i}% [1]") for i in range(rows)]
    for name, letter, found in (("choice", "c", asked), ("text", "t", texts)):
        table = [{"id": f"{letter}{i}", **dict(zip(names, row, strict=True))} for i, row in enumerate(found)]
        write_rows(folder / f"{name}.jsonl", table)
    return templates


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as JSON Lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_model(folder: Path, seed: int) -> None:
    """Write what a model folder holds, as far as the orchestrator reads it."""
    safetensors(folder / "model.safetensors")
    config = {"max_position_embeddings": 4096, "vocab_size": 320, "eos_token_id": 4, "seed": seed}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<|im_end|>"}')
    (folder / "chat_template.jinja").write_text("chatml, as a test has it\n")


def write_weights(path: Path, numbers: int, *, sparse: bool = False) -> None:
    """Write bf16 zeros as two layers, the first of them large."""
    first = {"dtype": "BF16", "shape": [numbers], "data_offsets": [0, 2 * numbers]}
    last = {"dtype": "BF16", "shape": [65536], "data_offsets": [2 * numbers, 2 * numbers + 131072]}
    header = json.dumps({"model.layers.0.weight": first, "lm_head.weight": last}).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        if not sparse:
            file.write(b"\0" * (2 * numbers + 131072))
        file.truncate(8 + len(header) + 2 * numbers + 131072)


def change_a_value(path: Path, *, keep_times: bool = False) -> None:
    """Set the first bf16 value of the first layer to 2.25, in place."""
    before = path.stat()
    with path.open("r+b") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        file.seek(8 + size)
        file.write(struct.pack("<H", 0x4010))
    if keep_times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        after = path.stat()
        assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)


def write_run(
    root: Path, python: Path | str, *, stages: tuple[str, ...] = ("sft", "dpo"), cache: Path | None = None
) -> Path:
    """Write a run whose named stages are finished, and its base model into the cache; return the run's folder."""
    root.mkdir(parents=True)
    (root / "config.yaml").write_text(f"model: tiny\ntools: {{axolotl: '{python}'}}\n", encoding="utf-8")
    done = {f"merge_{stage}": {"state": "done", "ended": "2026-01-01T00:00:00+00:00"} for stage in stages}
    (root / "manifest.json").write_text(json.dumps({"format": 1, "stages": done}), encoding="utf-8")
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "?"}]
    (root / "probes").mkdir()
    write_rows(root / "probes" / "data.jsonl", [{"messages": messages}, {"messages": messages[1:]}])
    for seed, stage in enumerate(stages, start=1):
        write_model(root / stage / "merged", seed)
    base = (cache or Path(os.environ["ALPHAF_CACHE"])) / "models" / "tiny"
    if not base.is_dir():
        write_model(base, 0)
    return root


class Fake:
    """A python that stands in for the tools', and a way to tell it how to behave."""

    def __init__(self, folder: Path, index: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.control = folder / "control.json"
        self.python = folder / "가짜 python"
        # Where lm-eval keeps its own tasks is looked up once, by the real program.
        self.python.write_text(
            f"#!/bin/sh\ncase \"$2\" in *.task_index) test -s '{index}' || {sys.executable} \"$@\" > '{index}'\n"
            f"exec cat '{index}';; esac\nexec {sys.executable} {FAKE} \"$@\"\n"
        )
        self.python.chmod(self.python.stat().st_mode | stat.S_IEXEC)
        self.behave()

    def behave(self, **stages: Any) -> None:
        """Set how each stage behaves from now on."""
        self.control.write_text(json.dumps(stages), encoding="utf-8")

    def calls(self) -> list[dict[str, Any]]:
        """Return every launch since the last call of this."""
        file = self.control.with_name("calls.jsonl")
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        file.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    def launched(self) -> list[str]:
        """Return the names of the stages launched since the last call."""
        return [call["stage"] for call in self.calls()]


def forget(run: Path) -> None:
    """Remove everything that is known of a run's scores, here and in the shared cache."""
    shutil.rmtree(run / "eval", ignore_errors=True)
    shutil.rmtree(Path(os.environ["ALPHAF_CACHE"]) / "eval", ignore_errors=True)
