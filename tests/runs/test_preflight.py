"""What must hold before the first launch."""

import dataclasses
import os
import shutil
from types import SimpleNamespace

import pytest

from alphaf_orch.core.errors import HardwareError, ToolError
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
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
