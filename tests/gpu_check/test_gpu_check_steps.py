"""What the steps of the check find in several calls, and what they call done."""

import argparse
import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gpu_check import figures, steps, switches
from gpu_check import running as commands
from gpu_check.__main__ import install
from gpu_check.check import Check, StepFailed
from gpu_check.page import page
from gpu_check.record import Record
from gpu_check.running import PATIENCE, Clock, OutOfTime
from gpu_check.steps import Step, begin, run_step

from alphaf_orch.core.paths import RunPaths, cache_dir, runs_dir

KEYS: list[tuple[str, ...]] = [(), ("lora_dropout=0",), ("torch_compile=true",)]


@pytest.fixture
def check(asked: argparse.Namespace, one_gpu: None) -> Check:
    return begin(asked)


def again(check: Check) -> Check:
    """The same command once more."""
    return Check(check.asked, check.machine, Record.read(check.record.path), Clock.of(1000))


def step(name: str) -> Step:
    return next(step for step in steps.STEPS if step.name == name)


def test_what_a_plan_in_this_process_keeps_lies_in_work_too(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (runs_dir(), cache_dir()) == (check.asked.work / "runs", check.asked.work / "cache")
    monkeypatch.delenv("HF_HOME")
    begin(check.asked)
    assert os.environ["HF_HOME"] == str(check.asked.work / "hf")


def test_switches_that_were_tried_are_kept_and_the_others_tried_by_the_next_call(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[str, ...]] = []

    def train(check: Check, folder: Path, base: RunPaths, items: tuple[str, ...]) -> dict[str, Any]:
        tried.append(items)
        check.clock.end -= 900
        return {"set": list(items), "state": "done", "tokens_per_s": len(tried)}

    monkeypatch.setattr(steps, "train_switched", train)
    monkeypatch.setattr(steps, "switches", lambda *, rehearse: KEYS)
    monkeypatch.setattr(Check, "model", lambda self, layers: self.asked.work)
    run_step(check, step("switches"))
    assert check.record.steps["switches"]["state"] == "cut off" and not check.record.finished("switches")
    assert tried == KEYS[:1]
    later = again(check)
    run_step(later, step("switches"))
    assert tried == KEYS[:2]
    run_step(last := again(later), step("switches"))
    found = last.record.steps["switches"]
    assert (found["state"], tried) == ("done", KEYS)
    assert [entry["tokens_per_s"] for entry in found["switches"]] == [1, 2, 3]


def test_switches_of_which_none_could_be_trained_are_a_failure(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Check, "model", lambda self, layers: self.asked.work)
    monkeypatch.setattr(steps, "switches", lambda *, rehearse: KEYS)
    states = ["failed", "failed", "failed", "failed", "failed", "done"]
    said = "OSError: no such file\nled to: ExitError"
    monkeypatch.setattr(
        steps, "train_switched", lambda *given: {"set": list(given[-1]), "state": states.pop(0), "why": said}
    )
    run_step(check, step("switches"))
    found = check.record.steps["switches"]
    assert (found["state"], len(found["switches"])) == ("failed", 3)
    assert "none of the 3 trainings ended well; the first: OSError: no such file" in found["why"]
    assert "| lora_dropout=0 | failed |  |  |  | OSError: no such file |" in page(check.record, steps.TITLES)
    del check.record.steps["switches"]
    run_step(check, step("switches"))
    assert check.record.steps["switches"]["state"] == "done"


def test_a_switched_training_finds_the_folder_that_it_records_its_batches_in(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics = check.run_paths("switch").metrics("sft")
    line = json.dumps({"step": 1, "loss": 2.0, "peak_memory_mib": 800})
    out, base = check.run_paths("switch").root / "rows", check.run_paths("eeve-8")
    base.root.mkdir(parents=True)
    scripts = {"sft_tokenise": f"mkdir -p {out}", "sft": f"echo '{line}' >> {metrics}"}
    planned = [
        SimpleNamespace(name=name, argv=("sh", "-c", script), env={}, files={}, outputs=(out,))
        for name, script in scripts.items()
    ]
    monkeypatch.setattr(switches, "make_plan", lambda *_: SimpleNamespace(stages=planned))
    monkeypatch.setattr(switches, "stage_name", lambda *_: "sft_tokenise")
    found = switches.train_switched(check, check.asked.work, base, ())
    assert (found["state"], found.get("steps")) == ("done", 1), found


def test_a_backend_that_was_trained_is_kept_when_the_next_one_is_cut_off(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    check.run_paths("eeve-8").merged("sft").mkdir(parents=True)
    called: list[str] = []

    def call(self: Check, name: str, argv: list[str], **_: Any) -> None:
        called.append(name)
        if len(called) == 2:
            raise OutOfTime("ended after 3 s")

    monkeypatch.setattr(Check, "call", call)
    monkeypatch.setattr(figures, "stages", lambda run: [{"stage": run.name, "state": "done"}])
    run_step(check, step("dpo"))
    assert list(check.record.steps["dpo"]["backends"]) == ["unsloth"]
    run_step(later := again(check), step("dpo"))
    assert called == ["dpo-unsloth", "dpo-transformers", "dpo-transformers"]
    assert later.record.steps["dpo"]["state"] == "done"
    assert list(later.record.steps["dpo"]["backends"]) == ["unsloth", "transformers"]


def test_what_was_found_outlives_a_call_with_too_little_time_and_a_failure(
    asked: argparse.Namespace, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Check) -> dict[str, Any]:
        raise StepFailed("exit code 3")

    monkeypatch.setattr(steps, "STEPS", (Step("dpo", "DPO", 300, fails),))
    check.record.note("dpo", "cut off", backends={"unsloth": []}, why="ended after 3 s")
    asked.budget = 60
    assert steps.run_all(asked) == 0
    found = Record.read(check.record.path).steps["dpo"]
    assert (found["state"], found["backends"]) == ("not begun", {"unsloth": []})
    asked.budget = 1000
    assert steps.run_all(asked) == 1
    found = Record.read(check.record.path).steps["dpo"]
    assert (found["state"], found["backends"], found["why"]) == ("failed", {"unsloth": []}, "exit code 3")


@pytest.mark.parametrize("words", [[], ["--resume_from_checkpoint=checkpoint-20"]])
def test_a_training_that_went_on_from_no_checkpoint_was_not_resumed(
    words: list[str], check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = check.run_paths("resume")
    (run.adapter("sft") / "checkpoint-20").mkdir(parents=True)
    monkeypatch.setattr(steps.checkpoints, "seen", lambda folder: folder / "checkpoint-20")
    monkeypatch.setattr(Check, "call", lambda *_, **__: None)
    stage = {"state": "done", "argv": ["python", *words]}
    run.manifest.write_text(json.dumps({"stages": {"sft": stage}}), encoding="utf-8")
    monkeypatch.setattr(steps, "read_manifest", lambda path: json.loads(path.read_text(encoding="utf-8")))
    monkeypatch.setattr(figures, "stages", lambda _: [])
    run_step(check, step("resume"))
    assert check.record.steps["resume"]["state"] == ("done" if words else "failed")


@pytest.mark.usefixtures("one_gpu")
def test_a_signal_while_the_page_is_written_is_no_traceback_and_begins_nothing(
    asked: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(steps, "STEPS", tuple(Step(n, n, 1, lambda _, n=n: {"ran": ran.append(n)}) for n in "ab"))
    monkeypatch.setattr(steps, "write_page", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert steps.run_all(asked) == 0
    assert ran == ["a"]


def test_doctor_has_the_time_that_its_own_children_may_take_and_its_json_is_read_out_of_what_it_printed(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "echo a warning >&2; echo '{\"checks\": []}'; echo bye"
    given: dict[str, Any] = {}

    def run(argv: list[str], clock: Clock, log: Path, **options: Any) -> int:
        given.update(options)
        return commands_run(["sh", "-c", script], clock, log)

    commands_run = commands.run
    monkeypatch.setattr(commands, "run", run)
    for _ in range(2):  # the log of the first call is no answer of the second
        assert steps.doctor(check) == {"exit_code": 0, "checks": {"checks": []}}
    assert given.get("limit", 600) >= 600


def test_the_time_that_is_told_is_the_time_that_passed(tmp_path: Path) -> None:
    with pytest.raises(OutOfTime, match=r"^ended after [12] s: sleep 60"):
        commands.run(["sleep", "60"], Clock.of(PATIENCE + 1), tmp_path / "log")


def test_wheels_that_were_collected_anew_are_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[str] = []
    monkeypatch.setattr("gpu_check.__main__.subprocess.run", lambda argv, check: installed.append(Path(argv[-1]).name))
    part, site = tmp_path / "part-1", tmp_path / "site"
    part.mkdir()
    site.mkdir()
    for name in ("trl-1.8.0-py3-none-any.whl", "trl-1.8.0-py3-none-any.whl", "trl-1.9.0-py3-none-any.whl"):
        for old in part.glob("*.whl"):
            old.unlink()
        (part / name).touch()
        install([part], site)
    assert installed == ["trl-1.8.0-py3-none-any.whl", "trl-1.9.0-py3-none-any.whl"]


def test_the_figures_of_a_training_are_those_that_estimates_learn_from(tmp_path: Path) -> None:
    run = RunPaths(tmp_path)
    run.metrics("sft").parent.mkdir(parents=True, exist_ok=True)
    lines = [
        {"step": n, "time": float(n), "loss": 2.0 - n / 10, "tokens_per_s": speed, "peak_memory_mib": 800.4 + n}
        for n, speed in enumerate((10.0, 100.0, 120.0, 140.0), 1)
    ]
    run.metrics("sft").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    assert figures.training(run, "sft") == {
        "steps": 4,
        "loss": [1.9, 1.8, 1.7, 1.6],
        "tokens_per_s": 120,
        "peak_gpu_memory_mib": 804,
        "trainable_parameters": None,
    }
