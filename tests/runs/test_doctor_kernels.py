"""What is made of the kernels' answers: a slow card, a broken one, a sum over all cards that hangs or is wrong."""

from __future__ import annotations

import doctor_python
import pytest
from doctor_python import FINE, PACKAGES, calls, view

from alphaf_orch.runs.machine import kernels
from alphaf_orch.runs.machine.look import ask


def test_a_card_that_is_behind_the_others_is_warned_of(tmp_path):
    slow = {"kernel gemm cuda:2": {"tflops": 300.0, "size": 8192, "error": 0.001}}
    python = doctor_python.make(tmp_path, {**FINE, **slow})
    found = kernels.kernel_checks(str(python), PACKAGES, view(4)["devices"])
    gemm = [check.state for check in found if check.name == "gemm"]
    assert gemm == ["ok", "ok", "warn", "ok"]


def test_a_broken_card_does_not_keep_the_others_from_being_asked(tmp_path):
    python = doctor_python.make(tmp_path, FINE)
    devices = view(2)["devices"]
    devices[0] = {**devices[0], "error": "uncorrectable ECC error encountered"}
    found = kernels.kernel_checks(str(python), PACKAGES, devices)
    assert [check.subject for check in found if check.name == "gemm"] == ["GPU 1"]
    assert "kernel triton cuda:1" in calls(python)
    assert [check.state for check in found if check.name == "all_reduce"] == ["skipped"]


def test_a_kernel_whose_package_is_not_there_is_skipped(tmp_path):
    python = doctor_python.make(tmp_path, FINE)
    without = {name: version for name, version in PACKAGES.items() if name != "bitsandbytes"}
    found = {check.name: check for check in kernels.kernel_checks(str(python), without, view(1)["devices"])}
    assert found["bitsandbytes"].state == "skipped"
    assert not [call for call in calls(python) if "bitsandbytes" in call]


def test_an_all_reduce_that_hangs_says_what_to_try(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "ask", lambda programs: ask(programs, 1.0))
    python = doctor_python.make(tmp_path, {**FINE, "collective": "hang"})
    found = {check.name: check for check in kernels.kernel_checks(str(python), PACKAGES, view(2)["devices"])}
    assert found["all_reduce"].state == "fail" and found["all_reduce"].exit_code == 5
    assert "NCCL_P2P_DISABLE=1" in found["all_reduce"].fix


WRONG_SUM = """\
error: the all-reduce over 2 processes gave 5.0 where the sum is 3.0
  where: rank 1 (nccl)
  next:  try again with NCCL_P2P_DISABLE=1: if the sum is right then, the links between the cards are not
Traceback (most recent call last):
  File "collective.py", line 87, in main
torch.multiprocessing.spawn.ProcessExitedException: process 1 terminated with exit code 9
"""
NCCL = """\
host:7:31 [0] misc/shmutils.cc:72 NCCL WARN Error: failed to extend /dev/shm/nccl-aZ to 33030532 bytes
Traceback (most recent call last):
  File "collective.py", line 33, in _sum
torch.distributed.DistBackendError: NCCL error, unhandled system error
"""
STOPPED = "error: rank 0 was stopped by SIGTERM\n  where: rank 0\n  next:  the same command goes on\n"


@pytest.mark.parametrize(
    ("answer", "said", "advice"),
    [
        (WRONG_SUM, "gave 5.0 where the sum is 3.0", "try again with NCCL_P2P_DISABLE=1: if the sum is right then"),
        (STOPPED + WRONG_SUM, "gave 5.0 where the sum is 3.0", "try again with NCCL_P2P_DISABLE=1: if the sum"),
        (NCCL, "; NCCL: Error: failed to extend /dev/shm/nccl-aZ to 33030532 bytes", "/dev/shm more room"),
    ],
)
def test_an_all_reduce_that_fails_says_why(answer, said, advice, tmp_path):
    python = doctor_python.make(tmp_path, {**FINE, "collective": answer})
    found = {check.name: check for check in kernels.kernel_checks(str(python), PACKAGES, view(2)["devices"])}
    assert found["all_reduce"].state == "fail"
    assert said in found["all_reduce"].evidence
    assert advice in found["all_reduce"].fix
