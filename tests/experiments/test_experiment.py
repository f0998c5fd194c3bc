"""Experiments: arms share what they have in common, one that fails stops no other, a stopped one goes on."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ranks
from fake_run import Fake
from rich.console import Console

from alphaf_orch.core.errors import ConfigError, ModelError, RunStateError, StageError
from alphaf_orch.core.hardware import Machine, detect_machine
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.stop import wish
from alphaf_orch.evaluation.options import EvalOptions
from alphaf_orch.experiments.ablation.factors import make_ablation, read_factors
from alphaf_orch.experiments.experiment import Experiment, experiment_paths, raise_failed, read_record, slug
from alphaf_orch.experiments.plan import arm_commands, plan_arms, slots, starting_order
from alphaf_orch.experiments.run import run_experiment
from alphaf_orch.runs.find import run_paths
from alphaf_orch.settings.config import build_config, read_config

REPO = Path(__file__).parents[2]
# Where a child of these tests finds this file and the stand-ins.
PLACES = os.pathsep.join((str(Path(__file__).parent), str(REPO / "tests" / "fakes")))


@pytest.fixture
def fake(fake, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    monkeypatch.chdir(tmp_path)
    return fake


def ablation(fake: Fake, *words: str, name: str = "실험", seeds: int = 1, until=None, **settings) -> Experiment:
    """Return an ablation of the tiny model without an evaluation."""
    base = build_config({"model": "tiny", **read_config(fake.config), **settings}, "a test")
    made = make_ablation(
        name, read_factors(words, alpha=None), base, seeds=seeds, until=until, request=EvalOptions(), asked={}
    )
    return Experiment(made.name, made.kind, made.arms, made.sections, (), {"what": " ".join(words)})


def run(experiment: Experiment, **options):
    console = Console(file=io.StringIO())
    return run_experiment(experiment, experiment_paths(experiment.name), detect_machine(), console, **options)


def manifest(experiment: Experiment, arm: str) -> dict:
    return json.loads(experiment_paths(experiment.name).arm(arm).manifest.read_text(encoding="utf-8"))


def names(experiment: Experiment) -> list[str]:
    return [arm.name for arm in experiment.arms]


def test_arms_that_differ_in_dpo_share_one_sft(fake):
    experiment = ablation(fake, "dpo.beta=0.05,0.1")
    outcomes = run(experiment, parallel=1)
    assert [outcome.state for outcome in outcomes] == ["done", "done"], outcomes
    calls = fake.calls()
    assert {stage: calls.count(stage) for stage in calls} == {
        "base_model": 1, "data": 1, "preprocess": 1, "sft": 1, "merge_sft": 1, "dpo_data": 1, "dpo": 2, "merge_dpo": 2,
    }  # fmt: skip
    first, second = names(experiment)
    shared = {name: entry.get("shared_from") for name, entry in manifest(experiment, second)["stages"].items()}
    assert shared["sft"] == shared["merge_sft"] == shared["data"] == first
    assert shared["dpo"] is None
    assert "shared_from" not in manifest(experiment, first)["stages"]["sft"]
    paths = experiment_paths(experiment.name)
    weights = [paths.arm(arm).merged("sft") / "model.safetensors" for arm in (first, second)]
    assert weights[0].samefile(weights[1])
    logs = [paths.arm(arm).log("sft") for arm in (first, second)]
    assert logs[0].read_text() == logs[1].read_text()
    assert not logs[0].samefile(logs[1]), "a log is written to again"


def test_seeds_share_no_training_and_every_variant_has_the_same_seeds(fake):
    experiment = ablation(fake, "neftune", seeds=2)
    assert [(arm.variant, arm.seed) for arm in experiment.arms] == [
        ("neftune_noise_alpha=off", 42), ("neftune_noise_alpha=45", 42),
        ("neftune_noise_alpha=off", 43), ("neftune_noise_alpha=45", 43),
    ]  # fmt: skip
    assert all(outcome.state == "done" for outcome in run(experiment, parallel=2))
    calls = fake.calls()
    # The seed shuffles the prepared rows, so it makes others; noise does not.
    assert (calls.count("data"), calls.count("preprocess"), calls.count("sft")) == (1, 2, 4)


def test_a_second_call_does_nothing(fake):
    experiment = ablation(fake, "lora_r=8,16")
    run(experiment, parallel=2)
    before = [manifest(experiment, arm) for arm in names(experiment)]
    fake.forget()
    assert [outcome.state for outcome in run(experiment, parallel=2)] == ["done", "done"]
    assert fake.calls() == []
    assert [manifest(experiment, arm) for arm in names(experiment)] == before


def test_a_larger_grid_keeps_the_arms_that_are_there(fake):
    run(ablation(fake, "lora_r=8,16"))
    fake.forget()
    larger = ablation(fake, "lora_r=8,16,32")
    assert len(run(larger)) == 3
    assert fake.calls().count("sft") == 1
    assert [arm["state"] for arm in read_record(experiment_paths("실험"))["arms"]] == ["done"] * 3


def test_one_failed_arm_hides_no_other_and_makes_the_exit_code_non_zero(fake):
    experiment = ablation(fake, "lora_r=8,16,32", until="sft")
    second = experiment.arms[1].name
    fake.behave(sft={"when": f"/{second}/", "then": "fail"})
    outcomes = run(experiment, parallel=1)
    assert [outcome.state for outcome in outcomes] == ["done", "failed", "done"]
    assert "the GPU fell off the bus" in outcomes[1].error
    assert outcomes[1].exit_code == 7
    with pytest.raises(StageError, match="1 of 3 arms of 실험 failed: " + second):
        raise_failed(experiment, experiment_paths(experiment.name), outcomes)
    recorded = {arm["name"]: arm for arm in read_record(experiment_paths("실험"))["arms"]}
    assert recorded[second]["state"] == "failed"
    fake.behave()
    fake.forget()
    again = run(experiment, parallel=1)
    assert [outcome.state for outcome in again] == ["done"] * 3
    assert set(fake.calls()) == {"sft", "merge_sft"}
    raise_failed(experiment, experiment_paths(experiment.name), again)


def test_a_wish_to_make_room_stops_all_arms_and_the_same_command_goes_on(fake, tmp_path):
    fake.behave(sft="hang")
    code = (
        "import os, sys; from pathlib import Path; sys.path[:0] = sys.argv[1].split(os.pathsep);"
        " import test_experiment as t\n"
        "from alphaf_orch.core import signals; signals.working()\n"
        "fake = t.Fake(Path(sys.argv[2])) if False else type('F', (), {'config': Path(sys.argv[2]) / '설정.yaml'})()\n"
        "from alphaf_orch.core.errors import GoesOnLater\n"
        "try:\n    t.run(t.ablation(fake, 'lora_r=8,16'), parallel=2)\n"
        "except GoesOnLater as error:\n    error.show(); sys.exit(error.exit_code)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, PLACES, str(tmp_path)],
        env={**os.environ}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + 60
    while fake.calls().count("sft") < 2 and time.monotonic() < end:
        time.sleep(0.1)
    wish(RunPaths(experiment_paths("실험").root).stop_wish, "later", "the time limit of job 17")
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 75
    assert "experiment 실험 was interrupted, for the time limit of job 17" in said, said
    assert subprocess.run(["pgrep", "-f", str(fake.python)], capture_output=True, check=False).stdout == b""
    fake.behave()
    experiment = ablation(fake, "lora_r=8,16")
    for arm in names(experiment):
        assert manifest(experiment, arm)["stages"]["sft"]["state"] == "interrupted"
        assert manifest(experiment, arm)["stages"]["sft"]["requeues"][0]["checkpoint"] == "checkpoint-5"
    assert [outcome.state for outcome in run(experiment)] == ["done", "done"]
    assert all("checkpoint-5" in manifest(experiment, arm)["stages"]["sft"]["argv"][-1] for arm in names(experiment))


def test_a_second_signal_ends_the_arms_with_their_ranks_at_once(fake, tmp_path):
    fake.behave(sft="ranks")
    code = (
        "import os, sys; from pathlib import Path; sys.path[:0] = sys.argv[1].split(os.pathsep);"
        " import test_experiment as t\n"
        "fake = type('F', (), {'config': Path(sys.argv[2])})()\n"
        "t.run(t.ablation(fake, 'lora_r=8,16'), parallel=2)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, PLACES, str(fake.config)], stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 60
    while len(ranks.up(tmp_path / "ranks")) < 4 and time.monotonic() < end:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None
    assert len(ranks.alive(tmp_path / "ranks")) == 4
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=30)[1]
    assert "experiment 실험 was interrupted" in said, said
    assert ranks.alive(tmp_path / "ranks") == []
    assert subprocess.run(["pgrep", "-f", str(fake.python)], capture_output=True, check=False).stdout == b""


def test_what_was_cut_off_while_it_was_shared_is_shared_again(fake):
    experiment = ablation(fake, "dpo.beta=0.05,0.1")
    run(experiment, parallel=1)
    first, second = names(experiment)
    place = experiment_paths(experiment.name).arm(second)
    found = json.loads(place.manifest.read_text(encoding="utf-8"))
    for name in ("merge_sft", "dpo_data", "dpo", "merge_dpo"):
        del found["stages"][name]
    found["stages"]["sft"] = {**found["stages"]["sft"], "state": "running"}
    place.manifest.write_text(json.dumps(found), encoding="utf-8")
    for folder in (place.merged("sft"), place.adapter("dpo")):
        subprocess.run(["rm", "-r", str(folder)], check=True)
    fake.forget()
    assert [outcome.state for outcome in run(experiment, parallel=1)] == ["done", "done"]
    assert sorted(fake.calls()) == ["dpo", "merge_dpo"]
    assert manifest(experiment, second)["stages"]["sft"]["shared_from"] == first


def test_an_arms_own_half_trained_weights_are_not_replaced(fake):
    experiment = ablation(fake, "dpo.beta=0.05,0.1")
    second = experiment.arms[1].name
    fake.behave(sft={"when": f"/{second}/", "then": "fail"})
    turned = Experiment(experiment.name, experiment.kind, experiment.arms[::-1], experiment.sections, (), {})
    assert [outcome.state for outcome in run(turned, parallel=1)] == ["failed", "done"]
    fake.behave()
    fake.forget()
    run(turned, parallel=1)
    assert fake.calls().count("sft") == 1, "it went on from its own checkpoint"
    assert "shared_from" not in manifest(experiment, second)["stages"]["sft"]


def test_a_changed_setting_is_refused_before_anything_starts(fake):
    run(ablation(fake, "lora_r=8,16"))
    fake.forget()
    changed = ablation(fake, "lora_r=8,16", sft={"learning_rate": 0.5})
    with pytest.raises(RunStateError, match="was made from other inputs"):
        run(changed)
    assert fake.calls() == []


def test_what_is_refused_about_names(fake):
    experiment = ablation(fake, "lora_r=8,16")
    run(experiment)
    with pytest.raises(RunStateError, match="실험 is an experiment, not a run"):
        run_paths("실험")
    arm = experiment.arms[0].name
    assert run_paths(f"실험/{arm}").root == experiment_paths("실험").arm(arm).root
    with pytest.raises(ConfigError, match="'없음/arm' is not a run name"):
        run_paths("없음/arm")
    other = Experiment("실험", "bakeoff", experiment.arms, experiment.sections, (), {})
    with pytest.raises(RunStateError, match="of another kind"):
        run(other)
    moved = [arm.config.model_copy(update={"model": "smollm2"}) for arm in experiment.arms]
    arms = tuple(type(a)(a.name, a.variant, a.values, a.seed, c) for a, c in zip(experiment.arms, moved, strict=True))
    with pytest.raises(RunStateError, match="was made from tiny, not smollm2"):
        run(Experiment("실험", "ablation", arms, experiment.sections, (), {}))


def test_experiments_are_listed_beside_the_runs(fake, alphaf):
    run(ablation(fake, "lora_r=8,16"))
    said = alphaf("runs").output
    assert "experiment 실험: 2 of 2 arms done\n" in said, "no report is named that is not there"
    listed = json.loads(alphaf("runs", "--json").stdout)
    assert listed["runs"] == [], "arms are no runs of their own"
    assert [each["report"] for each in listed["experiments"]] == [None]


def test_a_runs_folder_is_no_place_for_an_experiment(fake, alphaf):
    assert alphaf("sft", "--model", "tiny", "--config", str(fake.config)).exit_code == 0
    with pytest.raises(RunStateError, match="tiny is a run"):
        experiment_paths("tiny")


def test_an_unreadable_record_is_not_overwritten(fake):
    paths = experiment_paths("실험")
    paths.root.mkdir(parents=True)
    paths.record.write_text("{", encoding="utf-8")
    with pytest.raises(RunStateError, match="cannot be read"):
        run(ablation(fake, "lora_r=8,16"))
    assert paths.record.read_text() == "{"


def test_missing_weights_fail_their_own_arm_and_an_unknown_model_everything(fake):
    experiment = ablation(fake, "lora_r=8,16", until="sft")
    first, second = experiment.arms
    gone = second.config.model_copy(update={"model": "eeve"})
    arms = (first, type(second)(second.name, "eeve", {}, None, gone))
    mixed = Experiment("둘", "bakeoff", arms, ("sft",), (), {})
    outcomes = run(mixed)
    assert [outcome.state for outcome in outcomes] == ["done", "failed"]
    assert "the weights of eeve are not on this machine" in outcomes[1].error
    unknown = type(second)(second.name, "x", {}, None, second.config.model_copy(update={"model": "eeveee"}))
    with pytest.raises(ModelError, match="no model is called"):
        run(Experiment("셋", "bakeoff", (first, unknown), ("sft",), (), {}))


def test_arms_get_their_share_of_the_gpus(fake):
    experiment = ablation(fake, "lora_r=8,16", until="sft", gpus=4, sft={"gradient_accumulation_steps": 1})
    machine = Machine(tuple(f"H100 {i}" for i in range(8)), 96)
    plans, _ = plan_arms(experiment, experiment_paths("실험"), machine, online=False, dry=True)
    assert [slot.env() for slot in slots(machine, plans, 2, 2)] == [
        {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, {"CUDA_VISIBLE_DEVICES": "4,5,6,7"},
    ]  # fmt: skip
    assert [slot.env() for slot in slots(machine, plans, None, 2)] == [{}]
    with pytest.raises(ConfigError, match="2 arms of 4 GPUs each do not fit on 4 GPUs"):
        slots(Machine(machine.gpus[:4], 96, ("GPU-a", "GPU-b", "GPU-c", "GPU-d")), plans, 2, 2)


def test_arms_on_a_cpu_share_its_threads(fake, monkeypatch):
    experiment = ablation(fake, "lora_r=8,16", until="sft")
    machine = Machine((), 8)
    plans, _ = plan_arms(experiment, experiment_paths("실험"), machine, online=False, dry=True)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert [slot.env() for slot in slots(machine, plans, None, 5)] == [{"OMP_NUM_THREADS": "4"}] * 2
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert [slot.env() for slot in slots(machine, plans, 2, 5)] == [{}] * 2, "the user's own wish"


def test_arms_of_one_seed_stand_together_unless_several_run_at_a_time(fake):
    experiment = ablation(fake, "lora_r=8,16", seeds=2)
    order = {n: [arm.name for arm in starting_order(experiment, n)] for n in (1, 2)}
    assert order[1] == ["lora_r-8.s42", "lora_r-16.s42", "lora_r-8.s43", "lora_r-16.s43"]
    assert order[2] == ["lora_r-8.s42", "lora_r-8.s43", "lora_r-16.s42", "lora_r-16.s43"]


def test_the_commands_of_an_arm_are_alphafs_own(fake):
    made = make_ablation(
        "e", read_factors(["dpo.beta=0.1,0.2"], alpha=None), build_config({"model": "tiny"}, "x"), seeds=1, until=None,
        request=EvalOptions(suites=("finance-ko",), tasks=("my_task",), limit=8), asked={},
    )  # fmt: skip
    paths = experiment_paths("e")
    assert arm_commands(made, made.arms[0], paths) == (
        ("run", "--run", "e/dpo.beta-0.1.s42", "--config", str(paths.settings("dpo.beta-0.1.s42"))),
        ("eval", "--run", "e/dpo.beta-0.1.s42", "--stages", "dpo", "--suite", "finance-ko", "--task", "my_task",
         "--limit", "8"),
    )  # fmt: skip


def test_folder_names_are_short_and_stay_apart():
    assert slug("lora_r=8") == "lora_r-8"
    assert slug("학습률=2e-4") == "학습률-2e-4"
    long = [slug("lora_target_modules=" + "[q_proj,v_proj]" * 9 + end) for end in "ab"]
    assert len(set(long)) == 2
    assert all(len(name) <= 60 for name in long)
