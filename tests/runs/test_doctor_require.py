"""What a run on GPUs is refused for before its first launch, asked in the tool's environment and once a boot."""

from __future__ import annotations

import time

import doctor_python
import pytest
from doctor_python import calls, view

from alphaf_orch.core.cards import Card, Cards
from alphaf_orch.core.errors import DiskError, HardwareError, ToolError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.runs import preflight
from alphaf_orch.runs.machine import compiler, require
from alphaf_orch.runs.machine.require import Wanted, require_counted, require_gpus
from alphaf_orch.settings.config import RunConfig

CARD = Card(name="NVIDIA H100", memory=85 * 10**9)
VERSIONS = {"python": "3.11.7", "torch": "2.13.0"}
TOO_OLD = "The NVIDIA driver on your system is too old (found version 12080)."


def machine(gpus):
    return Machine(("NVIDIA H100",) * gpus, 16, tuple(map(str, range(gpus))))


@pytest.fixture
def nvml(monkeypatch):
    """Return a function that sets what NVML says; eight cards on a driver that is new enough, at first."""

    def says(driver="580.159.04", cuda="13.0", gpus=8, problem=None):
        found = Cards(problem=problem) if problem else Cards(driver, cuda, (CARD,) * gpus)
        monkeypatch.setattr(require, "look_at_cards", lambda: found)

    says()
    return says


@pytest.fixture
def asked(tmp_path, nvml, monkeypatch):
    """Return a function that asks for GPUs an environment that answers so, and returns what was started there."""
    monkeypatch.setattr(compiler, "_listed", lambda: [str(tmp_path)])
    (tmp_path / "libcuda.so.1").touch()

    def ask(wanted=None, gpus=8, **answers):
        folder = tmp_path / "도구"
        python = doctor_python.make(folder, {"devices": view(8), **answers})
        before = len(calls(python))
        require_gpus(str(python), wanted or Wanted(gpus), machine(gpus), VERSIONS)
        return calls(python)[before:]

    return ask


def test_what_passed_is_asked_once_a_boot_driver_and_environment(asked, nvml, monkeypatch, tmp_path):
    assert sorted(asked()) == ["devices", "environment"]
    assert asked() == []
    nvml(driver="590.1")
    assert asked() != []
    assert asked() == []
    monkeypatch.setenv("LD_LIBRARY_PATH", "/other")
    assert asked() != []
    (tmp_path / "boot").write_text("another boot\n")
    monkeypatch.setattr(require, "_BOOT", tmp_path / "boot")
    assert asked() != []
    assert asked() == []


def test_a_compiler_that_was_not_needed_before_is_asked_for_when_it_is(asked, monkeypatch):
    asked()
    monkeypatch.setattr(compiler, "compiler", lambda _: None)
    asked()
    with pytest.raises(ToolError, match="neither gcc nor clang") as caught:
        asked(Wanted(8, compiles=True))
    assert "apt-get install gcc" in caught.value.fix
    monkeypatch.undo()


def test_the_folder_of_triton_is_asked_for_each_time(asked, monkeypatch):
    assert asked(Wanted(8, compiles=True))
    assert not asked(Wanted(8, compiles=True))
    monkeypatch.setenv("TRITON_CACHE_DIR", "/proc/nowhere")
    with pytest.raises(ToolError, match="cannot be written to"):
        asked(Wanted(8, compiles=True))
    assert not asked()


def test_what_failed_is_asked_again(asked):
    for _ in range(2):
        with pytest.raises(HardwareError, match="sees 0: No CUDA GPUs are available"):
            asked(devices=view(0, error="No CUDA GPUs are available"))
    assert len(asked()) == 2


@pytest.mark.parametrize(
    "error", [FileExistsError(17, "there"), DiskError("it is full", where="x", fix="free it", code="disk.full")]
)
def test_a_cache_that_cannot_be_written_stops_no_run(error, asked, monkeypatch):
    def refuse(*_):
        raise error

    monkeypatch.setattr(require, "write_atomic", refuse)
    assert sorted(asked()) == sorted(asked()) == ["devices", "environment"]


def test_an_old_driver_is_refused_with_both_numbers_the_text_of_torch_and_what_it_wants(asked, nvml):
    nvml(driver="570.86.15", cuda="12.8")
    with pytest.raises(HardwareError) as caught:
        asked(devices=view(0, error=TOO_OLD))
    assert "NVML lists 8 GPUs, torch 2.13.0+cu130 sees 0" in caught.value.what
    assert TOO_OLD in caught.value.what
    assert "driver 570.86.15 serves CUDA 12.8" in caught.value.what and ">= 580" in caught.value.what
    assert "install a newer NVIDIA driver" in caught.value.fix


def test_an_environment_for_the_cpu_beside_eight_gpus_is_refused(asked):
    with pytest.raises(ToolError, match=r"NVML lists 8 GPUs, .* sees 0: it is built for the CPU alone") as caught:
        asked(devices=view(cuda=None))
    assert "make setup ACCEL=gpu" in caught.value.fix


def test_fewer_gpus_than_the_stage_wants_are_refused_from_the_cache_too(asked):
    asked(Wanted(2), devices=view(8))
    with pytest.raises(HardwareError, match="sees 8, and 16 are asked for"):
        asked(Wanted(16), devices=view(8))


