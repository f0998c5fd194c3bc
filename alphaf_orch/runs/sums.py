"""What was written by each finished stage: sizes and hashes of its files, kept when it ends, compared ever after.

A quick look compares sizes and times, and reads only what has others: a copied or moved run is read once. Checkpoints
bear hashes of their own (programs.checksums), and so may vanish; model cards and logs are written again and have none.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import AlphafError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import fingerprint, read_json, read_manifest, write_atomic
from alphaf_orch.inputs.identity import QUICK_BYTES, file_digests, model_files, unread_bytes
from alphaf_orch.inputs.kept import TICK_NS, times
from alphaf_orch.planning.stages import STAGE_ORDER, Stage
from alphaf_orch.programs.digests import digests
from alphaf_orch.runs import unrecorded
from alphaf_orch.runs.unrecorded import outputs

_FORMAT = 1
# Written again, grown or locked by who reads: what is in them decides no result.
_PASSING = (".md", ".log", ".lock", ".partial")
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Damaged:
    """A file of a finished stage that is not what the stage wrote."""

    stage: str
    path: Path
    what: str  # behind the file's name: "is gone", "is not what was written"
    needed: bool = True  # whether it is the stage's result; else a record beside it (report, metrics, settings)


@dataclass(frozen=True)
class Sums:
    """What was kept of a stage's files, by their place in the run."""

    stage: str
    files: Mapping[str, Facts]


def record(stage: Stage, paths: RunPaths, entry: Mapping[str, Any]) -> None:
    """Keep sizes and hashes of what a stage that ends now has written; `entry` is its record in the manifest.

    Large files are read once, while the machine still has them in memory. Raises DiskError where the disk takes
    nothing, ModelError where a file changes meanwhile.
    """
    record_files(stage.name, _written(stage.name, stage.outputs, [*stage.files], paths), paths, entry)


def record_files(name: str, files: Iterable[Path], paths: RunPaths, entry: Mapping[str, Any]) -> None:
    """Keep sizes and hashes of these files under a name, bound to the making that `entry` tells of."""
    found = sorted({file for file in files if file.is_file()})
    began = time.time_ns()
    stats = [file.stat() for file in found]
    known = {
        str(file.relative_to(paths.root)): {"size": stat.st_size, "sha256": digest, **_trusted(stat, began)}
        for file, stat, digest in zip(found, stats, file_digests(found), strict=True)
    }
    values = {"format": _FORMAT, "stage": name, **_making(entry), "entry": dict(entry), "files": known}
    write_atomic(
        paths.sums(name), json.dumps({**values, "self": fingerprint(values)}, indent=1, ensure_ascii=False) + "\n"
    )


def forget(name: str, paths: RunPaths) -> None:
    """Drop what is kept of a stage's files: it is made anew."""
    paths.sums(name).unlink(missing_ok=True)


def kept_entry(name: str, paths: RunPaths) -> Mapping[str, Any] | None:
    """Return the record of a stage as it was when its hashes were taken; None where none was kept."""
    found = _read_sums(paths.sums(name))
    entry = found.get("entry") if found else None
    return entry if isinstance(entry, dict) else None


def recorded(name: str, paths: RunPaths, entry: Mapping[str, Any]) -> Sums | None:
    """Return what was kept when the stage ended, None where nothing was (earlier versions), or not of this making."""
    found = _read_sums(paths.sums(name))
    if found is None or any(found.get(key) != value for key, value in _making(entry).items()):
        return None
    return Sums(name, found["files"])


def damaged(paths: RunPaths, *, read: bool) -> tuple[Damaged, ...]:
    """Return the files of finished stages that are not what the stages wrote, in the order of the chain.

    With `read` every byte is read; else sizes and times are compared, and what has other times is read, but for more
    than QUICK_BYTES of unknown content. Of stages without hashes names, headers and JSON are judged. Checkpoints are
    not looked at. Raises RunStateError for a manifest that cannot be read.
    """
    return found_damage(paths, read_manifest(paths.manifest), read=read)


