"""The check of a card that is there for half an hour: nothing found is lost, nothing runs on, and the wheels fit."""

import argparse
import json
import os
import signal
import sys
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gpu_check import collect, running, steps
from gpu_check.__main__ import install
from gpu_check.compared import compared
from gpu_check.page import page
from gpu_check.record import Record
from gpu_check.running import PATIENCE, Clock, OutOfTime
from gpu_check.steps import Step, StepFailed

REPO = Path(__file__).resolve().parent.parent.parent


def planned(monkeypatch: pytest.MonkeyPatch, *found: Step) -> None:
    monkeypatch.setattr(steps, "STEPS", found)
    monkeypatch.setattr(steps, "TITLES", {step.name: step.title for step in found})


def state(asked: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((asked.work / "state.json").read_text(encoding="utf-8"))["steps"]
    return found


def refuse(_: object) -> dict[str, Any]:
    raise StepFailed("exit code 3\nerror: the card has gone")


def test_the_steps_come_in_the_order_of_their_worth_and_fit_into_twenty_minutes() -> None:
    names = [step.name for step in steps.STEPS]
    assert names == ["doctor", "chain", "resume", "few_layers", "all_layers", "switches", "dpo"]
    assert sum(step.seconds for step in steps.STEPS) <= 20 * 60


@pytest.mark.usefixtures("one_gpu")
def test_a_step_that_fails_is_told_and_the_next_one_runs(
    asked: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(monkeypatch, Step("bad", "what fails", 1, refuse), Step("good", "what works", 1, lambda _: {"stages": []}))
    assert steps.run_all(asked) == 1
    assert [entry["state"] for entry in state(asked).values()] == ["failed", "done"]
    text = (asked.output / "gpu-verification.md").read_text(encoding="utf-8")
    assert "| what fails | failed |" in text and "the card has gone" in text and "| what works | done |" in text


@pytest.mark.usefixtures("one_gpu")
def test_the_same_call_again_runs_what_is_left_and_repeats_nothing(
    asked: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def note(name: str) -> Step:
        return Step(name, name, 300, lambda _: {"ran": ran.append(name)})

    planned(monkeypatch, note("first"), note("second"))
    asked.budget = 300 + PATIENCE + 5
    monkeypatch.setattr(Clock, "left", property(lambda _: 310.0 if not ran else 10.0))
    assert steps.run_all(asked) == 0
    assert ran == ["first"] and state(asked)["second"]["state"] == "not begun"
    monkeypatch.setattr(Clock, "left", property(lambda _: 310.0))
    assert steps.run_all(asked) == 0
    assert ran == ["first", "second"] and state(asked)["second"]["state"] == "done"


@pytest.mark.parametrize("rehearse", [False, True])
@pytest.mark.usefixtures("one_gpu")
def test_a_machine_that_is_taken_back_leaves_the_page_and_what_a_step_had_found(
    rehearse: bool, asked: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked.rehearse = rehearse
    if rehearse:
        asked.output = asked.work

    def taken(check: steps.Check) -> dict[str, Any]:
        check.record.note("switches", "running", switches=[{"set": [], "state": "done", "tokens_per_s": 5180}])
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
        check.call("switches", [sys.executable, "-c", "import time; time.sleep(60)"])
        return {}

    later: list[steps.Check] = []
    second = Step("later", "what comes later", 1, lambda check: {"ran": later.append(check)})
    planned(monkeypatch, Step("switches", "switches", 1, taken), second)
    assert steps.run_all(asked) == 0
    assert state(asked)["switches"]["state"] == "cut off"
    assert not later and state(asked)["later"] == {"state": "not begun", "why": "stopped by SIGTERM"}
    text = (asked.output / "gpu-verification.md").read_text(encoding="utf-8")
    assert "stopped by SIGTERM" in text and "| nothing | done | 5180 |" in text
    assert json.loads((asked.output / "gpu-verification.json").read_text(encoding="utf-8"))["steps"]


def test_without_a_gpu_nothing_is_run(asked: argparse.Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "detect_machine", lambda: SimpleNamespace(gpus=(), cpus=2))
    assert steps.run_all(asked) == 5
    assert not asked.output.exists()


def test_a_command_that_outlasts_its_time_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = f"sleep 61 & echo $! > {child}; wait"
    with pytest.raises(OutOfTime, match="ended after"):
        running.run(["sh", "-c", script], Clock.of(PATIENCE + 60), tmp_path / "log", limit=1)
    pid = int(child.read_text(encoding="utf-8"))
    end = time.monotonic() + 5
    while _alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text(encoding="utf-8").split()[2] != "Z"


def test_a_command_is_stopped_as_soon_as_it_has_shown_what_is_wanted(tmp_path: Path) -> None:
    file = tmp_path / "log"
    begun = time.monotonic()
    argv = ["sh", "-c", "echo checkpoint; sleep 60"]
    assert running.run(argv, Clock.of(PATIENCE + 60), file, until=lambda: b"checkpoint" in file.read_bytes()) == 0
    assert time.monotonic() - begun < 20


def test_a_record_is_read_back_as_it_was(tmp_path: Path) -> None:
    record = Record.read(tmp_path / "state.json")
    record.note("doctor", "done", seconds=3.0)
    record.note("chain", "running")
    again = Record.read(tmp_path / "state.json")
    assert again.finished("doctor") and not again.finished("chain") and not again.finished("dpo")
    assert "| chain | running |" in page(again, {"doctor": "doctor", "chain": "chain"})


LOCK = """\
# comment
numpy==2.3.5 ; python_full_version < '3.12'
    # via
numpy==2.5.5 ; python_full_version >= '3.12'  # via torch
transformers==5.16.1      # via trl
mlx==0.32.4 ; sys_platform == 'darwin'
"""


def test_versions_are_those_of_the_lock_for_the_target() -> None:
    assert collect.wanted(LOCK, ["numpy", "transformers"]) == ["numpy==2.5.5", "transformers==5.16.1"]


def test_what_the_machine_has_stays_out_but_for_another_version_of_a_tool() -> None:
    have = "NumPy==2.5.2\ntransformers==5.17.0\n"
    assert collect.wanted(LOCK, ["numpy", "transformers"], have) == ["transformers==5.16.1"]
    assert collect.wanted(LOCK, ["numpy", "transformers"], "numpy\ntransformers==5.16.1\n") == []


def test_a_name_that_the_lock_has_not_is_refused() -> None:
    with pytest.raises(SystemExit, match="not in the lock: mlx"):
        collect.wanted(LOCK, ["mlx"])


def test_every_name_of_the_list_is_in_the_lock_and_torch_is_left_to_the_machine() -> None:
    lock = (REPO / "requirements" / "gpu.lock").read_text(encoding="utf-8")
    found = collect.wanted(lock, collect.names())
    assert len(found) == len(set(collect.names()))
    assert not [
        name for name in found if name.startswith(("torch==", "triton==", "nvidia-cu", "deepspeed", "xformers"))
    ]


def test_no_part_is_larger_than_what_can_be_sent() -> None:
    sizes = {"a": 31, "b": 30, "c": 20, "d": 9, "e": 9}
    found = collect.parts(sizes, 60)
    assert sorted(name for part in found for name in part) == sorted(sizes)
    assert all(sum(sizes[name] for name in part) <= 60 for part in found) and len(found) == 2
    with pytest.raises(SystemExit, match="a has 31 bytes"):
        collect.parts(sizes, 30)


def test_a_wheel_is_cut_down_to_what_the_card_needs(tmp_path: Path) -> None:
    wheel = tmp_path / "bitsandbytes-0.50.2-py3-none-manylinux_2_24_x86_64.whl"
    kept = [
        "bitsandbytes/__init__.py",
        "bitsandbytes/libbitsandbytes_cuda130.so",
        "bitsandbytes/libbitsandbytes_cpu.so",
    ]
    record = "bitsandbytes-0.50.2.dist-info/RECORD"
    cut = "bitsandbytes/libbitsandbytes_cuda121.so"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in (*kept, cut):
            archive.writestr(name, name)
        archive.writestr(record, "".join(f"{name},sha256=x,1\n" for name in (*kept, cut, record)))
    collect.slim(wheel)
    with zipfile.ZipFile(wheel) as archive:
        assert archive.namelist() == [*kept, record]
        assert "cuda121" not in archive.read(record).decode() and "cuda130" in archive.read(record).decode()


def test_a_folder_without_wheels_is_said_before_anything_is_run(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="there is no wheel"):
        install([tmp_path], tmp_path / "site")


def test_the_page_says_how_far_off_the_estimate_was(tmp_path: Path) -> None:
    said = {"stages": [{"name": "sft", "memory_recorded": 26 * 10**9, "tokens_per_s": {"value": 5698.0}}]}
    found = compared(said, {"tokens_per_s": 5180, "peak_gpu_memory_mib": 24453})
    assert [(line["estimated"], line["measured"], line["off"]) for line in found] == [
        (26.0, 25.6, 0.014),
        (5698.0, 5180, 0.1),
    ]
    record = Record(tmp_path / "state.json")
    record.note("all", "done", compared=found, reached={"tflops": 373.0, "of_data_sheet": 0.377})
    text = page(record, {"all": "all layers"})
    assert "| tokens/s | 5698.0 | 5180 | +10% |" in text and "373.0 TFLOP/s" in text and "38% of the card's" in text


def test_what_was_not_measured_is_not_compared() -> None:
    assert compared({"stages": []}, {"tokens_per_s": 5180}) == []
    assert compared({"error": "no such model"}, {"tokens_per_s": 5180}) == []
