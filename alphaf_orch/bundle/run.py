"""The programs that collect a bundle: started one after the other, all that they print in one log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from alphaf_orch.core.command import Finished, child_env, run_logged

AGAIN = "delete it, then call the same command again: what it held is asked for again"  # of a damaged file in `work`


@dataclass
class Runner:
    """Where a bundle is worked on: `work` is beside what is finished; the lock is held, `tell` takes one line."""

    work: Path
    lock_fd: int
    tell: Callable[[str], None]
    _begin: int = 0

    @property
    def log(self) -> Path:
        """The file that has all that pip and the hub's library printed."""
        return self.work / "bundle.log"

    def run(self, what: str, argv: Sequence[str], extra: Mapping[str, str] | None = None) -> Finished:
        """Return how a program ended that may use the network: the user asked for what it fetches."""
        self._begin = self.log.stat().st_size if self.log.is_file() else 0
        # A /tmp in memory is often smaller than one wheel of CUDA.
        scratch = self.work / "tmp"
        scratch.mkdir(exist_ok=True)
        env = child_env({"TMPDIR": str(scratch), "SOURCE_DATE_EPOCH": "315532800", **(extra or {})}, online=True)
        self.tell(what)
        return run_logged(argv, env=env, log=self.log, lock_fd=self.lock_fd, on_poll=lambda: None)

    def printed(self) -> str:
        """Return what the last program printed."""
        with self.log.open("rb") as log:
            log.seek(self._begin)
            return log.read().decode("utf-8", "replace")
