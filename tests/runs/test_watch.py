"""A stage that is watched: what its rows show is said, recorded and ends it; out of memory; no progress."""

import json
import math
import os
import re
import shutil
import struct
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from fake_run import Fake
from fake_tool import checkpoint, hashed

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs.watch.stage import as_told
from alphaf_orch.settings.config import RunConfig

MICRO = ("--set", "sft.micro_batch_size=4", "--set", "sft.gradient_accumulation_steps=2")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with the run `tiny` up to its training, and the cache with its base model: every test has a copy."""
    from alphaf_orch.cli.main import main

    folder = tmp_path_factory.mktemp("prepared")
    made = Fake(folder)
    made.behave(sft="no_output")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, value in {"ALPHAF_RUNS": "runs", "ALPHAF_CACHE": "cache", "FAKE_TOOL": "control.json"}.items():
            patch.setenv(name, str(folder / value))
        CliRunner().invoke(main, ["sft", "--config", str(made.config), "--model", "tiny"], catch_exceptions=False)
    file = folder / "runs" / "tiny" / "manifest.json"
    manifest = json.loads(file.read_text(encoding="utf-8"))
    assert manifest["stages"].pop("sft")["state"] == "failed"
    file.write_text(json.dumps(manifest), encoding="utf-8")
    for name in ("logs/sft.log", "config.yaml"):
        (folder / "runs" / "tiny" / name).unlink()
    return folder


@pytest.fixture
def fake(fake, prepared):
    shutil.copytree(prepared / "runs", os.environ["ALPHAF_RUNS"])
    shutil.copytree(prepared / "cache", os.environ["ALPHAF_CACHE"])
    return fake


@pytest.fixture
def run(alphaf, fake):
    def call(*args):
        return alphaf("sft", "--config", str(fake.config), "--model", "tiny", *args)

    return call


def paths():
    return RunPaths(Path(os.environ["ALPHAF_RUNS"]) / "tiny")


def sft():
    return json.loads(paths().manifest.read_text(encoding="utf-8"))["stages"]["sft"]


def recipe():
    return yaml.safe_load((paths().root / "rendered" / "sft.yaml").read_text(encoding="utf-8"))


def test_a_loss_that_is_nan_is_said_at_once_recorded_and_ends_the_training(run, fake, alphaf):
    fake.behave(sft="rows:2.0,1.9,nan,nan")
    ended = run()
    assert ended.exit_code == 7
    assert "warning: sft: step 3: loss is NaN or infinite; " in ended.stderr
    assert "error: sft: loss is NaN or infinite at step 3\n" in ended.stderr
    assert f"where: {paths().metrics('sft')} line 4; log: " in ended.stderr, "the stand-in's own row is line 1"
    assert "lower learning_rate" in ended.stderr
    assert sft()["state"] == "failed"
    assert [(each["kind"], each["level"], each["step"]) for each in sft()["watched"]] == [("not_finite", "ruined", 3)]
    shown = alphaf("show", "tiny")
    assert "sft: step 3: loss is NaN or infinite" in shown.output


def test_the_same_ruin_at_the_same_step_is_not_trained_into_a_third_time(run, fake):
    fake.behave(sft="rows:2.0,nan")
    assert run().exit_code == run().exit_code == 7
    fake.forget()
    third = run()
    assert third.exit_code == 6
    assert "sft became NaN or infinite at step 2 in each of 2 tries" in third.stderr
    assert "--on-unhealthy warn" in third.stderr
    assert fake.calls() == []
    fake.behave(sft="ok")
    assert run("--on-unhealthy", "warn").exit_code == 0, "as the message says"


def test_a_diverging_loss_is_only_said_and_ends_the_training_where_that_was_asked_for(run, fake):
    losses = ",".join(["2.0", *["99"] * 9])
    fake.behave(sft=f"rows:{losses}")
    ended = run("--on-unhealthy", "stop")
    assert ended.exit_code == 7
    assert "the loss diverges: 99 is worse than the 1.5 that it began with" in ended.stderr
    assert sft()["watched"][0]["level"] == "doubtful"
    remembered = yaml.safe_load(paths().config.read_text(encoding="utf-8"))
    assert remembered["on_unhealthy"] == "stop"
    fake.behave(sft=f"rows:{losses}")
    going_on = run("--on-unhealthy", "warn", "--stall-timeout", "1")
    assert "no progress for 1 s" in going_on.stderr, "it went on until it hung"
    assert "warning: sft: step 4: the loss diverges" in going_on.stderr


def test_a_finished_run_is_still_finished_under_any_of_the_options(run, fake):
    assert run().exit_code == 0
    fingerprint = sft()["fingerprint"]
    fake.forget()
    again = run("--on-unhealthy", "stop", "--on-oom", "retry", "--stall-timeout", "600")
    assert again.exit_code == 0
    assert "nothing to do" in again.stderr
    assert fake.calls() == []
    assert sft()["fingerprint"] == fingerprint


def test_out_of_memory_says_what_to_change_and_is_not_tried_again_by_itself(run, fake):
    fake.behave(sft="oom:2")
    ended = run(*MICRO)
    assert ended.exit_code == 7
    assert "the GPU has too little memory" in ended.stderr
    assert "Tried to allocate 2.00 GiB" in ended.stderr
    assert "`--on-oom retry`: it goes on with micro_batch_size 2 x 4 steps" in ended.stderr
    assert "alphaf estimate" in ended.stderr
    assert fake.calls().count("sft") == 1
    assert "retries" not in sft()


def test_out_of_memory_is_tried_again_with_the_same_global_batch_recorded_and_remembered(run, fake):
    fake.behave(sft="oom:1")
    done = run(*MICRO, "--on-oom", "retry")
    assert done.exit_code == 0, done.stderr
    assert fake.calls().count("sft") == 3
    assert "try 1 of 6 with micro_batch_size 2 and gradient_accumulation_steps 4, the same global batch" in done.stderr
    entry = sft()
    assert [(each["micro_batch_size"], each["gradient_accumulation_steps"]) for each in entry["retries"]] == [
        (2, 4),
        (1, 8),
    ]
    assert entry["spec"]["recipe"]["micro_batch_size"] == 4, "what was asked for"
    assert (recipe()["micro_batch_size"], recipe()["gradient_accumulation_steps"]) == (1, 8)
    assert entry["origins"]["micro_batch_size"]["by"] == "out of memory"
    assert fake.argv("sft")[-1].endswith("checkpoint-5"), "it went on from there"
    fake.forget()
    again = run(*MICRO, "--on-oom", "retry")
    assert "nothing to do" in again.stderr
    assert fake.calls() == []


def test_a_training_stopped_after_a_retry_goes_on_with_the_smaller_batch(run, fake):
    fake.behave(sft="oom:1", merge_sft="fail")
    first = run(*MICRO, "--on-oom", "retry")
    assert first.exit_code == 8
    manifest = json.loads(paths().manifest.read_text(encoding="utf-8"))
    manifest["stages"]["sft"]["state"] = "interrupted"
    paths().manifest.write_text(json.dumps(manifest), encoding="utf-8")
    fake.behave(sft="oom:1")
    fake.forget()
    assert run(*MICRO).exit_code == 0, "the option is remembered"
    assert fake.calls().count("sft") == 1, "it did not begin with the size that is known to be too large"
    assert recipe()["micro_batch_size"] == 1


def test_with_one_row_left_or_before_the_model_is_loaded_nothing_is_tried_again(run, fake):
    fake.behave(sft="oom:0")
    ended = run("--set", "sft.micro_batch_size=2", "--on-oom", "retry")
    assert ended.exit_code == 7
    assert fake.calls().count("sft") == 2
    assert "smaller micro batches do not help: lower sequence_len" in ended.stderr
    fake.forget()
    fake.behave(sft="oom_loading")
    loading = run("--run", "other", "--set", "sft.micro_batch_size=2", "--on-oom", "retry")
    assert loading.exit_code == 7
    assert fake.calls().count("sft") == 1
    assert "smaller micro batches do not help" in loading.stderr


def test_no_progress_ends_with_the_stacks_of_its_processes_in_the_log(run, fake):
    fake.behave(sft="mute")
    ended = run("--stall-timeout", "2")
    assert ended.exit_code == 7
    assert re.search(r"error: sft: no progress for \d+ s: neither log nor metrics nor files grew", ended.stderr)
    log = paths().log("sft").read_text(encoding="utf-8")
    assert "taken by faulthandler" in ended.stderr
    assert "in stuck_here" in log
    assert "unhealthy.py" in log
    assert sft()["state"] == "failed"
    fake.behave(sft="ok")
    assert run("--stall-timeout", "2").exit_code == 0


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon"])
def test_a_stall_timeout_is_a_number_of_seconds(value, run):
    assert run("--stall-timeout", value).exit_code == 2


def test_a_checkpoint_behind_a_nan_is_not_gone_on_from(run, fake):
    fake.behave(sft="rows:2.0,nan")
    assert run().exit_code == 7
    for step, number in ((7, math.nan), (6, 0.0)):  # a batch whose labels are all masked harms no weight
        checkpoint(paths().adapter("sft"), step, math.nan)
        folder = paths().adapter("sft") / f"checkpoint-{step}"
        weights = (folder / "adapter_model.safetensors").read_bytes()[:-4] + struct.pack("<f", number)
        (folder / "adapter_model.safetensors").write_bytes(weights)
        hashed(folder)
    fake.behave(sft="ok")
    done = run()
    assert done.exit_code == 0, done.stderr
    assert "checkpoint-7 is passed over: the loss or gradient was NaN or infinite at step 7, and so is w" in done.stderr
    assert fake.argv("sft")[-1].endswith("checkpoint-6")


def test_a_child_is_told_only_where_it_is_to_go_on():
    stage = Stage("sft", "axolotl", ("python",), {}, (), {})
    assert as_told(stage, RunConfig(model="tiny")) == stage
    assert as_told(stage, RunConfig(model="tiny", on_unhealthy="stop")) == stage
    told = as_told(stage, RunConfig(model="tiny", on_unhealthy="warn"))
    assert told.env == {"ALPHAF_ON_UNHEALTHY": "warn"}
    assert told.fingerprint == stage.fingerprint
