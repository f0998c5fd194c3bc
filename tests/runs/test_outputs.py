"""What is taken from a tool's log when it failed, and what a trainer's own log shows of a training."""

import json

import pytest
from fake_tool import checkpoint, hashed, safetensors

from alphaf_orch.core.errors import StageError
from alphaf_orch.runs.launch import said
from alphaf_orch.runs.verify import nothing_learnt, training_summary

LOGS = {
    "our own block": (
        "$ python dpo.py\nnoise\nerror: no row fits\n  where: here\n  next:  raise sequence_len\n",
        "no row fits\n  where: here\n  next:  raise sequence_len",
    ),
    "a python exception with its lines": (
        "$ python x\nTraceback (most recent call last):\n  File x\n"
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for Config\nneftune_noise_alpha\n"
        "  Value error, must be > 0.0\n",
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for Config\nneftune_noise_alpha\n"
        "Value error, must be > 0.0",
    ),
    "of several ranks": (
        "$ x\n[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\n",
        "[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB",
    ),
    "only of the last try": ("$ x\nValueError: old\n$ x\nkilled\n", "killed"),
    "nothing": ("$ x\n", ""),
}


@pytest.mark.parametrize("name", LOGS)
def test_said(name, tmp_path):
    log, expected = LOGS[name]
    path = tmp_path / "s.log"
    path.write_text(log, encoding="utf-8")
    assert said(path).text == expected


LAUNCHER = """Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "/venv/lib/python3.11/site-packages/accelerate/commands/accelerate_cli.py", line 50, in main
    args.func(args)
  File "/venv/lib/python3.11/site-packages/accelerate/commands/launch.py", line 993, in simple_launcher
    raise subprocess.CalledProcessError(returncode=process.returncode, cmd=cmd)
subprocess.CalledProcessError: Command '['python', '-m', 'axolotl.cli.train']' returned non-zero exit status 1.
"""

ELASTIC = """W1126 04:30:09.627000 13729 torch/distributed/elastic/multiprocessing/api.py:1028] Sending process 14531 \
closing signal SIGTERM
E1126 04:30:09.742000 13729 torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: 1) local_rank: 3
Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/accelerate/commands/launch.py", line 1024, in multi_gpu_launcher
    distrib_run.run(args)
  File "/venv/lib/python3.11/site-packages/torch/distributed/launcher/api.py", line 300, in launch_agent
    raise ChildFailedError(
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
axolotl.cli.train FAILED
------------------------------------------------------------
Failures:
[1]:
  time      : 2026-11-26_04:30:09
  host      : localhost
  rank      : 0 (local_rank: 0)
  exitcode  : -15 (pid: 14531)  (SIGTERM)
  error_file: <N/A>
  traceback : Signal 15 (SIGTERM) received by PID 14531
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-26_04:30:09
  host      : localhost
  rank      : 3 (local_rank: 3)
  exitcode  : {code} (pid: 14530)
  error_file: {file}
  traceback : {traceback}
============================================================
"""
PLAIN = ELASTIC.format(
    code=1, file="<N/A>", traceback="To enable traceback see: https://pytorch.org/docs/stable/x.html"
)

CHAIN = """Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/datasets/json.py", line 5, in read
    ujson_loads(text)
ValueError: Unexpected character found when decoding array value (2)

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "pyarrow/error.pxi", line 92, in pyarrow.lib.check_status
pyarrow.lib.ArrowInvalid: JSON parse error: Missing a comma or ']' after an array element. in row 0

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/datasets/builder.py", line 1922, in _prepare_split_single
    raise DatasetGenerationError("An error occurred while generating the dataset") from e
datasets.exceptions.DatasetGenerationError: An error occurred while generating the dataset
"""
CAUSE = """ValueError: Unexpected character found when decoding array value (2)
led to: pyarrow.lib.ArrowInvalid: JSON parse error: Missing a comma or ']' after an array element. in row 0
led to: datasets.exceptions.DatasetGenerationError: An error occurred while generating the dataset"""


def prefixed(rank: int, text: str) -> str:
    return "".join(f"[rank{rank}]: {line}\n" for line in text.splitlines())


def interleaved(*texts: str) -> str:
    """Return the lines of several texts as ranks print them at the same time."""
    rows = [text.splitlines() for text in texts]
    longest = max(map(len, rows))
    return "".join(f"{row[number]}\n" for number in range(longest) for row in rows if number < len(row))


def error(text: str, file: str = "train.py") -> str:
    return f'Traceback (most recent call last):\n  File "/venv/{file}", line 7, in step\n    go()\n{text}\n'


