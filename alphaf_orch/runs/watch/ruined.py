"""Whether the weights of a checkpoint are numbers: one that was saved behind a NaN looks whole, and is worthless."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# How safetensors names them: the kind to read an element as, and the bits that are all set in NaN and infinity.
_FINITE: Mapping[str, tuple[str, int]] = {
    "F64": ("<u8", 0x7FF0 << 48),
    "F32": ("<u4", 0x7F80 << 16),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
}
_PIECE = 1 << 22  # elements that are looked at together


def ruined(folder: Path, state: Mapping[str, Any] | None) -> str | None:
    """Return that a checkpoint's weights are not finite, and since when, or None.

    They are read only where its own log has a loss or gradient that was not: then each tensor, and where the weights
    lie in files of an engine (FSDP, DeepSpeed) the log alone is believed. A batch whose labels are all masked gives a
    loss of NaN and leaves the weights as they were.
    """
    step = next((entry.get("step") for entry in (state or {}).get("log_history", ()) if _not_finite(entry)), None)
    if step is None:
        return None
    files = sorted(folder.glob("*.safetensors"))
    bad = next((name for file in files for name in _bad_tensors(file)), None)
    if bad or not files:
        return f"the loss or gradient was NaN or infinite at step {step}{f', and so is {bad}' if bad else ''}"
    return None


def _not_finite(entry: Mapping[str, Any]) -> bool:
    values = [entry[key] for key in ("loss", "grad_norm") if key in entry]
    return any(isinstance(value, float) and not math.isfinite(value) for value in values)


def _bad_tensors(file: Path) -> Iterator[str]:
    """Yield the names of tensors in a safetensors file of which a number is not finite."""
    import numpy  # scipy brings it; nothing else here needs it

    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header: dict[str, Any] = json.loads(opened.read(length))
    for name, tensor in header.items():
        kind = _FINITE.get(tensor.get("dtype", ""))
        if kind is None:
            continue
        begin, end = tensor["data_offsets"]
        if begin == end:
            continue
        dtype = numpy.dtype(kind[0])
        values = numpy.memmap(
            file, dtype=dtype, mode="r", offset=8 + length + begin, shape=((end - begin) // dtype.itemsize,)
        )
        bits = dtype.type(kind[1])
        for at in range(0, len(values), _PIECE):
            if bool(((values[at : at + _PIECE] & bits) == bits).any()):
                yield name
                break
