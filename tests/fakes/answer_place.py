"""A place where prompts are answered: a run of two models and a stand-in for the program."""

from __future__ import annotations

import io
import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_tool import safetensors
from rich.console import Console

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.judging.answers import Answer, Prompt, PromptSet, ensure_answers
from alphaf_orch.runs.chain import ChainModel

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
        for name in ("config.json", "tokenizer.json"):
            (self.paths.merged("sft") / name).write_text("{}")
        safetensors(self.paths.merged("sft") / "model.safetensors")
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
