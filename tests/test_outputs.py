"""What is taken from a tool's log when it failed."""

import pytest

from alphaf_orch.outputs import said

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
