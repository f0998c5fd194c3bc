"""What a pickle says, read opcode by opcode: nothing is built of it and nothing run, whatever the bytes are."""

from __future__ import annotations

import pickletools
from collections.abc import Iterator

# A string, a number, None, or the name of the opcode that begins anything else.
Token = str | int | None
_PUT = ("MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT")
_GET = ("BINGET", "LONG_BINGET", "GET")
_OTHER = "<{}>"


def tokens(data: bytes) -> Iterator[Token]:
    """Yield the strings, numbers and Nones of a pickle in their order, of all else that it opens.

    A dict's key comes before its value. Raises ValueError where the bytes are no whole pickle.
    """
    memo: dict[int, Token] = {}
    last: Token = None
    for opcode, argument, _ in pickletools.genops(data):
        name = opcode.name
        if name in _PUT:
            memo[len(memo) if name == "MEMOIZE" else int(argument or 0)] = last
            continue
        if name in _GET:
            last = memo.get(int(argument or 0))
        elif name == "NONE":
            last = None
        elif isinstance(argument, str | int) and not isinstance(argument, bool) and name not in ("FRAME", "PROTO"):
            last = argument
        elif name in ("FRAME", "PROTO", "MARK", "STOP"):
            continue
        else:
            last = _OTHER.format(name)
        yield last


def following(data: bytes, key: str) -> Token:
    """Return what stands behind the first `key` of a pickle; raise ValueError where it has none."""
    found = tokens(data)
    if key not in found:
        raise ValueError(f"it says no {key}")
    return next(found, None)
