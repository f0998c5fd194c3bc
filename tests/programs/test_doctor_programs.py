"""What the programs of `alphaf doctor` make of a torch: stand-ins for what only a GPU has. None ran on one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from alphaf_orch.programs.common import TOOL, Failure
from alphaf_orch.programs.doctor import collective
from alphaf_orch.programs.doctor.devices import devices
from alphaf_orch.programs.doctor.environment import environment, include_folder


class Torch:
    """A torch that sees cards; `broken` ones cannot compute."""

    __version__ = "2.13.0+cu130"

    def __init__(self, count=2, cuda="13.0", start=None, broken=(), major=9):
        self.version = SimpleNamespace(cuda=cuda, hip=None)
        self.cuda, self._start, self._broken = self, start, broken
        self._count, self._major = count, major

    def init(self):
        if self._start:
            raise self._start

    def device_count(self):
        return self._count

    def get_device_properties(self, number):
        return SimpleNamespace(name="NVIDIA H100", total_memory=85 * 10**9, major=self._major, minor=0)

    def ones(self, count, device):
        if int(device.removeprefix("cuda:")) in self._broken:
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nmore words")
        return Sum(count)


class Sum(float):
    def __mul__(self, other):
        return Sum(float(self) * other)

    def sum(self):
        return self


def test_each_device_is_described_and_does_a_first_sum():
    found = devices(Torch())
    assert (found["torch"], found["cuda"], found["error"]) == ("2.13.0+cu130", "13.0", None)
    first = {"name": "NVIDIA H100", "memory": 85 * 10**9, "capability": "9.0", "bf16": True, "error": None}
    assert found["devices"] == [first, first]


def test_a_card_that_cannot_compute_is_told_of_by_itself():
    first, second = devices(Torch(broken=(1,)))["devices"]
    assert first["error"] is None
    assert second["error"] == "CUDA error: no kernel image is available for execution on the device"


def test_a_card_that_computes_something_else_is_told_of(monkeypatch):
    monkeypatch.setattr(Sum, "sum", lambda self: Sum(2047))
    assert "is not 2,048" in devices(Torch(1))["devices"][0]["error"]


@pytest.mark.parametrize("kind", [RuntimeError, AssertionError])
def test_the_start_of_cuda_fails_in_torch_s_own_words(kind):
    found = devices(Torch(start=kind("\nThe NVIDIA driver on your system is too old\nupdate it")))
    assert found["error"] == "The NVIDIA driver on your system is too old"
    assert found["devices"] == []


def test_a_torch_for_the_cpu_is_not_asked_to_start_cuda():
    found = devices(Torch(cuda=None, start=RuntimeError("asked")))
    assert (found["cuda"], found["error"], found["devices"]) == (None, None, [])


def test_before_ampere_there_is_no_bf16():
    assert [d["bf16"] for major in (7, 8, 9, 10) for d in devices(Torch(1, major=major))["devices"]] == [
        False,
        True,
        True,
        True,
    ]


def test_the_environment_tells_its_packages_and_headers_and_imports_none(monkeypatch):
    found = environment()
    assert found["packages"]["torch"] and found["filesystem_encoding"] == "utf-8"
    assert found["include"] == include_folder()


def test_debian_s_own_scheme_is_not_where_the_headers_are(monkeypatch):
    monkeypatch.setattr("sysconfig.get_default_scheme", lambda: "posix_local")
    assert "local/include" not in include_folder()


def test_a_rank_whose_sum_is_wrong_says_so_before_it_ends(monkeypatch, capsys):
    """What mp.spawn tells of it is the exit code alone."""

    def wrong(*_):
        raise Failure(
            TOOL,
            "the all-reduce over 2 processes gave 5.0 where the sum is 3.0",
            where="rank 0",
            fix="do",
            code="tool.wrong_result",
        )

    monkeypatch.setattr(collective, "_sum", wrong)
    with pytest.raises(Failure):
        collective._rank(0, 2, "gloo", "", 1)
    assert capsys.readouterr().err.startswith("error: the all-reduce over 2 processes gave 5.0")
