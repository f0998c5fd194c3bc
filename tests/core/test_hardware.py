"""What of this machine a child process sees."""

import sys
from pathlib import Path

import pytest

from alphaf_orch.core import hardware
from alphaf_orch.core.hardware import Machine, detect_machine
from alphaf_orch.core.paths import PACKAGE

FOUR = ("A", "B", "C", "D")
READ = [
    (None, FOUR, ("0", "1", "2", "3")),
    ("2, 0", ("C", "A"), ("2", "0")),
    ("1,9,0", ("B",), ("1",)),
    ("1,,0", ("B",), ("1",)),
    ("", (), ()),
    ("-1", (), ()),
    ("0,0", (), ()),
    ("GPU-x,GPU-y", ("GPU-x", "GPU-y"), ("GPU-x", "GPU-y")),
    ("GPU-x,1", ("GPU-x",), ("GPU-x",)),
    ("1,GPU-x", ("B",), ("1",)),
    ("MIG-x", ("MIG-x",), ("MIG-x",)),
]


@pytest.fixture
def four(monkeypatch):
    """Four GPUs, whatever the machine of the test has."""
    monkeypatch.setattr(hardware, "_all_gpus", lambda: FOUR)


@pytest.mark.parametrize(("said", "gpus", "devices"), READ)
def test_cuda_visible_devices_is_read_as_torch_reads_it(said, gpus, devices, four, monkeypatch):
    if said is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", said)
    machine = detect_machine()
    assert (machine.gpus, machine.devices) == (gpus, devices)
    assert machine.visible(len(gpus)) == devices


def test_without_gpus_there_are_no_devices_whatever_is_chosen(monkeypatch):
    monkeypatch.setattr(hardware, "_all_gpus", lambda: ())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    machine = detect_machine()
    assert (machine.gpus, machine.devices) == ((), ())


def test_what_is_planned_for_another_machine_numbers_devices_from_zero():
    machine = Machine(("C", "D"), 8, ("2", "3"))
    assert [machine.visible(count) for count in (0, 1, 2, 3)] == [(), ("2",), ("2", "3"), ("0", "1", "2")]


@pytest.mark.real
@pytest.mark.parametrize("said", [said for said, _, _ in READ if said is not None])
def test_torch_itself_reads_the_same(said, monkeypatch):
    cuda = pytest.importorskip("torch.cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", said)
    entries = cuda._parse_visible_devices()
    # torch counts numbers against the devices only later (_device_count_nvml): the first too large one ends the list.
    known = [n for n, entry in enumerate(entries) if isinstance(entry, int) and entry >= len(FOUR)]
    assert tuple(map(str, entries[: known[0]] if known else entries)) == hardware._chosen(said, len(FOUR))


def test_nothing_else_reads_the_variable():
    """What a child is given is one thing, what the user said another: only core/hardware.py asks for that."""
    asked = ('environ.get("CUDA_VISIBLE_DEVICES"', 'environ["CUDA_VISIBLE_DEVICES"]', 'getenv("CUDA_VISIBLE_DEVICES"')
    files = [path for path in PACKAGE.rglob("*.py") if any(text in path.read_text("utf-8") for text in asked)]
    assert [str(path.relative_to(PACKAGE)) for path in files] == [str(Path("core") / "hardware.py")]


class _Driver:
    """Stands in for pynvml on a machine with cards: two sizes, one that shares its memory with the host."""

    class NVMLError(Exception):
        pass

    def __init__(self, *, driver=True):
        self.driver, self.open = driver, 0
        self.sizes = {"0": 80, "1": 24, "GPU-a": 80, "GPU-b": 48}
        self.kinds = {"0": (9, 0), "1": (8, 9), "GPU-a": (10, 0), "GPU-b": (9, 0)}

    def nvmlInit(self):
        if not self.driver:
            raise self.NVMLError("Driver Not Loaded")
        self.open += 1

    def nvmlShutdown(self):
        self.open -= 1

    def nvmlDeviceGetHandleByIndex(self, number):
        return str(number)

    def nvmlDeviceGetHandleByUUID(self, name):
        if name not in self.sizes:
            raise self.NVMLError("Not Found")
        return name

    def nvmlDeviceGetMemoryInfo(self, handle):
        if handle not in self.sizes:
            raise self.NVMLError("Not Supported")
        return type("Info", (), {"total": self.sizes[handle]})

    def nvmlDeviceGetCudaComputeCapability(self, handle):
        if handle not in self.kinds:
            raise self.NVMLError("Not Supported")
        return self.kinds[handle]


@pytest.mark.parametrize(
    ("devices", "kind"),
    [
        (("0",), "sm_90"),
        (("0", "1"), "sm_89"),
        (("GPU-a", "GPU-b"), "sm_90"),
        (("GPU-a",), "sm_100"),
        (("0", "2"), ""),
        ((), ""),
    ],
)
def test_the_kind_is_that_of_the_oldest_card_that_is_seen(devices, kind, monkeypatch):
    driver = _Driver()
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    assert hardware._oldest_kind(devices) == kind
    assert driver.open == 0


@pytest.mark.parametrize(
    ("devices", "memory"),
    [
        (("0",), 80),
        (("0", "1"), 24),
        (("GPU-a", "GPU-b"), 48),
        (("GPU-a", "GPU-shortened"), 0),
        (("0", "2"), 0),
        ((), 0),
    ],
)
def test_the_memory_is_that_of_the_smallest_card_that_is_seen(devices, memory, monkeypatch):
    driver = _Driver()
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    assert hardware._smallest_memory(devices) == memory
    assert driver.open == 0


def test_without_a_driver_no_memory_is_known(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", _Driver(driver=False))
    assert hardware._smallest_memory(("0",)) == 0
    assert hardware._oldest_kind(("0",)) == ""
