"""What the manifest says of outputs that `alphaf clean` deleted: their absence is no damage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import read_manifest, write_manifest

KEY = "cleaned"


def was_cleaned(entry: Mapping[str, Any], paths: RunPaths, path: Path) -> bool:
    """Return whether `alphaf clean` deleted an output of the stage whose record this is."""
    names = entry.get(KEY)
    if not isinstance(names, list) or path.exists() or not path.is_relative_to(paths.root):
        return False
    return str(path.relative_to(paths.root)) in names


def note_cleaned(paths: RunPaths, stage: str, path: Path) -> None:
    """Write into the record of a stage that its output is being cleaned; raise DiskError where the disk refuses it."""
    manifest = read_manifest(paths.manifest)
    entry = manifest["stages"][stage]
    names = sorted({*entry.get(KEY, ()), str(path.relative_to(paths.root))})
    if names != entry.get(KEY):
        entry[KEY] = names
        write_manifest(paths.manifest, manifest)
