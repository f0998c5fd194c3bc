"""The places that grow: where runs, caches and scratch files lie, what moves each elsewhere, what takes most in it."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from alphaf_orch.core.paths import cache_dir, runs_dir

LOOK_S = 3.0  # ours: what is said of a full disk is not waited for longer
# What grows in a run, and what `alphaf clean` may know to be needed no more.
_OF_RUNS = ("*/checkpoint-*", "prepared", ".partial", "*/merged", "merged", "sweep")
_OF_CACHES = ("models/*", "rows", "piped", "eval", "datasets")


@dataclass(frozen=True)
class Place:
    """A folder that grows, and what is said or set for another one to be taken."""

    folder: Path
    elsewhere: str


@dataclass(frozen=True)
class Taker:
    """Something that takes room: its path and the bytes that deleting it would free."""

    path: Path
    size: int


def hub_home(env: dict[str, str] | None = None) -> Path:
    """Return the folder of the hub's libraries: HF_HOME, else the user's cache."""
    found = dict(os.environ) if env is None else env
    base = found.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(found.get("HF_HOME") or f"{base}/huggingface").expanduser()


def places() -> tuple[Place, ...]:
    """Return the places that grow, the most special first: of two that lie in each other the inner one counts."""
    return (
        Place(Path("/dev/shm"), "give the machine or container more shared memory (--shm-size)"),
        Place(cache_dir(), "point ALPHAF_CACHE at a larger disk"),
        Place(runs_dir(), "point ALPHAF_RUNS at a larger disk"),
        Place(hub_home(), "point HF_HOME at a larger disk"),
        Place(Path(tempfile.gettempdir()), "point TMPDIR at a larger disk"),
    )


def elsewhere(path: Path) -> str:
    """Return what makes what lies at a path lie on another disk."""
    inside = [place for place in places() if path.is_relative_to(place.folder) or path == place.folder]
    deepest = max(inside, key=lambda place: len(place.folder.parts), default=None)
    return deepest.elsewhere if deepest else "point ALPHAF_RUNS at a larger disk"


def takers(folder: Path, most: int = 3) -> list[Taker]:
    """Return what takes most on a folder's file system, of what runs and caches hold; a few seconds' look at most."""
    device, end = folder.stat().st_dev, time.monotonic() + LOOK_S
    found = []
    for path in _growing(folder):
        try:
            here = path.lstat()
        except OSError:  # another process took it away
            continue
        if here.st_dev == device and not stat.S_ISLNK(here.st_mode):
            found.append(Taker(path, freed([path], until=end)))
        if time.monotonic() > end:
            break
    known = sorted((taker for taker in found if taker.size), key=lambda taker: -taker.size)
    return known[:most]


def freed(paths: Iterable[Path], *, until: float | None = None) -> int:
    """Return the bytes that deleting these files and folders would free: blocks, and a link shared with others none.

    No link is followed. What cannot be read, or is not looked at by the moment `until`, counts as none.
    """
    total, links = 0, dict[tuple[int, int], list[int]]()
    for entry in _files(paths):
        if until is not None and time.monotonic() > until:
            break
        if entry.st_nlink == 1:
            total += entry.st_blocks * 512
        else:
            links.setdefault((entry.st_dev, entry.st_ino), [entry.st_nlink, 0, entry.st_blocks * 512])[1] += 1
    return total + sum(size for there, seen, size in links.values() if seen >= there)


def last_used(path: Path) -> float:
    """Return when a file, or a file below a folder, was last written or read, as far as the file system notes it."""
    return max((max(entry.st_mtime, entry.st_atime) for entry in _files([path])), default=path.lstat().st_mtime)


def _files(paths: Iterable[Path]) -> Iterator[os.stat_result]:
    """Yield the state of every file at and below the paths, no link followed."""
    folders = []
    for path in paths:
        try:
            entry = path.lstat()
        except OSError:
            continue
        if stat.S_ISDIR(entry.st_mode):
            folders.append(str(path))
        elif stat.S_ISREG(entry.st_mode):
            yield entry
    while folders:
        try:
            inside = list(os.scandir(folders.pop()))
        except OSError:  # gone meanwhile, or another user's
            continue
        for file in inside:
            if file.is_dir(follow_symlinks=False):
                folders.append(file.path)
            elif file.is_file(follow_symlinks=False):
                try:
                    yield file.stat(follow_symlinks=False)
                except OSError:
                    continue


def _growing(folder: Path) -> Iterator[Path]:
    runs, cache, hub = runs_dir(), cache_dir(), hub_home()
    own = [
        root for root in (folder, *folder.parents) if (root / "manifest.json").exists() or (root / ".partial").exists()
    ]
    for root in dict.fromkeys((*own, *_folders(runs), *(arm for each in _folders(runs) for arm in _folders(each)))):
        for pattern in _OF_RUNS:
            yield from root.glob(pattern)
    for pattern in _OF_CACHES:
        yield from cache.glob(pattern)
    for root in (hub / "hub", hub / "datasets", Path(tempfile.gettempdir()), Path("/dev/shm")):
        if folder == root or folder.is_relative_to(root):
            yield from root.glob("*")


def _folders(root: Path) -> list[Path]:
    try:
        return [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError:
        return []
