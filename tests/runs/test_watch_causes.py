"""What tools print of memory, ports, networks and cards, as they printed it, becomes a sentence with the next step."""

import pytest

from alphaf_orch.core.errors import DiskError, OutOfMemory, StageError
from alphaf_orch.runs.launch import exited
from alphaf_orch.runs.watch.causes import explained
from alphaf_orch.runs.watch.memory import kills, short_of, smaller, was_training

from alphaf_orch.core.command import Finished  # isort: skip

NCCL = "torch.distributed.DistBackendError: NCCL error in: ../torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp:2501, "
# From public reports of the tools themselves (pytorch, NCCL, torchtune, trl, LLaMA-Factory).
PRINTED = {
    "a port is taken": [
        "torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. port:"
        " 29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use",
        "RuntimeError: The server socket has failed to listen on any local network address. The server socket has"
        " failed to bind to [::]:29500 (errno: 98 - Address already in use).",
    ],
    "too little shared memory": [
        "RuntimeError: DataLoader worker (pid 46794) is killed by signal: Bus error. It is possible that dataloader's"
        " workers are out of shared memory. Please try to raise your shared memory limit.",
        "ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).",
        "[0] misc/shmutils.cc:132 NCCL WARN Error while creating shared memory segment /dev/shm/nccl-WU88OE (size"
        " 9637888), error: No space left on device (28)",
        "[3] include/shm.h:28 NCCL WARN Call to posix_fallocate failed : No space left on device",
        "RuntimeError: unable to write to file </torch_4711_0>: No space left on device (28) torch_shm_manager",
    ],
    "a GPU's memory is damaged": [
        "torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered",
        "RuntimeError: cuda runtime error (214) : uncorrectable ECC error encountered at CachingHostAllocator.cpp:265",
    ],
    "a GPU failed": [
        "torch.AcceleratorError: CUDA error: unspecified launch failure",
        "NVRM: Xid (PCI:0000:3b:00): 79, pid=1234, GPU has fallen off the bus.",
    ],
    "do not fit together": [
        "RuntimeError: The NVIDIA driver on your system is too old (found version 12020).",
        "torch.AcceleratorError: CUDA error: no kernel image is available for execution on the device",
        "Failed to initialize NVML: Driver/library version mismatch",
    ],
    "device-side assert": ["torch.AcceleratorError: CUDA error: device-side assert triggered"],
    "illegal memory access": ["torch.AcceleratorError: CUDA error: an illegal memory access was encountered"],
    "InfiniBand": [
        "node1:1:2 [0] transport/net_ib.cc:94 NCCL WARN NET/IB : Got async event : port error",
        "node1:1:2 [1] NCCL WARN Got completion from peer 10.0.0.2<41234> with status=12 opcode=0 len=0 vendor err 129",
    ],
    "do not reach each other": [
        "torch.distributed.DistNetworkError: The client socket has timed out after 60000ms while trying to connect to"
        " (10.0.0.1, 29500).",
        "NCCL WARN Bootstrap : no socket interface found",
    ],
    "waited for each other": [
        "[rank0]:[E321 02:07:08.408271257 ProcessGroupNCCL.cpp:607] [Rank 0] Watchdog caught collective operation"
        " timeout: WorkNCCL(SeqNum=1580, OpType=ALLREDUCE, NumelIn=466119168, NumelOut=466119168, Timeout(ms)=600000)"
        " ran for 600060 milliseconds before timing out.",
    ],
    "lost another one": [
        NCCL + "remote process exited or there was a network error, NCCL version 2.25.1\nncclRemoteError: A call failed"
        " possibly due to a network error or a remote process exiting prematurely.",
        "RuntimeError: [third_party/gloo/gloo/transport/tcp/pair.cc:525] Connection closed by peer [127.0.1.1]:18627",
    ],
    "an error of CUDA": [
        NCCL + "unhandled cuda error (run with NCCL_DEBUG=INFO for details), NCCL version 2.21.5",
    ],
    "an error of the system": [
        NCCL + "unhandled system error (run with NCCL_DEBUG=INFO for details), NCCL version 2.25.1\nncclSystemError:"
        " System call (e.g. socket, malloc) or external library call failed or device error.",
    ],
    "two ranks use one card": [
        NCCL + "invalid usage (run with NCCL_WARN), NCCL version 2.21.5\nncclInvalidUsage\nLast error:\nDuplicate GPU"
        " detected : rank 1 and rank 0 both on CUDA device 3b000",
    ],
}


@pytest.mark.parametrize(
    ("what", "printed"), [(what, text) for what, texts in PRINTED.items() for text in texts], ids=lambda text: text[:40]
)
def test_a_text_of_a_tool_is_explained(what, printed):
    found = explained(printed)
    assert found
    assert what in found.what
    assert found.fix


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ValueError: Trying to set a tensor of shape [2] in `weight` (which has shape [3])",
        "huggingface_hub.errors.LocalEntryNotFoundError: [Errno 111] Connection refused",
        "requests.exceptions.ConnectionError: Name or service not known",
        "BrokenPipeError: [Errno 32] Broken pipe",
        "triton.runtime.errors.OutOfResources: out of resource: shared memory, Required: 106496, limit: 101376",
    ],
)
def test_other_texts_are_left_as_they_are(text):
    assert explained(text) is None
    assert short_of(text, killed=False) is None


