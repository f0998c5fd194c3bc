"""What was stored, read again: a regular file, UTF-8, JSON of the expected kind, or an error that says what it is not.

Whatever lies in a file's place is opened without waiting and looked at before it is read: a device never ends.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.file_kinds import NotAFile, kind_of, open_file, why_not
from alphaf_orch.core.paths import EXPERIMENT_FILE, cache_dir, runs_dir
from alphaf_orch.core.small_files import parse_json

Kind = TypeVar("Kind")
# Ours: a manifest has some 100 KB, and a report or a summary less.
LARGEST = 256 * 1024 * 1024

_DENIED = "permission denied"
_NAMES = {"manifest.json": "the manifest", EXPERIMENT_FILE: "the record of the experiment"}


class Unreadable(RunStateError):
    """A stored file that is there and cannot be read as what was stored."""


def absent(path: Path) -> bool:
    """Return whether nothing has that name; a link to nothing is something, and so is what may not be looked at."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def name_of(path: Path) -> str:
    """Return the name by which a command takes the run that a path belongs to, empty where it is in none."""
    try:
        parts = path.relative_to(runs_dir()).parts
    except ValueError:
        return ""
    arm = len(parts) > 1 and (runs_dir() / parts[0] / parts[1]).is_dir()
    arm = arm and not absent(runs_dir() / parts[0] / EXPERIMENT_FILE)
    return "/".join(parts[: 2 if arm else 1])


def mending(path: Path) -> str:
    """Return what to do about a damaged file: the command that mends the run it belongs to."""
    name = name_of(path)
    if not name:
        return "bring the file back, or move it away"
    return f"`alphaf repair {name}` says what is wrong in the run and, with --apply, mends what can be mended"


def unreadable(path: Path, what: str, fix: str = "") -> Unreadable:
    """Return the error of a file: `sft.jsonl cannot be read: it is a folder`; `fix` is `mending` unless given."""
    subject = _NAMES.get(path.name, path.name)
    return Unreadable(
        f"{subject} cannot be read: {what}", where=str(path), fix=fix or mending(path), code="run.unreadable"
    )


def problem(path: Path) -> str | None:
    """Return why a path can be no stored file, by a look at what it is: `it is a folder`; None where it is one."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return _why(path, error)
    if not stat.S_ISREG(mode):
        return f"it is {kind_of(mode)}"
    return None if os.access(path, os.R_OK) else _DENIED


def open_stored(path: Path, fix: str = "") -> BinaryIO:
    """Return the open file; raise FileNotFoundError where nothing is there, Unreadable where it is no readable file."""
    try:
        return open_file(path)
    except NotAFile as found:
        raise unreadable(path, f"it is {found.kind}", fix) from None
    except OSError as error:
        if absent(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None
        raise unreadable(path, problem(path) or _why(path, error), fix) from None


def usable(path: Path) -> None:
    """Raise Unreadable where something lies in a file's place into which nothing can be written: a folder, a pipe."""
    what = None if absent(path) else problem(path)
    if what and what != _DENIED:  # rights are for the disk's errors to tell
        raise unreadable(path, what)


def misplaced(error: OSError) -> Unreadable | None:
    """Return what to tell of an error of a file in the runs or the cache, None for one of any other file."""
    if not isinstance(error.filename, str | bytes):
        return None
    path = Path(os.fsdecode(error.filename))
    if any(folder in path.parents for folder in (runs_dir(), cache_dir())):
        return unreadable(path, _why(path, error))
    return None


def set_aside(path: Path, root: Path) -> Path:
    """Move what lies below `root` to the same place below root/damaged/DATE, whatever it is; return where it is.

    Nothing is ever deleted, and what was set aside at the same second keeps its place.
    """
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    number = 0
    while True:
        folder = root / "damaged" / (f"{moment}-{number}" if number else moment)
        target = folder / path.relative_to(root)
        if absent(target):
            break
        number += 1
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
    return target


def read_text(path: Path, fix: str = "") -> str:
    """Return the text of a stored file; raise as open_stored, and Unreadable where it is not UTF-8 or far too large."""
    with open_stored(path, fix) as file:
        try:
            content = file.read(LARGEST + 1)
        except OSError as error:
            raise unreadable(path, _why(path, error), fix) from None
    if len(content) > LARGEST:
        raise unreadable(path, f"it has more than {LARGEST >> 20} MiB", fix)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise unreadable(path, f"it is not UTF-8 (byte {error.start:,})", fix) from None


def read_value(path: Path, fix: str = "") -> Any:
    """Return the JSON value in a stored file; raise as read_text, and Unreadable where it is no JSON."""
    text = read_text(path, fix)
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        what = f"it is cut off or no JSON ({error.msg}, line {error.lineno})" if text.strip("\0 \n") else "it is empty"
        raise unreadable(path, what, fix) from None
    except ValueError as error:  # a number of thousands of digits, a thousand brackets
        raise unreadable(path, f"it is no JSON of ours ({type(error).__name__}: {str(error)[:80]})", fix) from None


def read_object(path: Path, fix: str = "") -> dict[str, Any]:
    """Return the JSON object in a stored file; raise as read_value, and Unreadable where it is another value."""
    value = read_value(path, fix)
    if not isinstance(value, dict):
        raise unreadable(path, f"it holds {_json_kind(value)}, not an object", fix)
    return value


def checked(kind: type[Kind] | TypeAdapter[Kind], value: Any, path: Path, fix: str = "") -> Kind:
    """Return the value as the kind has it; raise Unreadable naming the first key that it refuses."""
    try:
        if isinstance(kind, TypeAdapter):
            return kind.validate_python(value)
        if issubclass(kind, BaseModel):
            return kind.model_validate(value)
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise unreadable(path, first_mistake(error), fix) from None


def first_mistake(error: ValidationError) -> str:
    """Return the first key that was refused and why: `stages.sft.state: field required`."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    keys = ".".join(str(part) for part in first["loc"])
    message = first["msg"][:1].lower() + first["msg"][1:]
    return f"{keys}: {message}" if keys else message


def numbered_lines(path: Path, fix: str = "") -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a stored file with their numbers; raise as open_stored."""
    with open_stored(path, fix) as file:
        try:
            yield from enumerate(file, 1)
        except OSError as error:
            raise unreadable(path, _why(path, error), fix) from None


def _why(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "it is a link to nothing" if path.is_symlink() else "it is gone"
    return _DENIED if isinstance(error, PermissionError) else why_not(error)


def _json_kind(value: Any) -> str:
    if value is None:
        return "null"
    kinds = ((bool, "a truth value"), (int | float, "a number"), (str, "a text"), (list, "a list"))
    return next(name for kind, name in kinds if isinstance(value, kind))
