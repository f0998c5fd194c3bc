"""What must hold before the first launch."""

import dataclasses
import os
import shutil
from types import SimpleNamespace

import pytest
from small_disk import small_disk

from alphaf_orch.core.errors import HardwareError, ToolError
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.runs.expected import disk_left
from alphaf_orch.runs.machine.room import rooms
from alphaf_orch.runs.preflight import check_machine
from alphaf_orch.settings.config import RunConfig

MIB = 1 << 20


@pytest.fixture
def plan(cpu, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100 * MIB))
    made = make_plan(RunConfig(model="tiny"), cpu, tmp_path / "r", Scope(dry=True))
    return dataclasses.replace(made, disk={"sft": 150 * MIB})


def sft(plan):
    return [stage for stage in plan.stages if stage.name == "sft"]


def test_too_little_disk_is_refused(plan):
    with pytest.raises(HardwareError, match=r"run r will write about 150\.0 MiB, 100\.0 MiB are free"):
        check_machine(plan, sft(plan))


def test_what_the_run_has_written_before_counts_as_there(plan, monkeypatch):
    monkeypatch.setattr(
        "alphaf_orch.runs.preflight.tool_versions", lambda _: dict.fromkeys(("axolotl", "transformers", "torch"), "1")
    )
    (plan.paths.root / "sft").mkdir(parents=True)
    with (plan.paths.root / "sft" / "adapter_model.safetensors").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 60 * MIB)
    assert set(check_machine(plan, sft(plan))) == {sft(plan)[0].argv[0]}


def test_a_python_that_cannot_be_run_is_named(plan):
    stage = dataclasses.replace(sft(plan)[0], argv=("/no/such/python", "x"))
    with pytest.raises(ToolError) as caught:
        check_machine(dataclasses.replace(plan, disk={}), [stage])
    assert caught.value.where == "/no/such/python"


@pytest.fixture
def eeve(eight_gpus, tmp_path, monkeypatch):
    """Return a function that checks the article's SFT against what is installed; all that gpu.lock names, at first."""
    versions = dict.fromkeys(("axolotl", "transformers", "torch", "deepspeed", "xformers"), "1")
    monkeypatch.setattr("alphaf_orch.runs.preflight.tool_versions", lambda _: versions)

    def check(*installed, **settings):
        versions.update(dict.fromkeys(installed, "1"))
        made = make_plan(RunConfig(model="eeve", sft=settings), eight_gpus, tmp_path / "r", Scope(dry=True))
        check_machine(dataclasses.replace(made, disk={}), sft(made))

    return check


@pytest.mark.parametrize("adapter", ["qlora", "lora", "full"])
def test_the_article_s_sft_needs_no_package_beside_the_lock(adapter, eeve):
    eeve(adapter=adapter)


@pytest.mark.parametrize(
    ("attention", "package"),
    [
        ("flash_attention_2", "flash-attn"),
        ("flash_attention_3", "flash-attn-3"),
        ("flash_attention_4", "flash-attn-4"),
        ("sage", "sageattention"),
    ],
)
def test_an_attention_by_choice_must_be_installed(attention, package, eeve):
    others = {"flash-attn", "flash-attn-3", "flash-attn-4"} - {package}
    with pytest.raises(ToolError, match=f"asks for {attention} and {package} is not installed") as caught:
        eeve(*others, attn_implementation=attention)
    assert "--set sft.attn_implementation=sdpa" in caught.value.fix
    eeve(package, attn_implementation=attention)


def test_an_attention_named_by_an_older_key_must_be_installed_too(eeve):
    with pytest.raises(ToolError, match="asks for flash_attention_2 and flash-attn is not installed"):
        eeve(attn_implementation=None, flash_attention=True)
    eeve("flash-attn", attn_implementation=None, flash_attention=True)


def test_a_kernel_of_the_hub_is_refused_because_nothing_is_fetched_while_training(eeve):
    with pytest.raises(ToolError, match="is a kernel that transformers fetches from the hub"):
        eeve("kernels", attn_implementation="kernels-community/flash-attn3")


def test_what_another_stage_has_written_is_not_taken_off(plan, monkeypatch):
    """Of DPO alone the SFT, which is there, is no part of what is still to be written."""
    dpo = [stage for stage in plan.stages if stage.name == "dpo"]
    needs = dataclasses.replace(plan, disk={"sft": 60 * MIB, "dpo": 150 * MIB})
    (plan.paths.root / "sft").mkdir(parents=True)
    with (plan.paths.root / "sft" / "adapter_model.safetensors").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 60 * MIB)
    assert disk_left(needs, dpo) == {plan.paths.root: 150 * MIB}
    with pytest.raises(HardwareError, match=r"run r will write about 150\.0 MiB, 100\.0 MiB are free"):
        check_machine(needs, dpo)
    # The merged model in a training's folder is the merge's.
    (plan.paths.root / "dpo" / "merged").mkdir(parents=True)
    for name, size in (("merged/model.safetensors", 30), ("adapter_model.safetensors", 10)):
        with (plan.paths.root / "dpo" / name).open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size * MIB)
    assert disk_left(needs, dpo) == {plan.paths.root: 140 * MIB}


def test_each_file_system_is_asked_on_its_own(tmp_path):
    with small_disk(tmp_path / "runs") as disk:
        needs = {tmp_path / "cache": 5, tmp_path / "cache" / "models": 7, disk / "r": 2 * MIB}
        here, there = rooms(needs, "run r")
    assert (here.state, here.values["needed"]) == ("ok", 12)
    assert (there.state, there.evidence) == ("fail", "run r will write about 2.0 MiB, 1.0 MiB are free")
    assert "`alphaf clean`" in there.fix


def test_what_a_built_base_model_needs_is_asked_of_the_cache(plan):
    found = disk_left(plan, [stage for stage in plan.stages if stage.kind == "prepare"])
    (built,) = [stage for stage in make_plan_of_smollm2(plan).stages if stage.name == "base_model"]
    left = disk_left(make_plan_of_smollm2(plan), [built])
    assert found == {} and list(left) == [built.outputs[0].parent]
    assert 500 * MIB < left[built.outputs[0].parent] < 1200 * MIB


def make_plan_of_smollm2(plan):
    return make_plan(RunConfig(model="smollm2"), plan.resolved.machine, plan.paths.root, Scope())
