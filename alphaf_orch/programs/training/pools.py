"""Pools of processes that `datasets` maps rows with, one of which was killed."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from types import TracebackType

WAIT_S = 10.0  # ours: a pool whose processes all live ends within a second


def let_pools_end() -> None:
    """Have a pool that is left by an error end although a process of it was killed, and so the error be told.

    A process that is killed (out of memory) while it waits for work or hands in its own leaves a lock of the pool
    taken. multiprocess 0.70.19's `Pool.terminate`, like CPython's, waits for that lock for ever: `datasets` has found
    the death by then, and nobody hears of it.
    """
    from multiprocess.pool import Pool

    terminate = Pool.terminate

    def left(pool: Pool, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        ending = threading.Thread(target=terminate, args=(pool,), daemon=True)
        ending.start()
        ending.join(WAIT_S if kind else None)
        for process in pool._pool if ending.is_alive() else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    Pool.__exit__ = left
