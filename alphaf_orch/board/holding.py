"""Who works on a run, as its locks say, on this machine or another one."""

from __future__ import annotations

import time
from pathlib import Path

from alphaf_orch.core.holder import Holder, holder_of
from alphaf_orch.core.paths import RunPaths


class Locks:
    """Who holds what: on another machine by whether a lock was touched since it was looked at before."""

    def __init__(self) -> None:
        self._touched: dict[Path, tuple[int, float]] = {}

    def holder(self, lock: Path) -> Holder | None:
        """Return who holds a lock and lives, as far as can be told; None where nobody does."""
        try:
            found = lock.stat()
        except OSError:
            return None
        holder = holder_of(lock) if found.st_size else None
        if holder is None or not holder.host:
            return None
        before = self._touched.get(lock)
        if before is None or before[0] != found.st_mtime_ns:
            # Its own clock may differ from ours: whoever touched it since the last look lives, whatever it says.
            silent = 0.0 if before else max(0.0, time.time() - found.st_mtime)
            self._touched[lock] = (found.st_mtime_ns, time.monotonic() - silent)
        return holder if holder.lives(time.monotonic() - self._touched[lock][1]) is not False else None

    def of_run(self, paths: RunPaths) -> tuple[str, Holder] | None:
        """Return what is done on a run and who does it: `stage`, `eval`, `answers` or `judge`."""
        places = [("stage", paths.lock), ("eval", paths.eval_lock), ("answers", paths.answers_lock)]
        places += [("judge", folder / ".lock") for folder in paths.judgings()]
        return next(((what, holder) for what, lock in places if (holder := self.holder(lock))), None)
