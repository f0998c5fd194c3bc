"""`alphaf doctor` from its programs to its exit code, with pythons that answer as machines with GPUs would."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import doctor_python
import pytest
from doctor_python import FINE, calls, environment, view

from alphaf_orch.core import cards as cards_module
from alphaf_orch.core import processes
from alphaf_orch.core.cards import Card, Cards
from alphaf_orch.core.hardware import Machine
from alphaf_orch.runs import doctor
from alphaf_orch.runs.machine import host, kernels
from alphaf_orch.runs.machine.look import ask
from alphaf_orch.settings.config import RunConfig

CARD = Card(name="NVIDIA H100", memory=85 * 10**9)


@pytest.fixture
def examined(alphaf, tmp_path, monkeypatch):
    """Return a function that runs doctor on a machine with so many GPUs by NVML, whose environment answers so."""

    def run(gpus: int, devices, *words: str, driver: str = "580.159.04", json_: bool = True, **answers):
        python = doctor_python.make(tmp_path / "도구", {"devices": devices, **FINE, **answers})
        found = Cards(driver, "13.0", (CARD,) * gpus) if gpus else Cards(problem="NVML Shared Library Not Found")
        machine = Machine(("NVIDIA H100",) * gpus, 16, tuple(map(str, range(gpus))))
        monkeypatch.setattr(doctor, "look_at_cards", lambda: found)
        monkeypatch.setattr(doctor, "detect_machine", lambda: machine)
        monkeypatch.setattr(doctor, "tool_python", lambda *_: str(python))
        monkeypatch.setattr("alphaf_orch.runs.machine.compiler._listed", lambda: [str(tmp_path)])
        (tmp_path / "libcuda.so.1").touch()
        monkeypatch.setattr(host, "_MEMLOCK", 0)  # whatever the machine of the test allows
        result = alphaf("doctor", *words, *(["--json"] if json_ else []))
        return result, json.loads(result.stdout) if json_ else calls(python)

    return run


def states(report):
    return {check["name"]: check["state"] for check in report["checks"]}


def only(report, name):
    (found,) = [check for check in report["checks"] if check["name"] == name]
    return found


def test_a_machine_with_gpus_on_which_all_is_well(examined):
    result, report = examined(2, view(2))
    assert result.exit_code == 0 == report["exit_code"]
    assert report["state"] == "ok"
    assert set(states(report).values()) == {"ok"}
    gemm = [check for check in report["checks"] if check["name"] == "gemm"]
    assert [check["subject"] for check in gemm] == ["GPU 0", "GPU 1"]
    assert gemm[0]["values"]["tflops"] == 798
    assert "290 GB/s" in only(report, "all_reduce")["evidence"]


def test_the_json_keeps_its_keys(examined):
    """What reads it, `make gpu-check` for one, stands on these; a change of one is a new `format`."""
    _, report = examined(1, view(1))
    assert report["format"] == doctor.FORMAT == 1
    assert set(report) == {"schema", "format", "alphaf", "time", "seconds", "state", "exit_code", "machine", "checks"}
    assert set(report["machine"]) == {"gpus", "cpus", "driver", "driver_cuda", "nvml_error"}
    keys = {"name", "subject", "state", "evidence", "fix", "exit_code", "code", "values"}
    assert all(set(check) == keys for check in report["checks"])
    assert list(dict.fromkeys(check["name"] for check in report["checks"])) == [
        "python", "attention", "driver", "torch_gpus", "bf16", "compiler", "headers", "libcuda", "triton_cache", "card",
        "bitsandbytes", "triton", "varlen", "gemm", "all_reduce", "shm", "open_files", "disk", "memory", "clock",
        "ports", "locale", "korean_paths",
    ]  # fmt: skip


def test_without_a_gpu_what_needs_one_is_skipped_with_the_reason_and_starts_nothing(examined):
    result, started = examined(0, view(cuda=None), json_=False)
    assert result.exit_code == 0, result.stdout
    assert sorted(started) == ["devices", "environment"]
    assert "skipped triton         torch can use no GPU here" in result.stdout
    _, report = examined(0, view(cuda=None))
    skipped = {name for name, state in states(report).items() if state == "skipped"}
    assert skipped >= {"bitsandbytes", "triton", "varlen", "gemm", "all_reduce", "torch_gpus", "bf16"}


def test_torch_that_sees_no_gpu_is_told_with_both_numbers_and_its_own_words(examined):
    result, report = examined(8, view(0, error="The NVIDIA driver on your system is too old"), driver="570.1")
    assert result.exit_code == 5
    assert states(report)["driver"] == "fail"
    found = only(report, "torch_gpus")
    assert "NVML lists 8 GPUs" in found["evidence"] and "sees 0: The NVIDIA driver" in found["evidence"]
    assert states(report)["gemm"] == "skipped"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("crash", "signal 11 (SIGSEGV)"),
        ("hang", "did not end in 1 s and was killed; its last words: before the call"),
        (
            "Traceback (most recent call last):\n  File 'x'\nRuntimeError: no such symbol",
            "RuntimeError: no such symbol",
        ),
        ("error: bitsandbytes computes wrong values\n  where: here\n  next:  mend it", "computes wrong values"),
    ],
)
def test_what_befalls_one_kernel_is_that_check_s_failure(answer, said, examined, monkeypatch):
    monkeypatch.setattr(kernels, "ask", lambda programs: ask(programs, 1.0))
    begun = time.monotonic()
    result, report = examined(1, view(1), **{"kernel bitsandbytes": answer})
    assert result.exit_code == 9
    assert said in only(report, "bitsandbytes")["evidence"]
    assert only(report, "bitsandbytes")["fix"]
    assert {name: state for name, state in states(report).items() if state != "ok"} == {"bitsandbytes": "fail"}
    assert time.monotonic() - begun < 20


def test_nothing_of_a_hanging_program_lives_on(tmp_path, monkeypatch):
    """Its child is in a session of its own, as a rank may be."""
    from alphaf_orch.core.processes import living

    monkeypatch.setattr(processes, "new_mark", lambda: "_ALPHAF_LAUNCH_doctor_test")
    python = doctor_python.make(tmp_path, {"devices": "hang"})
    (answer,) = ask([(str(python), "devices")], 1.0)
    assert "did not end" in answer.trouble
    assert living("_ALPHAF_LAUNCH_doctor_test") == []


def test_an_environment_that_is_not_there_or_lacks_its_tools_fails_by_itself(examined, tmp_path):
    result, report = examined(0, view(cuda=None), environment=environment(packages={"torch": "2.13.0"}))
    assert result.exit_code == 9
    assert "lacks axolotl, mergekit, peft, transformers, trl" in only(report, "python")["evidence"]
    (gone,) = ask([(str(tmp_path / "no python"), "environment")])
    assert "cannot be run (exit code 127)" in gone.trouble and "`tools:`" in gone.fix


def test_torch_that_cannot_be_imported_is_told(examined):
    text = (
        "Traceback (most recent call last):\n  File 'x'\nImportError: libcudart.so.13: cannot open shared object file"
    )
    result, report = examined(1, text)
    assert result.exit_code == 9
    assert "libcudart.so.13" in only(report, "torch_gpus")["evidence"]
    assert states(report)["triton"] == "skipped"


def test_a_card_has_one_name_in_every_check(examined, monkeypatch):
    """CUDA_VISIBLE_DEVICES=2,GPU-b: torch numbers from 0 what NVML calls 2 and 1."""
    busy, used = (replace(CARD, uuid=uuid, processes=2) for uuid in ("GPU-a", "GPU-c"))
    found = Cards("580.159.04", "13.0", (busy, replace(CARD, uuid="GPU-bcd"), used))
    devices = view(2)
    devices["devices"][1] = {**devices["devices"][1], "error": "no kernel image"}
    examined(0, devices)
    monkeypatch.setattr(doctor, "look_at_cards", lambda: found)
    monkeypatch.setattr(doctor, "detect_machine", lambda: Machine(("NVIDIA H100",) * 2, 16, ("2", "GPU-b")))
    checks = doctor.examine(RunConfig(model=""), None).checks
    subjects = {name: [c.subject for c in checks if c.name == name] for name in ("card", "gemm", "bitsandbytes")}
    assert subjects == {"card": ["GPU 1", "GPU 2"], "gemm": ["GPU 2"], "bitsandbytes": ["GPU 2"]}
    assert "cannot compute on 1 of them: GPU 1: no kernel" in next(c for c in checks if c.name == "torch_gpus").evidence


def test_a_config_that_names_tools_alone_says_where_to_look(alphaf, tmp_path):
    python = doctor_python.make(tmp_path / "another", {"devices": view(cuda=None), "environment": environment()})
    config = tmp_path / "a.yaml"
    config.write_text(f"tools: {{axolotl: '{python}', dpo: '{python}', mergekit: '{python}'}}\n", encoding="utf-8")
    result = alphaf("doctor", "--config", str(config), "--json")
    assert result.stdout, result.stderr
    assert str(python) in {
        check["subject"] for check in json.loads(result.stdout)["checks"] if check["name"] == "python"
    }
    assert sorted(calls(python)) == ["devices", "environment"]
    config.write_text("tolls: {}\n", encoding="utf-8")
    result = alphaf("doctor", "--config", str(config))
    assert result.exit_code == 2 and "unknown key tolls" in result.stderr


def test_with_a_model_its_weights_disk_and_gpus_are_asked_too(examined):
    result, report = examined(2, view(2), "--model", "eeve")
    assert result.exit_code != 0
    assert only(report, "weights")["state"] == "fail"
    assert "hf download yanolja/EEVE-Korean-10.8B-v1.0" in only(report, "weights")["fix"]
    assert "sft asks for 8 GPUs, this machine has 2" in only(report, "gpus")["evidence"]
    assert any("the run will write about" in check["evidence"] for check in report["checks"])
    assert "loading and merging the weights" in only(report, "memory")["evidence"]


def test_a_model_that_nobody_knows_is_an_error_and_no_finding(alphaf):
    result = alphaf("doctor", "--model", "eeev")
    assert result.exit_code == 4
    assert "did you mean 'eeve'" in result.stderr


def test_a_recipe_s_attention_that_is_not_installed_is_a_finding(examined, tmp_path):
    config = tmp_path / "a.yaml"
    tools = f"tools: {{axolotl: '{tmp_path / '도구' / 'python'}'}}"
    config.write_text(f"model: tiny\nsft: {{attn_implementation: flash_attention_3}}\n{tools}\n", encoding="utf-8")
    _, report = examined(1, view(1), "--config", str(config))
    assert "flash_attention_3 and flash-attn-3 is not installed" in only(report, "attention")["evidence"]


def test_a_driver_that_no_longer_answers_is_a_finding(examined, monkeypatch):
    nvml = pytest.importorskip("pynvml")
    monkeypatch.setattr(nvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(nvml, "nvmlShutdown", lambda: None)

    def lost():
        raise nvml.NVMLError(nvml.NVML_ERROR_GPU_IS_LOST)

    monkeypatch.setattr(nvml, "nvmlDeviceGetCount", lost)
    from alphaf_orch.core import hardware

    with pytest.raises(hardware.HardwareError, match="the driver does not answer for its GPUs"):
        hardware.detect_machine()
    monkeypatch.setattr(nvml, "nvmlSystemGetDriverVersion", lambda: "580.1")
    monkeypatch.setattr(nvml, "nvmlSystemGetCudaDriverVersion", lambda: 13000)
    assert "lost" in str(cards_module.look_at_cards().problem).lower()
    examined(0, view(cuda=None))
    monkeypatch.setattr(doctor, "detect_machine", hardware.detect_machine)
    machine, checks = doctor._machine()
    assert machine.gpus == () and checks[0].state == "fail"


def test_what_nvml_tells_of_a_card_is_read(monkeypatch):
    nvml = pytest.importorskip("pynvml")
    none = nvml.NVMLError(nvml.NVML_ERROR_NOT_SUPPORTED)

    class Fake:
        """Only what a desktop card knows; all else is not supported."""

        def __getattr__(self, name):
            if name.startswith(("NVML_", "NVMLError", "nvmlClocks")):
                return getattr(nvml, name)

            def refuse(*_):
                raise none

            return refuse

        def nvmlDeviceGetName(self, _):
            return "RTX"

        def nvmlDeviceGetMemoryInfo(self, _):
            return type("Memory", (), {"total": 24, "used": 6})

        def nvmlDeviceGetUtilizationRates(self, _):
            return type("Rates", (), {"gpu": 37})

    card = cards_module._card(Fake(), None)
    assert card == replace(Card(name="RTX"), memory=24, used=6, busy=37)
