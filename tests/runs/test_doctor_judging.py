"""What is made of what NVML, torch, the compiler and the disk say: states, evidence and what to do."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from doctor_python import environment, view

from alphaf_orch.core.cards import Card, Cards
from alphaf_orch.core.hardware import Machine
from alphaf_orch.runs.machine import compiler, gpus, host
from alphaf_orch.runs.machine.gpus import judge_bf16, judge_cards, judge_devices, judge_driver, on_the_bus

NO_DRIVER = Cards(problem="NVML Shared Library Not Found")
CARD = Card(name="NVIDIA H100", memory=85 * 10**9)
EIGHT = Machine(("NVIDIA H100",) * 8, 96, tuple("01234567"))
NONE = Machine((), 2)
TOO_OLD = "The NVIDIA driver on your system is too old (found version 12080). Please update your GPU driver"


def cards(driver="580.159.04", cuda="13.0", count=8, **changes):
    return Cards(driver, cuda, (replace(CARD, **changes),) * count)


@pytest.mark.parametrize(
    ("driver", "served", "built", "state"),
    [
        ("580.65.06", "13.0", "13.0", "ok"),
        ("590.10", "13.1", "13.0", "ok"),
        ("579.99", "12.9", "13.0", "fail"),
        ("570.86.15", "12.8", "13.0", "fail"),
        ("535.183", "12.2", "12.8", "ok"),  # within a major the smaller number serves too
        ("470.10", "11.4", "12.8", "fail"),
        ("580.65.06", "13.0", "14.0", "fail"),  # no row in the table yet: majors are compared
        ("600.1", "14.0", "14.0", "ok"),
    ],
)
def test_a_driver_older_than_the_cuda_of_torch_fails_with_both_and_what_to_install(driver, served, built, state):
    check = judge_driver(cards(driver, served), view(cuda=built, error=TOO_OLD), "env")
    assert check.state == state
    assert f"driver {driver} serves CUDA {served}" in check.evidence and f"CUDA {built}" in check.evidence
    assert ("install a newer NVIDIA driver" in check.fix) == (state == "fail")


def test_an_old_driver_on_which_torch_computes_is_no_failure():
    assert judge_driver(cards("570.86", "12.8"), view(8), "env").state == "warn"
    assert judge_driver(cards("570.86", "12.8"), view(8, broken="no kernel image"), "env").state == "fail"


def test_without_a_driver_a_card_on_the_bus_is_told_of(tmp_path, monkeypatch):
    monkeypatch.setattr(gpus, "on_the_bus", lambda: False)
    assert judge_driver(NO_DRIVER, view(), "env").state == "skipped"
    monkeypatch.setattr(gpus, "on_the_bus", lambda: True)
    assert judge_driver(NO_DRIVER, view(), "env").state == "warn"
    for name, vendor, kind in (("a", "0x8086", "0x030000"), ("b", "0x10de", "0x040300")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(vendor + "\n")
        (tmp_path / name / "class").write_text(kind + "\n")
    assert not on_the_bus(tmp_path)  # another's card, and the sound of one
    (tmp_path / "b" / "class").write_text("0x030200\n")
    assert on_the_bus(tmp_path)


@pytest.mark.parametrize(
    ("machine", "seen", "wanted", "state", "said"),
    [
        (EIGHT, view(8), 8, "ok", "NVML lists 8 GPUs, torch 2.13.0+cu130 sees 8: NVIDIA H100 79.2 GiB sm_90"),
        (EIGHT, view(0, error=TOO_OLD), 8, "fail", f"NVML lists 8 GPUs, torch 2.13.0+cu130 sees 0: {TOO_OLD}"),
        (EIGHT, view(cuda=None), 8, "fail", "sees 0: it is built for the CPU alone"),
        (EIGHT, view(4), 8, "fail", "sees 4, and 8 are asked for"),
        (EIGHT, view(4), 0, "fail", "NVML lists 8 GPUs, torch 2.13.0+cu130 sees 4"),
        (
            EIGHT,
            view(8, broken="no kernel image is available"),
            8,
            "fail",
            "cannot compute on 8 of them: GPU 0: no kernel",
        ),
        (NONE, view(2), 0, "fail", "NVML lists 0 GPUs, torch 2.13.0+cu130 sees 2"),
        (NONE, view(cuda=None), 0, "skipped", "it is built for the CPU"),
        (NONE, view(0, error="Found no NVIDIA driver on your system."), 0, "skipped", "Found no NVIDIA driver"),
        (NONE, view(0, error="Found no NVIDIA driver on your system."), 1, "fail", "Found no NVIDIA driver"),
    ],
)
def test_the_two_counts_of_gpus_are_held_against_each_other(machine, seen, wanted, state, said):
    check = judge_devices(cards() if machine is EIGHT else NO_DRIVER, machine, seen, "env", wanted)
    assert check.state == state
    assert said in check.evidence
    assert bool(check.fix) == (state == "fail")


def test_the_user_s_own_choice_of_devices_is_part_of_the_evidence(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-gone")
    check = judge_devices(cards(), Machine(("GPU-gone",), 8, ("GPU-gone",)), view(), "env")
    assert check.state == "fail"
    assert "CUDA_VISIBLE_DEVICES='GPU-gone'" in check.evidence


def test_mig_is_told_of_where_a_process_sees_one_slice():
    assert judge_devices(cards(mig=True), EIGHT, view(1), "env").state == "warn"
    check = judge_devices(cards(mig=True), EIGHT, view(1), "env", 2)
    assert check.state == "fail" and "nvidia-smi -mig 0" in check.fix


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        (TOO_OLD, "newer NVIDIA driver"),
        ("CUDA driver version is insufficient for CUDA runtime version", "newer NVIDIA driver"),
        ("Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized", "fabricmanager"),
        ("Error 803: system has unsupported display driver / cuda driver combination", "restart"),
        ("Error 804: forward compatibility was attempted on non supported HW", "cuda-compat"),
        ("CUDA error: no kernel image is available for execution on the device", "compute capability"),
        ("No CUDA GPUs are available", "CUDA_VISIBLE_DEVICES"),
        ("Found no NVIDIA driver on your system.", "--gpus all"),
        ("CUDA-capable device(s) is/are busy or unavailable", "nvidia-smi"),
        ("CUDA unknown error - this may be due to an incorrectly set up environment", "nvidia-modprobe"),
        ("never heard of", "alphaf doctor"),
    ],
)  # fmt: skip
def test_each_error_of_the_cuda_runtime_has_its_way_out(said, fix):
    assert fix in gpus.fix_for(said)


def test_bf16_fails_only_where_a_recipe_trains_in_it():
    turing = view(1, bf16=False, capability="7.5", name="T4")
    assert judge_bf16(turing, "env", needed=True).state == "fail"
    assert judge_bf16(turing, "env", needed=False).state == "warn"
    assert judge_bf16(view(2), "env", needed=True).state == "ok"
    assert judge_bf16(view(), "env", needed=True).state == "skipped"


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ({"processes": 2, "used": 10**9}, "2 processes of others"),
        ({"ecc_errors": 3}, "3 uncorrected ECC errors"),
        ({"remap_pending": True}, "wait for a reset"),
        ({"remap_failed": True}, "broken for good"),
        ({"mig": True}, "MIG is on"),
        ({"prohibited": True}, "PROHIBITED"),
        ({"exclusive": True}, "EXCLUSIVE_PROCESS"),
        ({"slowed": True}, "slowed down"),
        ({"persistence": False}, "persistence mode is off"),
    ],
)
def test_what_costs_hours_on_a_card_is_a_warning_with_a_way_out(trouble, said):
    first, second = judge_cards(Cards("580", "13.0", (replace(CARD, **trouble), CARD)), EIGHT)
    assert (first.state, second.state) == ("warn", "ok")
    assert said in first.evidence and first.fix and first.subject == "GPU 0"


def test_cards_that_are_not_used_are_not_told_of_and_memory_without_a_process_is_somebody_s():
    found = Cards("580", "13.0", (replace(CARD, uuid="GPU-a", processes=1), replace(CARD, uuid="GPU-b", used=20 << 30)))
    (check,) = judge_cards(found, Machine(("NVIDIA H100",), 8, ("GPU-b",)))
    assert (check.subject, check.state) == ("GPU 1", "warn")
    assert "its memory is somebody else's" in check.evidence and "0 processes" not in check.evidence
    assert judge_cards(found, Machine((), 8)) == []
    sliced = Cards("580", "13.0", (replace(CARD, uuid="GPU-a", mig=True), CARD))
    (check,) = judge_cards(sliced, Machine(("MIG-1",), 8, ("MIG-1",)))
    assert "MIG is on" in check.evidence


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A folder that is the whole PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_no_compiler_fails_where_it_is_needed_and_is_a_warning_elsewhere(tools):
    env = {"PATH": str(tools)}
    for needed, state in ((True, "fail"), (False, "warn")):
        first, second = compiler.judge_compiler(environment(), env, "env", needed=needed)
        assert (first.state, second.state) == (state, "skipped")
        assert "neither gcc nor clang" in first.evidence and "apt-get install gcc" in first.fix
    (named, _) = compiler.judge_compiler(environment(), {**env, "CC": "icc"}, "env", needed=True)
    assert "CC names icc, which is not there" in named.evidence


def test_headers_that_are_not_there_name_the_package_of_that_python(tmp_path):
    about = environment(include=str(tmp_path), headers=False, python="3.12.3")
    _, check = compiler.judge_compiler(about, dict(os.environ), "env", needed=True)
    assert check.state == "fail"
    assert str(tmp_path) in check.evidence and "python3.12-dev" in check.fix


def test_a_compiler_is_believed_only_once_it_built_something(tmp_path):
    first, second = compiler.judge_compiler(environment(), dict(os.environ), "env", needed=True)
    assert (first.state, second.state) == ("ok", "ok")
    (tmp_path / "Python.h").write_text("#error this is no header\n")
    _, check = compiler.judge_compiler(environment(include=str(tmp_path)), dict(os.environ), "env", needed=True)
    assert check.state == "fail"
    assert "this is no header" in check.evidence


def test_libcuda_is_looked_for_where_triton_looks(tmp_path, monkeypatch):
    listing = "\tlibcuda.so.1 (libc6,x86-64) => {}/libcuda.so.1\n"
    (tmp_path / "libcuda.so.1").touch()
    said = {"out": (0, "")}
    monkeypatch.setattr(compiler, "capture", lambda _: said["out"])

    def state(env=None, *, needed=True):
        return compiler.judge_libcuda(env or {}, "env", needed=needed).state

    assert (state(), state(needed=False)) == ("fail", "skipped")
    assert state({"LD_LIBRARY_PATH": f"/nowhere:{tmp_path}"}) == "ok"
    assert state({"TRITON_LIBCUDA_PATH": str(tmp_path)}) == "ok"
    said["out"] = (0, listing.format(tmp_path))
    assert state() == "ok"
    said["out"] = (0, listing.format("/gone"))
    check = compiler.judge_libcuda({"LD_LIBRARY_PATH": str(tmp_path)}, "env", needed=True)  # Triton does not look there
    assert check.state == "fail" and "lists libcuda.so.1 in /gone, where it is not" in check.evidence
    said["out"] = (127, "")
    assert "there is no /sbin/ldconfig" in compiler.judge_libcuda({}, "env", needed=True).evidence


def test_a_folder_that_triton_cannot_keep_its_libraries_in_is_told(tmp_path, monkeypatch):
    def state(**env):
        return compiler.judge_triton_cache({"HOME": str(tmp_path), **env}, "env", needed=True).state

    assert state() == "ok"
    assert state(TRITON_CACHE_DIR="/proc/nowhere") == "fail"
    monkeypatch.setattr(compiler.os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_NOEXEC))
    check = compiler.judge_triton_cache({"TRITON_HOME": str(tmp_path)}, "env", needed=False)
    assert check.state == "warn" and "noexec" in check.evidence


@pytest.mark.parametrize(
    ("free", "gpus", "state"), [(64, 8, "fail"), (64, 1, "warn"), (900, 8, "warn"), (2048, 8, "ok")]
)
def test_a_container_s_small_shared_memory_is_refused_for_several_gpus(free, gpus, state, tmp_path, monkeypatch):
    monkeypatch.setattr(host.shutil, "disk_usage", lambda _: SimpleNamespace(free=free << 20, total=free << 20))
    check = host.shared_memory(gpus, tmp_path)
    assert check.state == state
    assert ("--shm-size" in check.fix) == (state != "ok")


def test_a_limit_of_open_files_is_told_with_the_command_that_lifts_it(monkeypatch):
    monkeypatch.setattr(host.resource, "getrlimit", lambda _: (256, 4096))
    files, pinned = host.limits(2)
    assert (files.state, pinned.state) == ("warn", "warn")
    assert "ulimit -n 4096" in files.fix and "memlock" in pinned.fix
    assert [check.name for check in host.limits(1)] == ["open_files"]


def test_a_clock_behind_its_own_files_is_told(tmp_path):
    assert host.clock().state == "ok"
    assert host.clock(time.time() - 10 * 365 * 86400).state == "warn"
    manifest = tmp_path / "실행" / "later" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.touch()
    os.utime(manifest, (time.time() + 3600,) * 2)
    check = host.clock()
    assert check.state == "warn" and "the manifest of run later" in check.evidence


def test_a_port_that_is_taken_is_named(monkeypatch):
    with host.socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("MASTER_PORT", str(taken.getsockname()[1]))
        assert host.ports().state == "warn"
    assert host.ports().state == "ok"
    monkeypatch.setenv("MASTER_PORT", "29500x")
    assert "no port" in host.ports().evidence


def test_a_disk_that_takes_korean_names_apart_or_takes_nothing_is_told(tmp_path, monkeypatch):
    locale, korean = host.names()
    assert (locale.state, korean.state) == ("ok", "ok")
    assert "255 bytes, 85 Korean letters" in korean.evidence
    assert list(tmp_path.iterdir()) == []  # nothing is left behind
    import unicodedata

    apart = unicodedata.normalize("NFD", host._KOREAN)
    monkeypatch.setattr(host.Path, "iterdir", lambda _: [host.Path(apart)])
    assert (check := host.names()[1]).state == "warn" and "taken apart" in check.evidence
    monkeypatch.setattr(host.Path, "write_text", lambda *_, **__: os.open("/proc/self/nothing", os.O_RDONLY))
    assert (check := host.names()[1]).state == "fail" and check.exit_code == 5
