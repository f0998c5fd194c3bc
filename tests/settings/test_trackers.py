"""Trackers: axolotl's keys for both trainers, files in the run, nothing sent, no result changed."""

import dataclasses
from pathlib import Path

import pytest

from alphaf_orch.core.errors import ConfigError, ToolError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.programs.tracker_keys import run_name, tracker_variables, used_trackers
from alphaf_orch.runs.preflight import check_machine
from alphaf_orch.settings.config import RunConfig
from alphaf_orch.settings.trackers import tracker_env, tracker_layer


def stages(machine, root, **settings):
    plan = make_plan(RunConfig(model="tiny", **settings), machine, root, Scope(dry=True))
    return {stage.name: stage for stage in plan.stages}


def recipe(stage):
    return next(file.values for path, file in stage.files.items() if path.name == f"{stage.name}.yaml")


def test_nothing_is_tracked_unless_asked(cpu, tmp_path):
    found = stages(cpu, tmp_path / "r")
    for name in ("sft", "dpo"):
        assert used_trackers(recipe(found[name])) == ()
        assert (
            not {"WANDB_DIR", "MLFLOW_TRACKING_URI", "TENSORBOARD_LOGGING_DIR", "TRACKIO_DIR"} & found[name].env.keys()
        )


def test_one_setting_serves_sft_and_dpo_and_changes_no_fingerprint(cpu, tmp_path):
    wanted = {"use_mlflow": True, "use_tensorboard": True, "wandb_project": "금융", "use_trackio": True}
    found, plain = stages(cpu, tmp_path / "실행", trackers=wanted), stages(cpu, tmp_path / "실행")
    for name in ("sft", "dpo"):
        values = recipe(found[name])
        assert used_trackers(values) == ("wandb", "mlflow", "tensorboard", "trackio")
        assert (values["wandb_project"], values["wandb_mode"], values["wandb_name"]) == (
            "금융",
            "offline",
            f"실행-{name}",
        )
        assert values["mlflow_run_name"] == values["trackio_run_name"] == f"실행-{name}"
        env, root = found[name].env, tmp_path / "실행" / "trackers"
        assert env["WANDB_DIR"] == str(root)
        assert all(Path(env[name]).is_relative_to(root) for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR"))
        assert env["MLFLOW_TRACKING_URI"] == (root / "mlflow").as_uri()
        assert env["TENSORBOARD_LOGGING_DIR"] == str(root / "tensorboard" / name)
        assert env["TRACKIO_DIR"] == str(root / "trackio")
        assert found[name].fingerprint == plain[name].fingerprint


def test_a_recipe_may_have_a_tracker_of_its_own(cpu, tmp_path):
    found = stages(cpu, tmp_path / "r", trackers={"use_tensorboard": True}, dpo={"use_tensorboard": False})
    assert used_trackers(recipe(found["sft"])) == ("tensorboard",)
    assert used_trackers(recipe(found["dpo"])) == ()


def test_the_users_own_server_and_mode_are_kept(tmp_path):
    layer = tracker_layer({"mlflow_tracking_uri": "http://mlflow.bank:5000", "use_mlflow": True}, "r", "sft")
    assert layer["mlflow_tracking_uri"] == "http://mlflow.bank:5000"
    assert "MLFLOW_TRACKING_URI" not in tracker_env(layer, RunPaths(tmp_path), "sft")
    assert tracker_layer({"use_wandb": True, "wandb_mode": "online"}, "r", "sft")["wandb_mode"] == "online"


def test_a_name_switches_its_tracker_on_and_false_keeps_it_off():
    assert used_trackers({"mlflow_experiment_name": "a"}) == ("mlflow",)
    assert used_trackers({"mlflow_experiment_name": "a", "use_mlflow": False}) == ()


def test_the_dpo_program_hears_of_the_keys_as_axolotl_says_them():
    values = {
        "use_wandb": True,
        "wandb_project": "p",
        "wandb_mode": "offline",
        "hf_mlflow_log_artifacts": True,
        "beta": 1,
    }
    assert tracker_variables(values) == {
        "WANDB_PROJECT": "p",
        "WANDB_MODE": "offline",
        "HF_MLFLOW_LOG_ARTIFACTS": "true",
    }
    assert run_name({"use_mlflow": True, "mlflow_run_name": "m", "wandb_name": "w"}) == "m"


@pytest.mark.parametrize(
    ("trackers", "message"),
    [
        ({"use_mlfow": True}, "use_mlfow: did you mean use_mlflow?"),
        ({"use_mlflow": "maybe"}, "use_mlflow is 'maybe', which is no boolean"),
        ({"lora_r": 8}, "lora_r: no such tracker key"),
        (
            {"use_mlflow": True, "mlflow_tracking_uri": "http://kim:secret@mlflow.bank"},
            "mlflow_tracking_uri holds a password, and recipes are written to disk",
        ),
    ],
)
def test_bad_keys_and_secrets_are_refused(cpu, tmp_path, trackers, message):
    with pytest.raises(ConfigError) as caught:
        stages(cpu, tmp_path / "r", trackers=trackers)
    assert caught.value.what == message
    assert "secret" not in str(caught.value)


def test_a_tracker_that_is_not_installed_is_met_before_the_launch(cpu, tmp_path, monkeypatch):
    versions = dict.fromkeys(("axolotl", "transformers", "torch"), "1")
    monkeypatch.setattr("alphaf_orch.runs.preflight.tool_versions", lambda _: versions)
    config = RunConfig(model="tiny", trackers={"use_mlflow": True})
    plan = make_plan(config, cpu, tmp_path / "r", Scope(dry=True))
    plan = dataclasses.replace(plan, disk={})
    with pytest.raises(ToolError, match="mlflow needs mlflow or mlflow-skinny"):
        check_machine(plan, [stage for stage in plan.stages if stage.name == "sft"])
    versions["mlflow-skinny"] = "3"
    check_machine(plan, [stage for stage in plan.stages if stage.name == "sft"])