BOOM = "RuntimeError: The size of tensor a (7) must match the size of tensor b (8)"
LOST = "torch.distributed.DistBackendError: NCCL error: remote process exited or there was a network error"
GCC = "subprocess.CalledProcessError: Command '['/usr/bin/gcc', 'cuda_utils.c']' returned non-zero exit status 1."
STOPPED = "error: DPO was stopped by SIGTERM\n  where: /run/dpo\n  next:  run again\n"
OURS = "error: no row fits\n  where: here\n  next:  raise sequence_len\n"
CAUSES = {
    "the tool's, not the launcher's": (error(BOOM) + LAUNCHER, BOOM),
    "a chain, from its first cause on": (CHAIN + LAUNCHER, CAUSE),
    "behind a progress bar": (" 20%|##        | 2/10 [00:00<00:03]" + error(BOOM) + " 20%|#| 2/10\n" + LAUNCHER, BOOM),
    "a tool's own failing program": (error(GCC, "triton/runtime/build.py") + LAUNCHER, GCC),
    "with what is said at the end ignored": (
        error(BOOM) + "Exception ignored in: <function X.__del__>\n" + error("OSError: no file") + LAUNCHER,
        BOOM,
    ),
    "the rank that failed first, as the agent saw it": (
        interleaved(prefixed(0, error(LOST)), prefixed(3, CHAIN)) + PLAIN,
        f"[rank3]: {CAUSE}",
    ),
    "not the rank that only lost the connection": (
        interleaved(prefixed(1, error(LOST)), prefixed(2, error(BOOM))), f"[rank2]: {BOOM}"
    ),
    "what the rank left in its error file": (
        interleaved(error(BOOM), error(BOOM))
        + ELASTIC.format(
            code=1, file="/tmp/x/3/error.json", traceback=CHAIN.rstrip().replace("\n", "\n  ")
        ),
        f"[rank3]: {CAUSE}",
    ),
    "not what a rank recorded that only lost the connection": (
        interleaved(prefixed(1, error(BOOM)), prefixed(3, error(LOST)))
        + ELASTIC.format(code=1, file="/tmp/x/3/error.json", traceback=error(LOST).rstrip().replace("\n", "\n  ")),
        f"[rank1]: {BOOM}",
    ),
    "lines of ranks that run into each other": (interleaved(error(BOOM), error(BOOM)) + PLAIN, BOOM),
    "a rank that was killed": (
        prefixed(0, error(LOST)) + ELASTIC.format(code=-9, file="<N/A>", traceback="Signal 9 (SIGKILL) received"),
        "rank 3 was killed by signal 9 (the kernel's out-of-memory killer sends 9)",
    ),
    "a trainer that was killed": (
        "step 5\n" + LAUNCHER.replace("returned non-zero exit status 1", "died with <Signals.SIGKILL: 9>"),
        "its process was killed by signal 9 (the kernel's out-of-memory killer sends 9)",
    ),
    "a crash below python": (
        "terminate called after throwing an instance of 'c10::Error'\nRuntimeError: CUDA error: an illegal access\n"
        + LAUNCHER,
        "RuntimeError: CUDA error: an illegal access",
    ),
    "our own block, nothing behind it": (OURS + LAUNCHER, OURS.removeprefix("error: ").rstrip()),
    "our own block of two ranks at once": (interleaved(OURS, OURS) + PLAIN, OURS.removeprefix("error: ").rstrip()),
    "not that the other ranks were stopped": (error(BOOM) + STOPPED + STOPPED + LAUNCHER, BOOM),
    "our own block, not that the others were stopped": (OURS + STOPPED, OURS.removeprefix("error: ").rstrip()),
    "that it was stopped": (STOPPED, STOPPED.removeprefix("error: ").rstrip()),
}  # fmt: skip


@pytest.mark.parametrize("name", CAUSES)
def test_the_cause_is_told_not_the_launcher(name, tmp_path):
    log, expected = CAUSES[name]
    path = tmp_path / "s.log"
    path.write_text("$ accelerate launch\nsome line\n" + log, encoding="utf-8")
    assert said(path).text == expected


def step(number, loss, margin=None, norm=None):
    found = {"step": number, "loss": loss}
    return found | {k: v for k, v in (("rewards/margins", margin), ("grad_norm", norm)) if v is not None}


LN2 = 0.6931471824645996
# TRL 1.9.0 on a tiny model at sequence_len 100, 12 pairs equal after the cut and one that differs: as it was logged.
EQUAL = [
    step(n, LN2, 0.0, norm)
    for n, norm in enumerate(
        [0.12655316293239594, 2.73e-07, 2.84e-07, 2.93e-07, 2.84e-07, 3.0e-07],
        start=1,
    )
]
IDLE = {
    "pairs equal after the cut": EQUAL,
    "and no norm in the log": [step(n, LN2, 0.0) for n in range(3)],
    "no label": [step(1, 0.0, norm=0.0), step(2, 0.0, norm=0.0)],
}
LEARNING = {
    "first step of DPO": [step(1, LN2, 0.0, 0.127)],
    "warm-up": [step(1, LN2, 0.0), step(2, LN2, 0.0)],
    "DPO": [step(1, LN2, 0.0, 0.13), step(2, 0.69, 0.002, 0.12)],
    "margins that come late": [*EQUAL, step(7, 0.69, 0.001, 0.1)],
    "SFT": [step(1, 2.0, norm=1.5), step(2, 1e-9, norm=0.0)],
    "SFT without norms": [step(1, 2.0), step(2, 1.0)],
}


@pytest.mark.parametrize("name", IDLE)
def test_a_training_that_learnt_nothing_is_not_done(name, tmp_path):
    checkpoint(tmp_path, 10)
    safetensors(tmp_path / "adapter_model.safetensors")
    state = tmp_path / "checkpoint-10" / "trainer_state.json"
    state.write_text(json.dumps({"global_step": 10, "max_steps": 10, "log_history": IDLE[name]}))
    hashed(state.parent)
    with pytest.raises(StageError) as caught:
        training_summary("dpo", tmp_path, tmp_path / "dpo.log", tmp_path / "dpo.jsonl")
    assert caught.value.what.startswith("dpo: nothing was learnt: ")
    assert "use --run NEW" in caught.value.fix


@pytest.mark.parametrize("name", LEARNING)
def test_a_training_that_learns_is_believed(name):
    assert nothing_learnt(LEARNING[name]) is None
