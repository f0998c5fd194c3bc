"""A judge that is a real model behind a real server: transformers' own, on this machine, offline."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import tiny
import yaml

from alphaf_orch.core.command import QUIET_OFFLINE
from alphaf_orch.core.errors import JudgeError

REPO = Path(__file__).parents[2]

SHORT = ("--max-new-tokens", "24", "--json")
PROMPTS = [
    {"id": "q1", "category": "금융", "prompt": "기준금리는 누가 정합니까?", "reference": "한국은행 금융통화위원회"},
    {"id": "q2", "category": "일상", "turns": ["점심 메뉴를 추천해 주세요.", "더 가벼운 것은요?"]},
]


def environment(place: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ALPHAF_")}
    return kept | QUIET_OFFLINE | {
        "PYTHONPATH": str(REPO),
        "ALPHAF_CACHE": str(place / "cache"),
        "ALPHAF_RUNS": str(place / "실행 폴더"),
        "HF_HOME": str(place / "hf"),
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A run `r` whose sft and dpo are tiny models, as a finished chain leaves them."""
    place = tmp_path_factory.mktemp("금융 모델")
    run = place / "실행 폴더" / "r"
    for stage in ("sft", "dpo"):
        tiny.save_base(run / stage / "merged", tied=stage == "dpo")
    done = {"merge_sft": {"state": "done"}, "merge_dpo": {"state": "done"}}
    (run / "manifest.json").write_text(json.dumps({"format": 1, "stages": done}), encoding="utf-8")
    (run / "config.yaml").write_text(yaml.safe_dump({"model": "tiny"}), encoding="utf-8")
    lines = (json.dumps(prompt, ensure_ascii=False) + "\n" for prompt in PROMPTS)
    (place / "물음.jsonl").write_text("".join(lines), encoding="utf-8")
    judge = place / "템플릿" / "judge"
    judge.mkdir(parents=True)
    preset = yaml.safe_load((REPO / "templates" / "judge" / "local.yaml").read_text(encoding="utf-8"))
    preset |= {"max_tokens": 24, "concurrency": 2}
    (judge / "여기.yaml").write_text(yaml.safe_dump(preset, allow_unicode=True), encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def server(place):
    """Serve the tiny SFT model as the judge; the prompts are longer than what it was made for, which it survives."""
    model = tiny.save_base(place / "심판 모델")
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 8192}), encoding="utf-8")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    program = "from transformers.cli.transformers import main; main()"
    argv = [sys.executable, "-c", program, "serve", str(model), "--host", "127.0.0.1", "--port", str(port)]
    with (place / "server.log").open("wb") as log:
        process = subprocess.Popen([*argv, "--device", "cpu"], env=environment(place), stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(f"{url}/health", process, place / "server.log")
            yield f"{url}/v1", str(model)
        finally:
            process.terminate()
            process.wait(timeout=30)


def wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 180
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                assert response.status == 200
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.3)
    raise AssertionError(log.read_text(encoding="utf-8"))


def alphaf(place: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = environment(place) | {"ALPHAF_TEMPLATES": str(place / "템플릿")}
    argv = [sys.executable, "-m", "alphaf_orch", "judge", "--run", "r", *args]
    return subprocess.run(argv, cwd=place, env=env, capture_output=True, text=True, timeout=300, check=False)


def test_a_real_judge_is_asked_and_read_or_counted(place, server):
    """Whatever a random model says, every request succeeds and every reply is a verdict or a counted failure."""
    url, model = server
    preset = place / "템플릿" / "judge" / "여기.yaml"
    values = yaml.safe_load(preset.read_text(encoding="utf-8")) | {"url": url}
    preset.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    args = ("--a", "dpo", "--b", "sft", "--judge", "여기", "--judge-model", model, "--prompts", "물음.jsonl", *SHORT)
    done = alphaf(place, *args)
    file = place / "실행 폴더" / "r" / "judge" / "dpo-vs-sft" / "verdicts.jsonl"
    summary = json.loads(file.with_name("summary.json").read_text(encoding="utf-8"))
    assert done.returncode == (0 if summary["judged"] else JudgeError.exit_code), done.stderr
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert sorted((row["id"], row["order"]) for row in rows) == [
        (name, order) for name in ("q1", "q2") for order in ("ab", "ba")
    ]
    assert {row["judge"] for row in rows} == {model}
    unreadable = [row for row in rows if row["winner"] is None]
    assert all(row["attempts"] == 3 and row["error"] and row["reply"] is not None for row in unreadable)
    assert summary["parse_failures"] == len(unreadable)
    assert summary["requests"] == sum(row["attempts"] for row in rows)
    assert summary["tokens"]["verdicts_without_count"] == 0
    assert summary["tokens"]["prompt"] > 1000
    assert 0 < summary["tokens"]["completion"] <= 24 * summary["requests"]
    # The second call finds everything there: no request, the same figures.
    again = alphaf(place, *args)
    assert again.returncode == done.returncode, again.stderr
    assert json.loads(file.with_name("summary.json").read_text(encoding="utf-8")) == summary
    assert file.read_text(encoding="utf-8").count("\n") == 4


def test_a_real_judge_votes(place, server):
    url, model = server
    args = ("--votes", "--a", "dpo", "--judge", url, "--judge-model", model, "--prompts", "물음.jsonl", *SHORT)
    done = alphaf(place, *args)
    folder = place / "실행 폴더" / "r" / "judge" / "votes-물음"
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert done.returncode == (0 if summary["judged"] else JudgeError.exit_code), done.stderr
    assert summary["stages"]["dpo"]["rows"] == 1
    assert summary["source"] == "물음"
