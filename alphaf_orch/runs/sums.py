"""What was written by each finished stage: sizes and hashes of its files, kept when it ends, compared ever after.

A quick look compares sizes and times, and reads only what has others: a copied or moved run is read once. Checkpoints
bear hashes of their own (programs.checksums), and so may vanish; model cards and logs are written again and have none.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from alphaf_orch.core.errors import AlphafError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import fingerprint, read_json, read_manifest, write_atomic
from alphaf_orch.inputs.identity import QUICK_BYTES, file_digests, model_files, unread_bytes
from alphaf_orch.inputs.kept import TICK_NS, times
from alphaf_orch.planning.stages import STAGE_ORDER, Stage, stage_name
from alphaf_orch.programs.digests import digests
from alphaf_orch.runs import unrecorded
from alphaf_orch.runs.cleaned import was_cleaned
from alphaf_orch.runs.unrecorded import outputs, tree

_FORMAT = 1
# Written again, grown or locked by who reads: what is in them decides no result.
_PASSING = (".md", ".log", ".lock", ".partial")
_PREPARED = stage_name("tokenise", "sft")
# A glance for what is shown, all bytes for who is going to load them, all bytes anew for who asks.
How = Literal["look", "use", "verify"]
Facts = Mapping[str, Any]
_read_here: dict[tuple[int, ...], str] = {}  # the digest of each file as this process has seen it


@dataclass(frozen=True)
class Damaged:
    """A file of a finished stage that is not what the stage wrote."""

    stage: str
    path: Path
    what: str  # behind the file's name: "is gone", "is not what was written"
    needed: bool = True  # whether it is the stage's result; else a record beside it (report, metrics, settings)


def record(stage: Stage, paths: RunPaths, entry: Mapping[str, Any]) -> None:
    """Keep sizes and hashes of what a stage that ends now has written; `entry` is its record in the manifest.

    Large files are read once, while the machine still has them in memory. Raises DiskError where the disk takes
    nothing, ModelError where a file changes meanwhile.
    """
    # preprocess and sft have one file of settings, which is written again for the later one.
    settings = () if stage.kind == "tokenise" else tuple(stage.files)
    if stage.kind not in ("prepare", "ask"):
        record_files(stage.name, paths, entry, settings)


def record_files(name: str, paths: RunPaths, entry: Mapping[str, Any], settings: Iterable[Path] = ()) -> None:
    """Keep sizes and hashes of what a stage has left in the run, known by its name and by its record alone."""
    found = sorted({file for file in (*_written(name, paths, entry), *settings) if file.is_file()})
    began = time.time_ns()
    stats = [file.stat() for file in found]
    known = {}
    for file, stat, digest in zip(found, stats, file_digests(found), strict=True):
        facts = {"size": stat.st_size, "sha256": digest, **_trusted(stat, began)}
        known[file.relative_to(paths.root).as_posix()] = facts
        _read_here[_file_now(stat)] = digest
    values = {"format": _FORMAT, "stage": name, **_making(entry), "entry": dict(entry), "files": known}
    text = json.dumps({**values, "self": fingerprint(values)}, indent=1, ensure_ascii=False)
    write_atomic(paths.sums(name), text + "\n")


def kept_entry(name: str, paths: RunPaths) -> Mapping[str, Any] | None:
    """Return the record of a stage as it was when its hashes were taken; None where none was kept."""
    found = _read_sums(paths.sums(name))
    entry = found.get("entry") if found else None
    return entry if isinstance(entry, dict) else None


def recorded(name: str, paths: RunPaths, entry: Mapping[str, Any]) -> Mapping[str, Facts] | None:
    """Return what was kept of a stage's files, by their place in the run.

    None where nothing was (earlier versions), or of another making of the stage.
    """
    found = _read_sums(paths.sums(name))
    if found is None or any(found.get(key) != value for key, value in _making(entry).items()):
        return None
    files: Mapping[str, Facts] = found["files"]
    return files


def damaged(paths: RunPaths, *, read: bool) -> tuple[Damaged, ...]:
    """Return the files of finished stages that are not what the stages wrote, in the order of the chain.

    With `read` every byte is read; else sizes and times are compared, and what has other times is read, but for more
    than QUICK_BYTES of unknown content. Of stages without hashes names, headers and JSON are judged. Checkpoints are
    not looked at. Raises RunStateError for a manifest that cannot be read.
    """
    return found_damage(paths, read_manifest(paths.manifest), "verify" if read else "look")


def found_damage(
    paths: RunPaths, manifest: Mapping[str, Any], how: How, among: Collection[str] = STAGE_ORDER
) -> tuple[Damaged, ...]:
    """Return the same of some stages, by a manifest that was read already.

    To `use` files is to read them all before, but for those that this process has read or written as they are.
    """
    done = [name for name in STAGE_ORDER if name in among and _state(manifest, name) == "done"]
    found: list[Damaged] = []
    kept: dict[str, tuple[str, Facts]] = {}
    for name in done:
        entry = manifest["stages"][name]
        files = recorded(name, paths, entry)
        places = outputs(name, paths, entry)
        if files is None:
            wrong = unrecorded.damage(name, paths, entry, read=how != "look")
            found += [Damaged(name, path, what) for path, what in wrong]
        elif name == _PREPARED and not any(place.exists() for place in places):
            continue  # rows that are trained on already may go: docs/resume.md
        else:
            lost = [place for place in places if not place.exists()]
            gone = [place for place in lost if not was_cleaned(entry, paths, place)]
            found += [Damaged(name, place, "is gone") for place in gone]
            for file, facts in files.items():
                if not any(paths.file(file).is_relative_to(place) for place in lost):
                    # Full fine-tuning is handed off where it was trained: who wrote last knows, who made it is named.
                    kept[file] = (kept.get(file, (name,))[0], facts)
            found += _strangers(name, places, {paths.file(file) for file in files})
        if paths.sums(name).is_file() and _read_sums(paths.sums(name)) is None:
            found.append(Damaged(name, paths.sums(name), "cannot be read: the hashes are lost", needed=False))
    return tuple(sorted([*found, *_compared(paths, manifest, kept, how)], key=_place))


def _compared(
    paths: RunPaths, manifest: Mapping[str, Any], kept: Mapping[str, tuple[str, Facts]], how: How
) -> Iterator[Damaged]:
    results = {name: outputs(name, paths, manifest["stages"][name]) for name in {stage for stage, _ in kept.values()}}
    unknown: list[tuple[Damaged, Facts]] = []
    for file, (stage, facts) in kept.items():
        path = paths.file(file)
        needed = any(path.is_relative_to(place) for place in results[stage])
        try:
            stat = path.stat()
        except OSError as error:
            what = "is gone" if isinstance(error, FileNotFoundError) else _unreadable(error)
            yield Damaged(stage, path, what, needed)
            continue
        if stat.st_size != facts["size"]:
            yield Damaged(stage, path, f"has {stat.st_size:,} of {facts['size']:,} bytes", needed)
        elif how != "look" or times(stat) != {key: facts.get(key) for key in times(stat)}:
            unknown.append((Damaged(stage, path, "is not what was written", needed), facts))
    if how == "look" and _bytes_to_read(found.path for found, _ in unknown) > QUICK_BYTES:
        return  # what only looks does not read for minutes; who uses a model does
    for found, facts in unknown:
        wrong = _wrong(found.path, facts["sha256"], how)
        if wrong:
            yield replace(found, what=wrong)


def _wrong(path: Path, sha256: str, how: How) -> str | None:
    try:
        now = _file_now(path.stat())
        if how == "use" and _read_here.get(now) == sha256:
            return None
        (found,) = file_digests([path]) if how == "look" else digests([path])
    except OSError as error:
        return _unreadable(error)
    except AlphafError as error:
        return f"cannot be judged: {error.what}"
    _read_here[now] = found
    return None if found == sha256 else "is not what was written"


def _unreadable(error: OSError) -> str:
    return f"cannot be read ({error.strerror})"


def _bytes_to_read(files: Iterable[Path]) -> int:
    return unread_bytes(file for file in files if os.access(file, os.R_OK))


def _strangers(name: str, places: Iterable[Path], known: Collection[Path]) -> list[Damaged]:
    """Return files that a loader would read of a stage's folder and that the stage did not write."""
    folders = [place for place in places if place.is_dir() and name != _PREPARED]
    found = (file for folder in folders for file in model_files(folder).values())
    return [Damaged(name, file, "was not there when the stage ended") for file in found if file not in known]


def _written(name: str, paths: RunPaths, entry: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the files that a stage leaves behind, less what passes, is a checkpoint or another stage's."""
    yield from (paths.report(name), paths.probe(name), paths.metrics(name), paths.batches(name))
    for place in outputs(name, paths, entry):
        yield from tree(place, _PASSING)


def _state(manifest: Mapping[str, Any], name: str) -> str | None:
    state: str | None = manifest["stages"].get(name, {}).get("state")
    return state


def _file_now(stat: os.stat_result) -> tuple[int, ...]:
    return (stat.st_dev, *times(stat).values())


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
