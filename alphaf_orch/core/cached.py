"""Who uses what of the cache: a lock an entry, held while a program runs, and touched so that its age is known."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from alphaf_orch.core.disk import writing
from alphaf_orch.core.paths import cache_dir
from alphaf_orch.core.stored import Unreadable, usable

# What programs read while they run; the rest of the cache is read at once, and made anew where it is gone.
HELD = ("models", "rows", "piped", "datasets")


def named(values: Iterable[Any]) -> set[Path]:
    """Return the entries of the cache that the texts in these values name, at any depth."""
    root, found = cache_dir(), set()
    for text in texts(values):
        path = Path(text)
        if path.is_absolute() and path.is_relative_to(root):
            parts = path.relative_to(root).parts
            if len(parts) > 1 and parts[0] in HELD:
                found.add(root / parts[0] / parts[1])
    return found


@contextlib.contextmanager
def using(entries: Iterable[Path]) -> Iterator[None]:
    """Keep entries of the cache from being cleaned away meanwhile; a cache that cannot be written has none that is."""
    with contextlib.ExitStack() as kept:
        for entry in sorted(entries):
            with contextlib.suppress(OSError, Unreadable):
                place = lock_of(entry)
                place.parent.mkdir(parents=True, exist_ok=True)
                usable(place)
                file = kept.enter_context(place.open("ab"))
                fcntl.flock(file, fcntl.LOCK_SH)
                os.utime(place)
        yield


@contextlib.contextmanager
def alone(entry: Path) -> Iterator[bool]:
    """Yield whether nobody uses an entry, and let nobody begin to meanwhile."""
    place = lock_of(entry)
    place.parent.mkdir(parents=True, exist_ok=True)
    usable(place)
    with place.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
        if not entry.exists():
            place.unlink(missing_ok=True)


def data_cache(folder: Path | None = None) -> dict[str, str]:
    """Return the variable by which `datasets` keeps what it reads in a folder, the user's alone; without one, in ours.

    Its own place is shared by all programs of the user, and known to none that cleans it. Without a folder, the place
    that the user named for all programs stays.
    """
    if folder is None and os.environ.get("HF_DATASETS_CACHE"):
        return {}
    place = folder or cache_dir() / "datasets"
    with writing(place):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return {"HF_DATASETS_CACHE": str(place)}


def lock_of(entry: Path) -> Path:
    """Return the lock of an entry, whose time is that of its last use."""
    return cache_dir() / ".using" / f"{entry.parent.name}-{entry.name}.lock"


def texts(values: Iterable[Any]) -> Iterator[str]:
    """Yield the texts in these values, at any depth."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            yield from texts(value.values())
        elif isinstance(value, list | tuple):
            yield from texts(value)
