"""Small files of the user's, read whole and bounded: what is no file, has no end or is too large is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import AlphafError, ConfigError
from alphaf_orch.core.file_kinds import NotAFile, open_file, why_not

# Ours: a config has some hundred bytes, the longest recipe and task file some thousand.
TEXT_BYTES = 4 << 20
# Ours: the largest tokenizer.json that we know, Gemma 3's, has 33 MB.
JSON_BYTES = 256 << 20


def small_bytes(
    path: Path, *, most: int = TEXT_BYTES, subject: str = "", error: type[AlphafError] = ConfigError
) -> bytes:
    """Return the bytes of a regular file; wait for nothing and read no more than `most`.

    Raises FileNotFoundError as `open` does, and `error` for what is no file, cannot be read or is larger; its message
    begins with `subject`.
    """
    try:
        with open_file(path) as file:
            data = file.read(most + 1)
    except NotAFile as found:
        what = f"{subject or 'it is '}not a file, but {found.kind}"
        raise error(what, where=str(path), fix="name a file", code=f"{error.domain}.not_a_file") from None
    except FileNotFoundError:
        if path.is_symlink():
            raise error(
                f"{subject}a link that leads to nothing",
                where=str(path),
                fix="name a file",
                code=f"{error.domain}.broken_link",
            ) from None
        raise
    except OSError as problem:
        what = f"{subject}not readable: {why_not(problem)}"
        raise error(
            what, where=str(path), fix="name a file that can be read", code=f"{error.domain}.unreadable"
        ) from None
    if len(data) > most:
        number = path.stat().st_size if path.is_file() else None
        size = "no end" if number is None else f"{number:,} bytes"
        what = f"{subject}too large: it has {size}, and at most {most:,} are read"
        raise error(
            what, where=str(path), fix="look whether it is the file that was meant", code=f"{error.domain}.too_large"
        )
    return data


def small_text(path: Path, *, most: int = TEXT_BYTES, subject: str = "", error: type[AlphafError] = ConfigError) -> str:
    """Return the text of such a file, without a byte order mark; raise `error` with the line where it is not UTF-8."""
    data = small_bytes(path, most=most, subject=subject, error=error)
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        what = f"{subject}not UTF-8: byte 0x{data[problem.start]:02x}"
        raise error(
            what,
            where=f"{path} line {line}, byte {problem.start}",
            fix="save it as UTF-8",
            code=f"{error.domain}.not_utf8",
        ) from None


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text; raise ValueError for whatever is none, or nests deeper than can be read.

    Also for a number of more digits than python reads (sys.get_int_max_str_digits).
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it nests too deep to be read") from None
