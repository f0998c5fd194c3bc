"""What is taken from a tool's log when it failed, and what a trainer's own log shows of a training."""

import json

import pytest
from fake_tool import checkpoint, safetensors

from alphaf_orch.errors import StageError
from alphaf_orch.outputs import said
from alphaf_orch.verify import nothing_learnt, training_summary

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
    assert said(path) == expected


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
    with pytest.raises(StageError) as caught:
        training_summary("dpo", tmp_path, tmp_path / "dpo.log")
    assert caught.value.what.startswith("dpo: nothing was learnt: ")
    assert "use --run NEW" in caught.value.fix


@pytest.mark.parametrize("name", LEARNING)
def test_a_training_that_learns_is_believed(name):
    assert nothing_learnt(LEARNING[name]) is None
