"""The suite general_ko as lm-eval itself scores it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scripted_finance import SCRIPTED

from alphaf_orch.core.command import QUIET_OFFLINE
from alphaf_orch.core.paths import CHILD

ROOT = Path(__file__).resolve().parents[2]

SUITE = ROOT / "templates" / "eval" / "general_ko"

MAIN = {"mcq": "acc", "open": "containment"}


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SUITE / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def test_lm_eval_gives_the_figures_known_beforehand(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    asked, rows = read("mcq"), read("open")
    script = {row["question"]: "ABCD"[(row["answer"] + (number % 4 == 0)) % 4] for number, row in enumerate(asked)}
    script |= {row["question"]: row["answer"] for row in rows}
    others = (
        "The answer is on the roof of the house.",
        "<|im_end|>",
        "잘 모르겠습니다 " * 6,
        "정답은 미역국입니다.",
    )
    script |= {row["question"]: text for row, text in zip(rows, others, strict=False)}
    assert len(script) == len(asked) + len(rows)

    folder = tmp_path / "과제 모음"
    shutil.copytree(SUITE, folder)
    for name in MAIN:
        text = (folder / f"{name}.yaml").read_text(encoding="utf-8")
        data = text.replace(f"test: {name}.jsonl", f"test: '{folder / name}.jsonl'")
        (folder / f"{name}.yaml").write_text(data, encoding="utf-8")
    (tmp_path / "scripted.py").write_text(SCRIPTED, encoding="utf-8")
    (tmp_path / "script.json").write_text(json.dumps(script, ensure_ascii=False), encoding="utf-8")
    argv = [sys.executable, str(tmp_path / "scripted.py"), "run", "--model", "scripted"]
    argv += ["--model_args", f"script={tmp_path / 'script.json'},seen={tmp_path / 'seen.jsonl'}"]
    argv += ["--include_path", str(folder), "--tasks", "general-ko", "--apply_chat_template"]
    argv += ["--log_samples", "--output_path", str(tmp_path / "결과")]
    env = os.environ | QUIET_OFFLINE | {"PYTHONPATH": str(CHILD), "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    (path,) = (tmp_path / "결과").rglob("results_*.json")
    found = json.loads(path.read_text(encoding="utf-8"))["results"]
    assert set(found) == {"general_ko_mcq", "general_ko_open"}
    wrong = (len(asked) + 3) // 4
    assert found["general_ko_mcq"]["acc,none"] == pytest.approx(1 - wrong / len(asked))
    expected = {"containment": 36 / 40, "wrong_language": 1 / 40, "empty": 1 / 40, "looping": 1 / 40}
    assert {name: found["general_ko_open"][f"{name},none"] for name in expected} == pytest.approx(expected)

    seen = [json.loads(line) for line in (tmp_path / "seen.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(seen) == 4 * len(asked) + len(rows)
    assert [
        "<system>질문에 한국어로 짧게 답하세요.</><user>어머니의 어머니를 무엇이라고 부르나요?</><assistant>",
        {"do_sample": False, "max_gen_toks": 128, "until": []},
    ] in seen
    assert [
        "<system>문제를 읽고 알맞은 보기의 글자 하나로 답하세요.</><user>'철수야, 밥 먹었니?'에서 '철수'는 무엇을 "
        "가리키는 말인가?\n\nA. 식당의 이름\nB. 사람의 이름\nC. 음식의 이름\nD. 그릇의 이름</><assistant>정답:",
        " B",
    ] in seen