def found_damage(paths: RunPaths, manifest: Mapping[str, Any], *, read: bool) -> tuple[Damaged, ...]:
    """Return the same by a manifest that was read already."""
    done = [name for name in STAGE_ORDER if manifest["stages"].get(name, {}).get("state") == "done"]
    found: list[Damaged] = []
    kept: dict[str, tuple[str, Facts]] = {}
    for name in done:
        entry = manifest["stages"][name]
        sums = recorded(name, paths, entry)
        if sums is None:
            found += [Damaged(name, path, what) for path, what in unrecorded.damage(name, paths, entry)]
            if paths.sums(name).is_file() and _read_sums(paths.sums(name)) is None:
                found.append(Damaged(name, paths.sums(name), "is damaged itself: the hashes are lost", needed=False))
            continue
        for file, facts in sums.files.items():
            # Full fine-tuning is handed off where it was trained: who wrote last knows, who made it is named.
            kept[file] = (kept.get(file, (name,))[0], facts)
        found += _strangers(name, paths, entry, sums)
    return tuple(sorted([*found, *_compared(paths, manifest, kept, read=read)], key=_place))


def _compared(
    paths: RunPaths, manifest: Mapping[str, Any], kept: Mapping[str, tuple[str, Facts]], *, read: bool
) -> Iterator[Damaged]:
    results = {name: outputs(name, paths, manifest["stages"][name]) for name in {stage for stage, _ in kept.values()}}
    whole: list[tuple[str, Path, Facts, bool]] = []
    for file, (stage, facts) in kept.items():
        path = paths.root / file
        needed = any(path.is_relative_to(place) for place in results[stage])
        try:
            stat = path.stat()
        except OSError as error:
            yield Damaged(
                stage, path, "is gone" if isinstance(error, FileNotFoundError) else _unreadable(error), needed
            )
            continue
        if stat.st_size != facts["size"]:
            yield Damaged(stage, path, f"has {stat.st_size:,} of {facts['size']:,} bytes", needed)
        elif read or times(stat) != {key: facts.get(key) for key in times(stat)}:
            whole.append((stage, path, facts, needed))
    if not read and unread_bytes(_there(path for _, path, _, _ in whole)) > QUICK_BYTES:
        return  # what only looks does not read for minutes; whoever uses a model does
    for stage, path, facts, needed in whole:
        what = _content(path, facts["sha256"], read=read)
        if what:
            yield Damaged(stage, path, what, needed)


def _content(path: Path, sha256: str, *, read: bool) -> str | None:
    try:
        (found,) = digests([path]) if read else file_digests([path])
    except OSError as error:
        return _unreadable(error)
    except AlphafError as error:
        return f"cannot be judged: {error.what}"
    return None if found == sha256 else "is not what was written"


def _unreadable(error: OSError) -> str:
    return f"cannot be read ({error.strerror})"


def _there(files: Iterable[Path]) -> Iterator[Path]:
    return (file for file in files if os.access(file, os.R_OK))


def _strangers(name: str, paths: RunPaths, entry: Mapping[str, Any], sums: Sums) -> list[Damaged]:
    """Return files that a loader would read of a stage's folder and that the stage did not write."""
    folders = [place for place in outputs(name, paths, entry) if place.is_dir() and any(map(_is_model, sums.files))]
    known = {paths.root / file for file in sums.files}
    return [
        Damaged(name, file, "was not there when the stage ended")
        for folder in folders
        for file in model_files(folder).values()
        if file not in known
    ]


def _is_model(file: str) -> bool:
    return file.endswith(".safetensors")


def _written(name: str, places: Sequence[Path], settings: Sequence[Path], paths: RunPaths) -> Iterator[Path]:
    """Yield the files that a stage leaves behind, less what passes, is a checkpoint or another stage's."""
    yield from (paths.report(name), paths.probe(name), paths.metrics(name), paths.batches(name))
    # preprocess and sft have one file of settings, which is written again for the later one.
    yield from () if name == "preprocess" else settings
    for place in places:
        if place.is_relative_to(paths.root):
            yield from unrecorded.tree(place, _PASSING)


def _trusted(stat: os.stat_result, began: int) -> dict[str, int]:
    """Return the times that a later change would show against; none of a file that has just been written."""
    return times(stat) if began - stat.st_ctime_ns > TICK_NS else {}


def _making(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"fingerprint": entry.get("fingerprint"), "started": entry.get("started")}


def _read_sums(file: Path) -> Mapping[str, Any] | None:
    """Return what a file of sums says, None where it is not there, not whole or of another version."""
    found = read_json(file)
    if found is None or found.get("format") != _FORMAT:
        return None
    said = found.pop("self", None)
    return found if said == fingerprint(found) else None


def _place(found: Damaged) -> tuple[int, str]:
    return STAGE_ORDER.index(found.stage), str(found.path)
