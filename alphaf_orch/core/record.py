"""The manifest of a run: which stage was done, from what, by which tools. Written whole, by rename."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alphaf_orch.core.disk import writing
from alphaf_orch.core.errors import RunStateError

FORMAT = 1


def fingerprint(value: Any) -> str:
    """Return the SHA-256 of a JSON value, equal for equal values whatever the order of keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield the place for a new version of the file, which takes the old one's place in the end if all went well."""
    partial = path.with_name(path.name + ".partial")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise


def write_atomic(path: Path, text: str) -> None:
    """Write the text so that a reader, or a crash, meets the old file or the new one and nothing between.

    Raises DiskError where the disk does not take it; the old file is kept then.
    """
    with _replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def copy_atomic(source: Path, target: Path) -> None:
    """Copy a file of any size as write_atomic writes a text."""
    with _replacing(target) as partial:
        shutil.copyfile(source, partial)


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest, or an empty one where there is none; raise RunStateError where it cannot be read."""
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"format": FORMAT, "stages": {}}
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RunStateError(
            f"the manifest cannot be read: {error}", where=str(path), fix="restore it, or use --run NEW"
        ) from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise RunStateError(
            "the manifest was written by another version of alphaf",
            where=str(path),
            fix="use the version that made the run, or --run NEW",
        )
    return manifest


def write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest atomically, indented for people."""
    write_atomic(path, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")


def now() -> str:
    """Return the time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object a file holds, or None where there is no such file or no such object in it."""
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # what an interrupted copy leaves; also bytes that are not UTF-8
        return None
    return value if isinstance(value, dict) else None


def required_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; raise RunStateError where there is none."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RunStateError(f"not valid JSON: {error}", where=str(path), fix="move the file away") from None
    if not isinstance(values, dict):
        raise RunStateError("not a JSON object", where=str(path), fix="move the file away")
    return values
