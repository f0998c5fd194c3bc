"""The chat program: what it prints, what it keeps, and how it ends."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tiny

from alphaf_orch.programs.common import Failure

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers", reason="transformers not installed")
    return tiny.save_base(tmp_path_factory.mktemp("끝난 모델"))


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> Any:
    from alphaf_orch.programs.evaluation import chat

    return chat


def make(chat: Any, model: Path, **changes: Any) -> Any:
    return chat.Chat(model, **{"system": None, "max_new_tokens": 8, "temperature": 0.0} | changes)


def test_answers_are_greedy_and_the_conversation_is_kept(
    chat: Any, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    talk = make(chat, model, system="상담원입니다.")
    first = talk.answer("기준금리는?")
    second = talk.answer("왜요?")
    assert capsys.readouterr().out == f"{first}\n{second}\n"
    turns = [("system", "상담원입니다."), ("user", "기준금리는?"), ("assistant", first), ("user", "왜요?")]
    assert talk.messages == [{"role": role, "content": text} for role, text in [*turns, ("assistant", second)]]
    talk.reset()
    assert talk.messages == [{"role": "system", "content": "상담원입니다."}]
    assert talk.answer("기준금리는?") == first


def test_the_answer_ends_at_the_models_eos(chat: Any, model: Path, tmp_path: Path) -> None:
    talk = make(chat, model)
    asked = [{"role": "user", "content": "왜요?"}]
    prompt = talk.tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    made = talk.model.generate(**prompt, max_new_tokens=8, do_sample=False)
    ids = made[0, prompt["input_ids"].shape[1] :].tolist()
    assert talk.answer("왜요?") == talk.tokenizer.decode(ids, skip_special_tokens=True)
    # The same model, told that the second token it says is one of its ends.
    for path in model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    settings = json.loads((model / "generation_config.json").read_text()) | {"eos_token_id": [4, ids[1]]}
    (tmp_path / "generation_config.json").write_text(json.dumps(settings))
    assert make(chat, tmp_path).answer("왜요?") == talk.tokenizer.decode(ids[:2], skip_special_tokens=True)


def test_a_conversation_past_the_models_length_is_refused_and_forgotten(chat: Any, model: Path) -> None:
    talk = make(chat, model, max_new_tokens=400)
    with pytest.raises(Failure, match="new ones pass the model's 512"):
        talk.answer("금리 " * 200)
    assert talk.messages == []


def test_a_model_without_template_is_refused(chat: Any, tmp_path: Path) -> None:
    tiny.save_base(tmp_path / "plain", chatml=False)
    with pytest.raises(Failure, match="the tokenizer has no chat template"):
        make(chat, tmp_path / "plain")
    with pytest.raises(Failure, match="no model here"):
        make(chat, tmp_path)


def command(model: Path, *arguments: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "alphaf_orch.programs.evaluation.chat",
        "--model",
        str(model),
        "--max-new-tokens",
        "8",
        *arguments,
    ]


def test_piped_lines_are_turns_and_nothing_else_is_printed(
    chat: Any, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    talk = make(chat, model)
    first, second = talk.answer("기준금리는?"), talk.answer("왜요?")
    talk.reset()
    third = talk.answer("왜요?")
    lines = "기준금리는?\n\n왜요?\n/reset\n왜요?\n/exit\n기준금리는?\n"
    environment = os.environ | {"LC_ALL": "POSIX", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        command(model), input=lines.encode(), env=environment, capture_output=True, check=False, timeout=200
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")
    assert done.stdout.decode() == f"{first}\n{second}\n{third}\n"


def test_ctrl_c_at_the_prompt_ends_without_a_traceback(model: Path) -> None:
    parent, child = pty.openpty()
    process = subprocess.Popen(
        command(model), stdin=child, stdout=child, stderr=subprocess.PIPE, env=os.environ | {"HF_HUB_OFFLINE": "1"}
    )
    os.close(child)
    seen, deadline = b"", time.monotonic() + 200
    while b"> " not in seen and time.monotonic() < deadline:
        seen += os.read(parent, 1024)
    # CPython's readline prints the prompt, then waits; a signal right between the two is only seen at the next key.
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    os.close(parent)
    assert (process.returncode, errors.decode()) == (0, "")
