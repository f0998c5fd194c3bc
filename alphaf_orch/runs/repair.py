"""What is wrong in the folder of a run, and what mends it: files set aside, put back from copies, proven by hashes.

Nothing is deleted, and no model is trusted that no hash proves. What the next command makes anew by itself is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from alphaf_orch.core import shapes
from alphaf_orch.core.errors import AlphafError, RunStateError
from alphaf_orch.core.line_shapes import MetricsRow
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import read_json, stored_json, write_atomic, write_manifest
from alphaf_orch.core.stored import absent, name_of, problem, read_text, set_aside
from alphaf_orch.core.yaml_files import parse_yaml
from alphaf_orch.planning.stages import SECTIONS
from alphaf_orch.runs import checkpoints
from alphaf_orch.runs.repair_lines import Reader, whole_lines
from alphaf_orch.runs.repair_manifest import Put, manifest_damage
from alphaf_orch.runs.sums import Damaged, damaged
from alphaf_orch.settings.config import build_config, dump_config, read_remembered

Mend = Callable[[], object]


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, and what mends it; without `mend` it is for a command to do, or where it `blocks` all
    commands, for the user.
    """

    path: Path
    what: str
    remedy: str
    mend: Mend | None = None
    blocks: bool = False


def findings(paths: RunPaths) -> list[Finding]:
    """Return everything that is wrong in the folder of a run, in the order in which it is mended; changes nothing.

    Scores, verdicts and answers are judged by their own packages, which stand above this one (`alphaf repair` asks
    them all).
    """
    found = [*lock_findings(paths), *_manifest(paths), *_config(paths), *_half_written(paths), *_records(paths)]
    return [*found, *_results(paths)] if not any(each.path == paths.manifest for each in found) else found


def aside(path: Path, root: Path, what: str, then: str) -> Finding:
    """Return the finding of a file that has only to be out of the way."""
    return replaced(path, root, what, f"set it aside; {then}")


def replaced(path: Path, root: Path, what: str, remedy: str, write: Mend | None = None) -> Finding:
    """Return the finding of a file of the folder `root` that is set aside, and what `write` writes takes its place."""

    def mend() -> None:
        if not absent(path):  # else it is gone, or went with what was mended before it
            set_aside(path, root)
        if write:
            write()

    return Finding(path, what, remedy, mend)


def lines(path: Path, paths: RunPaths, reader: Reader, then: str) -> Finding | None:
    """Return the finding of a file of which some lines cannot be read, None where all can; the whole ones are kept."""
    if absent(path):
        return None
    what = problem(path)
    if what:
        return aside(path, paths.root, what, then)
    kept, lost, first = whole_lines(path, reader)
    if not lost:
        return None
    if not kept:
        return aside(path, paths.root, f"none of its lines can be read ({first})", then)
    told = f"{lost:,} of its lines cannot be read ({first})"
    remedy = f"set it aside and keep its {len(kept):,} whole lines; {then}"
    return replaced(path, paths.root, told, remedy, lambda: write_atomic(path, b"".join(kept).decode("utf-8")))


def lock_findings(paths: RunPaths) -> Iterator[Finding]:
    """Yield what lies in the place of a lock, or of a word between machines, and can be none."""
    places = [paths.lock, paths.eval_lock, paths.answers_lock, *sorted(paths.root.glob("judge/*/.lock"))]
    places += sorted(paths.root.glob(".nodes/*"))
    for path in places:
        what = None if absent(path) else problem(path)
        if what:
            yield aside(path, paths.root, what, "a new one is made")
        elif path.suffix == ".json" and path.stat().st_size and read_json(path) is None:
            yield aside(path, paths.root, "it is cut off or no JSON", "the machines speak to each other anew")


def _manifest(paths: RunPaths) -> Iterator[Finding]:
    damage = manifest_damage(paths)
    if damage is None:
        return
    what, put = damage
    if isinstance(put, Put):
        write = partial(write_manifest, paths.manifest, put.manifest)
        yield replaced(paths.manifest, paths.root, what, f"set it aside, and {put.how}", write)
    elif put:
        yield Finding(paths.manifest, what, put, blocks=True)
    else:
        yield aside(paths.manifest, paths.root, what, "nothing was trained here: the next `alphaf run` begins the run")


