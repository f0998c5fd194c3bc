"""The caches: ours, entry by entry with size and last use, to be bounded; those of the tools, to be looked at."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from alphaf_orch.core.cached import alone, lock_of, texts
from alphaf_orch.core.disk import writing
from alphaf_orch.core.errors import AlphafError, RunStateError
from alphaf_orch.core.paths import cache_dir, compiled_dir, runs_dir
from alphaf_orch.core.places import freed, hub_home, last_used
from alphaf_orch.core.record import read_manifest
from alphaf_orch.core.stored import read_text
from alphaf_orch.core.yaml_files import parse_yaml
from alphaf_orch.inputs.hub_cache import cache_root
from alphaf_orch.runs.cleaning.needless import CLEANED
from alphaf_orch.runs.cleaning.remove import delete

# What each folder of ours holds, and what becomes of an entry that is gone.
OURS = {
    "models": ("base models that were built or converted", "made again by the next run of the model"),
    "rows": ("training rows in their canonical form", "made again from the user's data"),
    "piped": ("rows that came through a pipe", "gone for good: a run that reads them cannot go on"),
    "eval": ("scores and answers, shared by all runs", "asked again by the next evaluation"),
    "datasets": ("rows of benchmarks, as lm-eval reads them", "made again by the next evaluation"),
    "identity": ("hashes of weights", "read again"),
    "data": ("what was found of training files", "read again"),
    "data_bytes": ("hashes of training files", "read again"),
    "machine": ("what the cards were found to do", "asked again before the next launch"),
    "recipes": ("what axolotl said of recipes", "asked again before the next launch"),
}


@dataclass(frozen=True)
class Entry:
    """One thing of a cache of ours: its files, the bytes that they free, its last use."""

    kind: str
    name: str
    files: tuple[Path, ...]
    size: int
    used: float
    kept: str = ""  # why it is not deleted


@dataclass(frozen=True)
class Theirs:
    """A cache of a tool: never deleted by us, since others use it too."""

    name: str
    folder: Path
    size: int
    used: float | None
    fix: str


def entries() -> list[Entry]:
    """Return what the caches of ours hold, the least recently used first."""
    needed = _needed()
    found = [_entry(kind, name, files, needed) for kind in OURS for name, files in _grouped(cache_dir() / kind)]
    return sorted(found, key=lambda entry: entry.used)


def theirs() -> list[Theirs]:
    """Return the caches of the tools that are there, with what makes each smaller."""
    hub = cache_root(os.environ)
    home, rows = Path.home(), os.environ.get("HF_DATASETS_CACHE") or hub_home() / "datasets"
    triton = os.environ.get("TRITON_CACHE_DIR") or Path(os.environ.get("TRITON_HOME") or home) / ".triton" / "cache"
    inductor = os.environ.get("TORCHINDUCTOR_CACHE_DIR") or compiled_dir()
    vllm = os.environ.get("VLLM_CACHE_ROOT") or Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "vllm"
    again = "delete the folder while nothing runs: it is compiled again"
    places = (
        ("hub", hub, "hf cache rm REPO, or hf cache prune"),
        ("hub's data cache", rows, "delete the folder while nothing runs; earlier versions left training rows there"),
        ("Triton", triton, again),
        ("torch.compile", inductor, again),
        ("vLLM", vllm, again),
    )
    return [
        Theirs(name, Path(folder), freed([Path(folder)]), last_used(Path(folder)), fix)
        for name, folder, fix in places
        if Path(folder).is_dir()
    ]


def chosen(
    found: Sequence[Entry], *, older_than_s: float | None, max_size: int | None, now: float
) -> tuple[Entry, ...]:
    """Return the entries that go: those unused for so long, and of the rest the least recently used over a size."""
    free = [entry for entry in found if not entry.kept]
    gone = [entry for entry in free if older_than_s is not None and now - entry.used > older_than_s]
    left = sum(entry.size for entry in found) - sum(entry.size for entry in gone)
    for entry in free:
        if max_size is None or left <= max_size:
            break
        if entry not in gone:
            gone.append(entry)
            left -= entry.size
    return tuple(gone)


def drop(gone: Sequence[Entry]) -> tuple[int, list[str]]:
    """Delete entries and return the bytes freed, and the names of those that a program uses by now."""
    size, used = 0, []
    for entry in gone:
        with writing(entry.files[0]), alone(entry.files[0]) as free:
            if not free:
                used.append(f"{entry.kind}/{entry.name}")
                continue
            for file in entry.files:
                delete(file)
            size += entry.size
    return size, used


def _entry(kind: str, name: str, files: tuple[Path, ...], needed: _Needed) -> Entry:
    used = max(last_used(file) for file in files)
    lock = lock_of(files[0])
    if lock.is_file():
        used = max(used, lock.stat().st_mtime)
    return Entry(kind, name, files, freed(files), used, _why_kept(kind, files[0], needed))


def _why_kept(kind: str, file: Path, needed: _Needed) -> str:
    if needed.unreadable:
        return f"a run may need it: {needed.unreadable} cannot be read"
    if str(file) in needed.unfinished:
        return "a run that is not finished needs it"
    if kind == "piped" and str(file) in needed.finished:
        return "a run was made of it, and nothing makes it again"
    return "" if _free(file) else "in use"


def _free(entry: Path) -> bool:
    if not lock_of(entry).is_file():
        return True
    with alone(entry) as free:
        return free


def _grouped(folder: Path) -> Iterator[tuple[str, tuple[Path, ...]]]:
    """Yield what lies in a cache by name; files of one name but for their ending belong together."""
    groups: dict[str, list[Path]] = {}
    if folder.is_dir() and not folder.is_symlink():
        for path in sorted(folder.iterdir()):
            if path.is_symlink() or path.suffix in (".lock", ".partial"):
                continue
            name = path.name.removesuffix(CLEANED) if path.is_dir() else path.name.split(".")[0]
            groups.setdefault(name, []).append(path)
    yield from ((name, tuple(files)) for name, files in groups.items())


@dataclass(frozen=True)
class _Needed:
    """What the settings of runs say, which name what of the cache they need."""

    unfinished: str
    finished: str
    unreadable: Path | None  # settings of which nobody knows what they name


def _needed() -> _Needed:
    """Return the settings of every run."""
    unfinished: list[str] = []
    finished: list[str] = []
    unreadable = None
    for pattern in ("*", "*/*"):
        for file in runs_dir().glob(f"{pattern}/config.yaml"):
            try:
                states = [entry["state"] for entry in read_manifest(file.with_name("manifest.json"))["stages"].values()]
            except (RunStateError, TypeError, KeyError, AttributeError):
                states = []  # nobody knows: it is kept
            try:  # parsed: a long path stands on several lines
                text = "\n".join(texts([parse_yaml(read_text(file), str(file))]))
            except FileNotFoundError:  # the run was removed meanwhile
                continue
            except AlphafError:
                unreadable = unreadable or file
                continue
            (finished if set(states) == {"done"} else unfinished).append(text)
    return _Needed("\n".join(unfinished), "\n".join(finished), unreadable)