def log(tmp_path, *lines):
    file = tmp_path / "sft.log"
    file.write_text("$ accelerate launch\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_what_the_log_said_before_is_the_cause_of_what_the_ranks_died_of(tmp_path):
    vague = PRINTED["an error of the system"][0]
    trace = ["Traceback (most recent call last):", '  File "/env/train.py", line 1, in <module>', *vague.splitlines()]
    error = exited("sft", Finished(1, 1.0, 1), log(tmp_path, PRINTED["too little shared memory"][2], *trace), "again")
    assert isinstance(error, StageError)
    assert not isinstance(error, DiskError), "no space left on /dev/shm is of no disk"
    assert "there is too little shared memory (/dev/shm)" in error.what
    assert "--shm-size" in error.fix
    alone = exited("sft", Finished(1, 1.0, 1), log(tmp_path, *trace), "again")
    assert "NCCL met an error of the system" in alone.what
    assert "NCCL_DEBUG=WARN" in alone.fix


def test_a_rank_that_its_watchdog_aborted_is_explained_by_the_watchdog_s_words(tmp_path):
    summary = ["Root Cause (first observed failure):", "[0]:", "  rank      : 0 (local_rank: 0)", "  exitcode  : -6"]
    file = log(tmp_path, PRINTED["waited for each other"][0], *summary, "=====")
    error = exited("sft", Finished(1, 1.0, 1), file, "again")
    assert "rank 0 was killed by signal 6" in error.what
    assert "the ranks waited for each other until the time was over" in error.what
    assert "ddp_timeout" in error.fix


def test_a_program_of_any_stage_that_is_out_of_memory_says_so(tmp_path):
    trace = ["Traceback (most recent call last):", '  File "/env/eval.py", line 1, in <module>', *GPU[0].splitlines()]
    error = exited("eval_sft", Finished(1, 1.0, 1), log(tmp_path, *trace), "again")
    assert isinstance(error, OutOfMemory)
    assert error.exit_code == 7
    assert "eval_sft exited with 1: the GPU has too little memory: torch.OutOfMemoryError" in error.what
    assert "nvidia-smi" in error.fix


GPU = [
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB",
    "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB",
    "RuntimeError: CUDA error: out of memory",
    "torch.AcceleratorError: CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in https://docs.nvidia",
    "RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    NCCL
    + "unhandled cuda error\nncclUnhandledCudaError: Call to CUDA function failed.\nCuda failure 2 'out of memory'",
    "Error out of memory at line 380 in file /src/csrc/pythonInterface.c",
    "dpo exited with 1: the GPU has too little memory: CUDA out of memory.",
]
MACHINE = [
    "RuntimeError: [enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
    " to allocate 17179869184 bytes. Error code 12 (Cannot allocate memory)",
    "MemoryError",
    "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 7.45 GiB for an array with shape (1000000000,)",
    "OSError: [Errno 12] Cannot allocate memory",
    "RuntimeError: DataLoader worker (pid 123) is killed by signal: Killed.",
]


@pytest.mark.parametrize(("text", "of"), [*((text, "GPU") for text in GPU), *((text, "machine") for text in MACHINE)])
def test_too_little_memory_is_recognised(text, of):
    assert short_of(text, killed=False) == of


@pytest.mark.parametrize(
    "text", ["sft was killed by signal 9", "sft exited with 1: rank 3 was killed by signal 9 (the kernel's ...)"]
)
def test_a_kill_is_of_memory_where_the_kernel_counted_one(text):
    assert short_of(text, killed=True) == "machine"
    assert short_of(text, killed=False) is None
    assert short_of("sft was killed by signal 15", killed=True) is None


def test_the_kernel_s_count_is_that_of_our_control_group_else_of_the_machine(tmp_path):
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "self/cgroup").write_text("0::/job\n")
    (proc / "vmstat").write_text("pgfault 3\noom_kill 7\n")
    assert kills(proc, groups) == 7
    (groups / "job").mkdir(parents=True)
    (groups / "job/memory.events").write_text("low 0\noom 3\noom_kill 2\noom_group_kill 0\n")
    assert kills(proc, groups) == 2
    assert kills(tmp_path / "none", groups) == 0


@pytest.mark.parametrize(("micro", "less"), [(64, 32), (8, 4), (6, 3), (9, 3), (7, 1), (3, 1), (2, 1), (1, None)])
def test_a_smaller_cut_keeps_the_global_batch(micro, less):
    found = smaller({"micro_batch_size": micro, "gradient_accumulation_steps": 3, "eval_batch_size": None})
    if less is None:
        assert found is None
        return
    assert found == {"micro_batch_size": less, "gradient_accumulation_steps": 3 * micro // less}
    assert found["micro_batch_size"] * found["gradient_accumulation_steps"] == micro * 3


def test_a_training_had_begun_only_in_the_last_try_of_the_log():
    assert was_training("$ one\nloading\ntraining on 1 rank(s), 10 steps\nOutOfMemory\n")
    assert was_training("$ one\n  0%|     | 0/10 [00:00<?, ?it/s]training on 8 rank(s), 10 steps\nOutOfMemory\n")
    assert not was_training("$ one\ntraining on 1 rank(s), 10 steps\nkilled\n$ two\nloading\nOutOfMemory\n")


def test_a_port_of_what_is_no_training_is_no_matter_of_ranks():
    assert explained("OSError: [Errno 98] Address already in use", []) is None
    said = "torch.distributed.DistNetworkError: The server socket has failed to listen (EADDRINUSE)"
    assert "a port is taken" in explained(said, []).what
