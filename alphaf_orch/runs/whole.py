"""Whether a run is what was written: every byte of it read, stage by stage, checkpoints and kept results too."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import read_manifest
from alphaf_orch.planning.stages import SECTIONS, STAGE_ORDER, stage_name
from alphaf_orch.runs import checkpoints
from alphaf_orch.runs.status import hashed
from alphaf_orch.runs.sums import Damaged, found_damage, record_files, recorded
from alphaf_orch.runs.unrecorded import outputs, tree

State = Literal["whole", "damaged", "no hashes", "not finished"]


@dataclass(frozen=True)
class Verified:
    """What was found of one part of a run: a stage, a checkpoint, or what was asked of its models."""

    name: str
    state: State
    files: int
    bytes: int
    damaged: tuple[Damaged, ...] = ()
    fix: str = ""


def verify_run(paths: RunPaths) -> Iterator[Verified]:
    """Yield each part of a run in the order of the chain, its files read whole and compared with what was written.

    Of what has no hashes (a stage of an earlier version; scores, answers and verdicts) the form is judged: headers of
    weights, archives, JSON.
    """
    manifest = read_manifest(paths.manifest)
    for name in STAGE_ORDER:
        entry = manifest["stages"].get(name)
        if entry is not None and outputs(
            name, paths, entry
        ):  # a base model lies in the cache, known by its fingerprint
            yield _stage(name, entry, paths, manifest)
    for section in SECTIONS:
        name = stage_name("train", section)
        for folder in reversed(checkpoints.newest_first(paths.adapter(section))):
            found = _checkpoint(name, folder, paths, recorded=hashed(manifest["stages"].get(name, {})))
            if found:
                yield found
    for kept in paths.asked():
        if kept.is_dir():
            yield _kept(kept)


def record_run(paths: RunPaths) -> tuple[str, ...]:
    """Keep hashes of the files of finished stages that have none, where their form is whole; return the stages."""
    manifest = read_manifest(paths.manifest)
    stages = {name: entry for name, entry in manifest["stages"].items() if name in STAGE_ORDER}
    lacking = [
        name
        for name, entry in stages.items()
        if entry.get("state") == "done" and outputs(name, paths, entry) and recorded(name, paths, entry) is None
    ]
    wrong = {found.stage for found in found_damage(paths, manifest, "verify", lacking) if found.needed}
    fit = tuple(name for name in lacking if name not in wrong)
    for name in fit:
        record_files(name, paths, stages[name])
    return fit


def refusal(found: Sequence[Verified], paths: RunPaths) -> RunStateError | None:
    """Return the error that a verified run ends with where it is damaged, else None."""
    broken = [file for each in found for file in each.damaged]
    if not broken:
        return None
    return RunStateError(
        f"{len(broken)} of the files of run {paths.full_name} are not what was written",
        where=str(broken[0].path),
        fix=next(each.fix for each in found if each.damaged),
        code="run.damaged",
    )


def _stage(name: str, entry: Mapping[str, Any], paths: RunPaths, manifest: Mapping[str, Any]) -> Verified:
    if entry.get("state") != "done":
        return Verified(name, "not finished", 0, 0)
    found = found_damage(paths, manifest, "verify", [name])
    kept = recorded(name, paths, entry)
    files = [paths.file(file) for file in kept] if kept is not None else _files(name, paths, entry)
    state: State = "damaged" if found else "whole" if kept is not None or not files else "no hashes"
    return Verified(name, state, *_amount(files), found, _next(name, found, paths))


def _next(name: str, found: Iterable[Damaged], paths: RunPaths) -> str:
    asked = paths.full_name
    if any(one.needed for one in found):
        return (
            f"bring the files back from a copy, or `alphaf run --run {asked}`, which sets them aside and makes {name}"
            f" anew where that is possible; where they were changed on purpose, remove {paths.sums(name)} and say"
            f" `alphaf verify {asked} --record`"
        )
    return "no model is made of these files: reports may lack what they told"


def _checkpoint(stage: str, folder: Path, paths: RunPaths, *, recorded: bool) -> Verified | None:
    """Return what is found of a checkpoint, None of one that its training has deleted meanwhile."""
    try:
        wrong = checkpoints.problem(folder, recorded=recorded) or checkpoints.damage(folder)
        amount = _amount(folder.rglob("*"))
    except FileNotFoundError as error:
        wrong, amount = f"{error.filename} is gone", (0, 0)
    if not folder.is_dir():
        return None
    name = str(folder.relative_to(paths.root))
    found = (Damaged(stage, folder, f"cannot be gone on from: {wrong}", needed=False),) if wrong else ()
    fix = "a training goes on from the newest whole one; remove this one, or leave it"
    return Verified(name, "damaged" if wrong else "whole", *amount, found, fix)


def _kept(folder: Path) -> Verified:
    files = [file for file in sorted(folder.rglob("*.json*")) if file.is_file()]
    found = tuple(Damaged(folder.name, file, wrong, needed=False) for file in files if (wrong := _form(file)))
    fix = "move the named files away: what they held is asked again by the command that wrote them"
    return Verified(folder.name, "damaged" if found else "no hashes", *_amount(files), found, fix)


def _form(file: Path) -> str | None:
    """Return what is wrong with a file of JSON, or of a JSON object a line, or None."""
    try:
        with file.open("rb") as content:  # as bytes: a text holds more than one character that ends a line of text
            for part in content if file.suffix == ".jsonl" else [content.read()]:
                json.loads(part.decode("utf-8"))
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except (ValueError, RecursionError):
        return "is cut off or no JSON"
    return None


def _files(name: str, paths: RunPaths, entry: Mapping[str, Any]) -> list[Path]:
    return [file for place in outputs(name, paths, entry) for file in tree(place)]


def _amount(files: Iterable[Path]) -> tuple[int, int]:
    sizes = [file.stat().st_size for file in files if file.is_file()]
    return len(sizes), sum(sizes)
