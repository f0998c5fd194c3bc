"""A training that Ray starts: its command, its workers, and what does not change with it."""

import json
import sys

import pytest
from test_plan import planned, recipe, stage

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import CHILD

RAY = {"use_ray": True}


def test_axolotls_driver_is_started_plainly_and_its_workers_are_the_ranks(eight_gpus, tmp_path):
    plan = planned(eight_gpus, tmp_path, nodes=2, sft=RAY)
    root, sft = plan.paths.root, stage(plan, "sft")
    assert sft.argv == (sys.executable, "-m", "axolotl.cli.train", f"{root}/rendered/sft.yaml")
    values = recipe(plan, "sft")
    assert (values["ray_num_workers"], values["ray_run_name"]) == (16, plan.paths.name)
    assert values["micro_batch_size"] * values["gradient_accumulation_steps"] * 16 == 64
    assert [path.name for path in sft.files] == ["sft.yaml"]
    assert (sft.processes, sft.nodes) == (16, 1)


def test_workers_of_a_ray_that_was_there_before_have_what_ranks_have(eight_gpus, tmp_path):
    sft = stage(planned(eight_gpus, tmp_path, sft=RAY), "sft")
    given = json.loads(sft.env["RAY_JOB_CONFIG_JSON_ENV_VAR"])["runtime_env"]["env_vars"]
    assert given["PYTHONPATH"] == f"{CHILD}:${{PYTHONPATH}}"
    assert given["ALPHAF_METRICS"] == sft.env["ALPHAF_METRICS"]
    assert given["HF_HUB_OFFLINE"] == given["AXOLOTL_DO_NOT_TRACK"] == "1"
    assert given["RAY_USAGE_STATS_ENABLED"] == "0"
    assert "CUDA_VISIBLE_DEVICES" not in given, "each worker's card is Ray's to choose"


def test_who_starts_the_ranks_changes_no_result(eight_gpus, tmp_path):
    plain, by_ray = (planned(eight_gpus, tmp_path, sft=said) for said in ({}, RAY))
    for name in ("preprocess", "sft"):
        assert stage(plain, name).fingerprint == stage(by_ray, name).fingerprint
    assert recipe(plain, "sft")["dataset_prepared_path"] == recipe(by_ray, "sft")["dataset_prepared_path"]


def test_another_number_of_workers_than_the_batch_is_cut_for_is_refused(eight_gpus, tmp_path):
    with pytest.raises(ConfigError, match="ray_num_workers is 4, and the global batch is cut for 8 GPUs"):
        planned(eight_gpus, tmp_path, sft=RAY | {"ray_num_workers": 4})


def test_without_gpus_ray_would_wait_for_ever(cpu, tmp_path):
    with pytest.raises(ConfigError, match="use_ray needs GPUs"):
        planned(cpu, tmp_path, model="tiny", gpus=0, sft=RAY)
