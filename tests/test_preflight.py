"""What must hold before the first launch."""

import dataclasses
import shutil
from types import SimpleNamespace

import pytest

from alphaf_orch.config import RunConfig
from alphaf_orch.errors import HardwareError, ToolError
from alphaf_orch.plan import Scope, make_plan
from alphaf_orch.preflight import check_machine

MIB = 1 << 20


@pytest.fixture
def plan(cpu, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100 * MIB))
    made = make_plan(RunConfig(model="tiny"), cpu, tmp_path / "r", Scope(dry=True))
    return dataclasses.replace(made, disk_bytes=150 * MIB)


def sft(plan):
    return [stage for stage in plan.stages if stage.name == "sft"]


def test_too_little_disk_is_refused(plan):
    with pytest.raises(HardwareError, match=r"run r will write about 150\.0 MiB, 100\.0 MiB are free"):
        check_machine(plan, sft(plan))


def test_what_the_run_has_written_before_counts_as_there(plan, monkeypatch):
    monkeypatch.setattr(
        "alphaf_orch.preflight.tool_versions", lambda _: dict.fromkeys(("axolotl", "transformers", "torch"), "1")
    )
    (plan.paths.root / "sft").mkdir(parents=True)
    with (plan.paths.root / "sft" / "adapter_model.safetensors").open("wb") as file:
        file.truncate(60 * MIB)
    assert set(check_machine(plan, sft(plan))) == {sft(plan)[0].argv[0]}


def test_a_python_that_cannot_be_run_is_named(plan):
    stage = dataclasses.replace(sft(plan)[0], argv=("/no/such/python", "x"))
    with pytest.raises(ToolError) as caught:
        check_machine(dataclasses.replace(plan, disk_bytes=0), [stage])
    assert caught.value.where == "/no/such/python"


def test_flash_attention_must_be_installed_where_the_recipe_asks_for_it(eight_gpus, tmp_path, monkeypatch):
    versions = dict.fromkeys(("axolotl", "transformers", "torch"), "1")
    monkeypatch.setattr("alphaf_orch.preflight.tool_versions", lambda _: versions)
    plan = dataclasses.replace(
        make_plan(RunConfig(model="eeve"), eight_gpus, tmp_path / "r", Scope(dry=True)), disk_bytes=0
    )
    with pytest.raises(ToolError) as caught:
        check_machine(plan, sft(plan))
    assert "--set sft.attn_implementation=sdpa" in caught.value.fix
    versions["flash-attn"] = "2"
    check_machine(plan, sft(plan))
