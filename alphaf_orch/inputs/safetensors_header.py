"""The header of a safetensors file, read as strictly as the library reads it: what is wrong is said in words.

Layout: 8 bytes little-endian header length, a JSON header with dtype, shape and data_offsets of every tensor, then the
data without a gap (https://github.com/huggingface/safetensors, README "Format"; src/tensor.rs, `validate`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from alphaf_orch.core.small_files import parse_json

# The limit the safetensors library itself sets for a header.
_MAX_HEADER_BYTES = 100_000_000
_AXES = 64  # torch refuses more (c10/core: a tensor has at most 64 dimensions)
# Of the library's Dtype (src/tensor.rs); one that it got later is not measured.
_BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64,
    "U64": 64,
}  # fmt: skip


class Tensor(NamedTuple):
    """What a safetensors header says of one tensor, the dtype in its own words (BF16)."""

    dtype: str
    shape: tuple[int, ...]


class Header(NamedTuple):
    """Every tensor by its name."""

    tensors: Mapping[str, Tensor]


@lru_cache(maxsize=1024)  # a plan asks several times for those of a model of a hundred shards
def read_header(path: Path, size: int, _mtime_ns: int) -> Header | str:
    """Return the header of a file of `size` bytes, or why the file is no whole safetensors file."""
    try:
        return _read(path, size)
    except OSError as error:
        return f"not readable: {error.strerror}"


def _read(path: Path, size: int) -> Header | str:
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        if size < 8 or header_bytes > _MAX_HEADER_BYTES:
            return "not safetensors"
        if size < 8 + header_bytes:
            return f"cut short: {size:,} bytes, its header alone is {header_bytes:,}"
        text = file.read(header_bytes)
    try:
        tensors, end = _tensors(parse_json(text))
    except ValueError as error:
        return f"not safetensors: {error}"
    whole = 8 + header_bytes + end
    if size < whole:
        return f"cut short: {size:,} of {whole:,} bytes"
    return f"too long: {size:,} bytes, its header tells of {whole:,}" if size > whole else Header(tensors)


def _tensors(header: Any) -> tuple[dict[str, Tensor], int]:
    """Return the tensors and where their data end; raise ValueError for what is no header."""
    if not isinstance(header, dict):
        raise ValueError("the header is no JSON object")
    found = {name: _tensor(name, entry) for name, entry in header.items() if name != "__metadata__"}
    end = 0
    for name, (tensor, (start, stop)) in sorted(found.items(), key=lambda each: each[1][1]):
        if start != end:
            raise ValueError(f"tensor {name!a} begins at byte {start}, not behind the one before it ({end})")
        bits = _BITS.get(tensor.dtype)
        if bits and math.prod(tensor.shape) * bits != (stop - start) * 8:
            raise ValueError(f"tensor {name!a} of {tensor.dtype} {list(tensor.shape)} cannot have {stop - start} bytes")
        end = stop
    return {name: tensor for name, (tensor, _) in found.items()}, end


def _tensor(name: str, entry: Any) -> tuple[Tensor, tuple[int, int]]:
    if not isinstance(entry, dict):
        raise ValueError(f"tensor {name!a} has no description")
    dtype, shape, offsets = entry.get("dtype"), _sizes(entry.get("shape")), _sizes(entry.get("data_offsets"))
    if not isinstance(dtype, str):
        raise ValueError(f"tensor {name!a} has no dtype")
    if shape is None:
        raise ValueError(f"tensor {name!a} has no shape")
    if offsets is None or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError(f"tensor {name!a} has no data_offsets")
    return Tensor(dtype, shape), (offsets[0], offsets[1])


def _sizes(value: Any) -> tuple[int, ...] | None:
    """Return a list of whole numbers from 0 on, in 64 bits, as long as a tensor has axes; None for what is none."""
    good = (
        isinstance(value, list)
        and len(value) <= _AXES
        and all(type(each) is int and 0 <= each < 2**63 for each in value)
    )
    return tuple(value) if good else None
