"""What is made once: the cache by the first run that needs it, what arms have in common by the first arm."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.lock import waited
from alphaf_orch.core.paths import EXPERIMENT_FILE, RunPaths, cache_dir
from alphaf_orch.core.record import copy_atomic, fingerprint, read_manifest
from alphaf_orch.inputs import identity
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs.damage import refuse


@contextlib.contextmanager
def turn(stage: Stage, paths: RunPaths, say: Callable[[str], None]) -> Iterator[RunPaths | None]:
    """Hold the making of a stage; yield an arm of the experiment that has made the same one, or None.

    Whoever is making it is waited for: another arm, or for what lies in the cache of all runs any run. For the rest a
    run outside an experiment has no one to share with.
    """
    shared = stage.kind == "prepare"
    if not shared and not (paths.root.parent / EXPERIMENT_FILE).is_file():
        yield None
        return
    folder = cache_dir() / "making" if shared else paths.root.parent / ".stages"
    # What is built has a place of its own; what is fetched is known by its name.
    key = fingerprint(list(map(str, stage.outputs))) if shared and stage.outputs else stage.fingerprint
    who = f"run {paths.full_name}" if shared else paths.full_name
    other = "another run" if shared else "another arm"

    def tell(name: str) -> None:
        say(f"{stage.name}: waits for {name or other}, which makes the same")

    with waited(folder / f"{stage.name}-{key[:16]}.lock", who, tell):
        yield None if shared else _donor(stage, paths, say)


def adopt(stage: Stage, donor: RunPaths, paths: RunPaths) -> dict[str, Any] | None:
    """Put the donor's files of a stage into the run and return its record; None where the run has others in that place.

    Weights and prepared rows become hard links where the disk allows: finished ones are never written in place. What
    tools append to or write again (logs, reports, model cards) is copied.
    """
    for folder in stage.outputs:
        theirs = donor.counterpart(folder, paths)
        if not theirs.is_dir():
            continue
        if not folder.exists():
            link_tree(theirs, _tree(stage, theirs), paths.scratch(f"shared-{stage.name}"), folder)
        elif not _same_tree(stage, theirs, folder):
            return None
    name = stage.name
    for told in (donor.log(name), donor.report(name), donor.probe(name), donor.metrics(name), donor.batches(name)):
        if told.is_file():
            copy_atomic(told, paths.counterpart(told, donor))
    entry: dict[str, Any] = read_manifest(donor.manifest)["stages"][name]
    return {**entry, "shared_from": entry.get("shared_from", donor.name)}


def _donor(stage: Stage, paths: RunPaths, say: Callable[[str], None]) -> RunPaths | None:
    for manifest in sorted(paths.root.parent.glob("*/manifest.json")):
        donor = RunPaths(manifest.parent)
        if donor.root == paths.root:
            continue
        try:
            entry: Mapping[str, Any] = read_manifest(manifest)["stages"].get(stage.name, {})
        except RunStateError as error:
            say(f"{stage.name}: not taken from {donor.name}: {error.what}")
            continue
        done = entry.get("state") == "done" and entry.get("fingerprint") == stage.fingerprint
        if (
            done
            and all(donor.counterpart(path, paths).exists() for path in stage.outputs)
            and _whole(stage, donor, say)
        ):
            return donor
    return None


def _whole(stage: Stage, donor: RunPaths, say: Callable[[str], None]) -> bool:
    """Return whether the files of an arm's stage are what it wrote, every byte read; say where they are not."""
    try:
        refuse(donor, [stage.name], "use")
    except RunStateError as error:
        say(f"{stage.name}: not taken from {donor.name}: {error.what}")
        return False
    return True


def _tree(stage: Stage, folder: Path) -> Iterator[Path]:
    """Yield the files of a stage's output; the merged model below a trainer's folder is another stage's."""
    for file in sorted(folder.rglob("*")):
        other = stage.kind == "train" and file.relative_to(folder).parts[0] == "merged"
        if file.is_file() and not other:
            yield file


def _same_tree(stage: Stage, theirs: Path, ours: Path) -> bool:
    """Return whether the folder is what an earlier call took over: the same files, or copies of them."""

    def same(file: Path) -> bool:
        copy = ours / file.relative_to(theirs)
        if not copy.is_file():
            return False
        one, other = file.stat(), copy.stat()
        return file.samefile(copy) or (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)

    return all(same(file) for file in _tree(stage, theirs) if file.suffix != ".md")


def link_tree(source: Path, files: Iterable[Path], scratch: Path, target: Path) -> None:
    """Put these files of a finished folder into a new one, in one step, as hard links where the disk allows.

    `scratch` is on the disk of `target`. Model cards are copied.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for file in files:
        place = scratch / file.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        _link(file, place)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch.rename(target)


def _link(source: Path, target: Path) -> None:
    if source.suffix == ".md":  # a model card names its run and is written again
        shutil.copy2(source, target)
        return
    try:
        identity.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, target)