@pytest.mark.parametrize(("answer", "said"), [("crash", "SIGSEGV"), ("ImportError: libcudart.so.13", "libcudart")])
def test_torch_that_cannot_even_say_is_refused(asked, answer, said):
    with pytest.raises(ToolError, match=said):
        asked(devices=answer)


def test_bf16_is_asked_of_the_card_where_the_recipe_trains_in_it(asked):
    turing = view(8, bf16=False, capability="7.5")
    asked(devices=turing)
    with pytest.raises(HardwareError, match="not in hardware"):
        asked(Wanted(8, bf16=True), devices=turing)


@pytest.mark.parametrize(
    ("recipe", "installed", "needed"),
    [
        ({"lora_mlp_kernel": True}, {}, True),
        ({"lora_mlp_kernel": False, "lora_qkv_kernel": None}, {}, False),
        ({"torch_compile": True}, {}, True),
        ({"liger_rms_norm": True}, {}, True),
        ({"chunked_cross_entropy": True}, {}, True),
        ({"plugins": ["axolotl.integrations.liger.LigerPlugin"]}, {}, True),
        ({"plugins": ["alphaf_orch.programs.training.axolotl_plugin.AlphafPlugin"]}, {}, False),
        ({"deepspeed": "zero3.json"}, {}, True),
        ({"attn_implementation": "flex_attention"}, {}, True),
        ({"attn_implementation": "sdpa"}, {}, False),
        ({"backend": "unsloth"}, {}, True),
        ({"backend": "auto"}, {"unsloth": "1"}, True),
        ({"backend": "auto"}, {}, False),
        ({"gradient_checkpointing_kwargs": {"use_reentrant": False}}, {}, False),
    ],
)
def test_a_compiler_is_wanted_where_kernels_are_built_while_training(recipe, installed, needed):
    assert preflight.needs_compiler(recipe, installed) is needed


@pytest.mark.parametrize("command", [("run",), ("sft",)])
def test_a_run_whose_torch_sees_no_gpu_launches_nothing(command, alphaf, tmp_path, nvml, monkeypatch):
    python = doctor_python.make(tmp_path / "도구", {"devices": view(0, error=TOO_OLD)})
    config = tmp_path / "a.yaml"
    config.write_text(f"model: tiny\ngpus: 1\ntools: {{axolotl: '{python}', dpo: '{python}'}}\n", encoding="utf-8")
    monkeypatch.setattr("alphaf_orch.cli.execute.detect_machine", lambda: machine(2))
    result = alphaf(*command, "--config", str(config), "--run", "r")
    assert result.exit_code == 5, result.output
    assert "error: NVML lists 2 GPUs, torch 2.13.0+cu130 sees 0: The NVIDIA driver" in result.stderr
    assert set(calls(python)) == {"versions", "environment", "devices"}  # the base model was not built either
    assert not list((tmp_path / "실행").rglob("logs"))


def test_dpo_in_another_environment_is_asked_there(eight_gpus, tmp_path, nvml):
    good = doctor_python.make(tmp_path / "a", {"devices": view(8)})
    bad = doctor_python.make(tmp_path / "b", {"devices": view(cuda=None)})
    config = RunConfig(
        model="eeve",
        tools={"axolotl": str(good), "dpo": str(bad)},
        sft={
            "lora_mlp_kernel": False,
            "lora_qkv_kernel": False,
            "lora_o_kernel": False,
            "chunked_cross_entropy": False,
        },
        dpo={"backend": "transformers"},
    )
    plan = make_plan(config, eight_gpus, tmp_path / "r", Scope(dry=True))
    with pytest.raises(ToolError) as caught:
        preflight.check_devices(plan, eight_gpus, plan.stages)
    assert caught.value.where == str(bad)
    assert calls(good)


def test_a_run_on_the_processor_starts_nothing_and_costs_nothing(cpu, tmp_path, monkeypatch):
    def never(*_):
        raise AssertionError("asked")

    monkeypatch.setattr(preflight, "require_gpus", never)
    monkeypatch.setattr(preflight, "tool_versions", never)
    plan = make_plan(RunConfig(model="tiny"), cpu, tmp_path / "r", Scope(dry=True))
    begun = time.monotonic()
    preflight.check_devices(plan, cpu, plan.stages)
    assert time.monotonic() - begun < 0.1


def test_cards_that_cannot_be_counted_do_not_mean_days_on_the_processor(tmp_path, nvml, monkeypatch):
    nvml(problem="Driver/library version mismatch")
    require_counted(machine(0), chosen=False)  # no device file: a machine without cards
    monkeypatch.setattr(require, "_DEVICE_FILE", tmp_path)
    with pytest.raises(HardwareError, match="cannot be counted: Driver/library version mismatch"):
        require_counted(machine(0), chosen=False)
    require_counted(machine(0), chosen=True)
    require_counted(machine(1), chosen=False)


def test_too_few_gpus_are_told_with_why_none_was_counted(monkeypatch):
    from alphaf_orch.core import hardware

    monkeypatch.setattr(hardware, "look_at_cards", lambda: Cards(problem="Driver/library version mismatch"))
    with pytest.raises(HardwareError, match=r"this machine has 0 \(NVML, .*Driver/library version mismatch"):
        hardware.check_gpus(8, machine(0), "sft", "--gpus")
