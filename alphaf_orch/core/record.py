"""The manifest of a run: which stage was done, from what, by which tools. Written whole, by rename."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from alphaf_orch.core.disk import writing
from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.shapes import Manifest, Shape, WholeStage
from alphaf_orch.core.stored import Unreadable, checked, first_mistake, read_object, unreadable, usable

FORMAT = 1
T = TypeVar("T")


def fingerprint(value: Any) -> str:
    """Return the SHA-256 of a JSON value, equal for equal values whatever the order of keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _flush(path: Path) -> None:
    """Have the disk hold a file, or which files a folder has."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that keeps no folders in that way
            raise
    finally:
        os.close(handle)


@contextlib.contextmanager
def _replacing(path: Path, *, lasting: bool = True) -> Iterator[Path]:
    """Yield the place for a new version of the file, which takes the old one's place in the end if all went well."""
    partial = path.with_name(path.name + ".partial")
    usable(path)
    usable(partial)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            if lasting:
                _flush(partial)
            partial.replace(path)
            if lasting:
                _flush(path.parent)  # a power cut would take back the rename
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise


def write_atomic(path: Path, text: str, *, lasting: bool = True) -> None:
    """Write the text so that a reader, or a crash, meets the old file or the new one and nothing between.

    What is written anew in a moment need not be `lasting`: a power cut may leave it empty. Raises DiskError where the
    disk does not take it; the old file is kept then.
    """
    with _replacing(path, lasting=lasting) as partial:
        partial.write_text(text, encoding="utf-8")


def copy_atomic(source: Path, target: Path) -> None:
    """Copy a file of any size as write_atomic writes a text."""
    with _replacing(target) as partial:
        shutil.copyfile(source, partial)


def copy_of(path: Path) -> Path:
    """Return where the copy of a manifest is, with which `alphaf repair` puts it back."""
    return path.with_name(path.name + ".copy")


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest, or an empty one where there is none.

    Raises RunStateError where it is damaged, or of another version. Whatever is read of one is of the type that it was
    written with.
    """
    try:
        value = read_object(path)
        version = value.get("format")
        if version != FORMAT and isinstance(version, int) and "stages" in value:
            raise RunStateError(
                f"the manifest was written by another version of alphaf (format {version})",
                where=str(path),
                fix="use the version that made the run, or --run NEW",
                code="run.other_version",
            )
        checked(Manifest, value, path)
    except FileNotFoundError:
        return {"format": FORMAT, "stages": {}}
    return value


def require_whole(manifest: Mapping[str, Any], path: Path) -> None:
    """Raise RunStateError where a stage of the manifest lacks what every version has written of one."""
    for name, entry in manifest["stages"].items():
        try:
            WholeStage.model_validate(entry)
        except ValidationError as error:
            raise unreadable(path, f"stages.{name}: {first_mistake(error)}") from None


def write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest atomically, indented for people, and its copy before it."""
    write_with_copy(path, manifest)


def write_with_copy(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object atomically, and before it its copy, which is whole whatever happens to the file."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    write_atomic(copy_of(path), text)
    write_atomic(path, text)


def now() -> str:
    """Return the time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def latest(each: Sequence[T], moment: Callable[[T], str]) -> T | None:
    """Return which of things in their order has the newest `moment` of `now`: of those in one second, the last."""
    return max(reversed(each), key=moment, default=None)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object a file holds, or None where there is no such file or no such object in it.

    For what others wrote, and what is made anew at will; a file of a run is read by `stored_json`.
    """
    try:
        return read_object(path)
    except (FileNotFoundError, Unreadable):  # an interrupted copy leaves such, and whoever asks has a word for it
        return None


def stored_json(path: Path, shape: type[Shape]) -> dict[str, Any] | None:
    """Return the JSON object in a file of a run, None where there is none; raise RunStateError where it is damaged."""
    try:
        value = read_object(path)
    except FileNotFoundError:
        return None
    checked(shape, value, path)
    return value


def required_json(path: Path, shape: type[Shape] = Shape) -> dict[str, Any]:
    """Return the JSON object in a file of a run; raise RunStateError where it is damaged or not there."""
    value = stored_json(path, shape)
    if value is None:
        raise unreadable(path, "it is gone")
    return value