def _config(paths: RunPaths) -> Iterator[Finding]:
    if absent(paths.config) and absent(paths.manifest):
        return
    try:
        build_config(read_remembered(paths.config), str(paths.config))
    except AlphafError as error:
        kept = _kept_settings(paths)
        if kept is None:
            told = f"nothing keeps what the settings were: say them anew, `alphaf run --run {name_of(paths.root)}"
            then = f"{told} --model … --data …` compares them with what was made, and refuses others"
            if absent(paths.config):
                yield Finding(paths.config, error.what, then)
            else:
                yield aside(paths.config, paths.root, error.what, then)
            return
        remedy = "set it aside, and write it anew from what the manifest keeps"
        yield replaced(paths.config, paths.root, error.what, remedy, partial(write_atomic, paths.config, kept))


def _kept_settings(paths: RunPaths) -> str | None:
    """Return config.yaml as the manifest keeps it; None of earlier versions, or where that is damaged too."""
    damage = manifest_damage(paths)
    put = damage[1] if damage else None
    try:
        manifest = put.manifest if isinstance(put, Put) else stored_json(paths.manifest, shapes.Manifest) or {}
        kept = manifest.get("config")
        return dump_config(build_config(kept, str(paths.manifest))) if kept else None
    except AlphafError:
        return None


def _half_written(paths: RunPaths) -> Iterator[Finding]:
    """Yield what a write that was cut off has left: ours are put in place by a rename, which never came."""
    folders = ("", "reports", "rendered", "metrics", "probes", "sums", "eval/*", "answers/*", "judge/*", "sft", "dpo")
    for folder in folders:
        for path in sorted(paths.root.glob(f"{folder}/*.partial" if folder else "*.partial")):
            if path.name != ".partial":
                yield aside(path, paths.root, "a write was cut off", "what it was to become is written anew")


def _records(paths: RunPaths) -> Iterator[Finding]:
    for path in paths.all_reports():
        try:
            stored_json(path, shapes.Report)
        except RunStateError as error:
            then = "`alphaf run` counts rows anew; a merge's checks are in the manifest"
            yield aside(path, paths.root, error.what, then)
    for path in paths.all_rendered():
        try:
            parse_yaml(read_text(path), str(path))
        except AlphafError as error:
            yield aside(path, paths.root, error.what, "it is written anew when its stage runs")
    for section in SECTIONS:
        for path in (paths.metrics(section), paths.batches(section)):
            found = lines(path, paths, Reader(MetricsRow), "the curves of the report lack them")
            if found:
                yield found
    for path in sorted(paths.root.glob("logs/*.log")):
        what = problem(path)
        if what:
            yield aside(path, paths.root, what, "the next try begins a new one")


def _results(paths: RunPaths) -> Iterator[Finding]:
    """Yield what is damaged of the results of stages: `alphaf run` makes most of it anew by itself."""
    if absent(paths.manifest):
        return
    name = name_of(paths.root)
    hurt: dict[str, list[Damaged]] = {}
    for one in damaged(paths, read=False):
        if one.needed:
            hurt.setdefault(one.stage, []).append(one)
    for stage, found in hurt.items():
        first = found[0]
        folder = paths.adapter(stage)
        if stage in SECTIONS and folder.is_dir() and checkpoints.seen(folder) is None:
            what = f"{first.path.name} {first.what}, and no checkpoint of {stage} is whole"
            yield aside(folder, paths.root, what, f"`alphaf run --run {name}` trains {stage} anew, from its beginning")
        else:
            yield Finding(
                first.path,
                f"it is damaged: it {first.what}" + (f" (and {len(found) - 1} more of {stage})" if found[1:] else ""),
                f"`alphaf run --run {name}` sets it aside and makes {stage} anew from what is whole",
            )


def apply(found: Iterable[Finding]) -> list[Finding]:
    """Mend what can be mended, in order, and return what is left for a command or the user to do."""
    left = []
    for each in found:
        if each.mend is None:
            left.append(each)
        else:
            each.mend()
    return left
