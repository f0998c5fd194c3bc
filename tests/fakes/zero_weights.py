"""A safetensors file of zeros, as the library would read it."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

BITS = {"U8": 8, "I8": 8, "F8_E4M3": 8, "BF16": 16, "F16": 16, "F32": 32, "I32": 32}


def write(path: Path, tensors: Mapping[str, tuple[str, Sequence[int]]]) -> None:
    """Write the named tensors, each a dtype and a shape."""
    entries, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        begin, end = end, end + math.prod(shape) * BITS[dtype] // 8
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    header = json.dumps(entries).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(end))
