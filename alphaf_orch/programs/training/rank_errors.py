"""Lets torch's elastic agent tell which rank failed first, and of what."""

from __future__ import annotations

import os
import sys
from types import TracebackType


def record_uncaught() -> None:
    """Have an uncaught exception written to the file that the agent names to each rank; without an agent do nothing.

    The agent repeats it under `Root Cause` in its summary, whole, where the ranks' own lines run into each other.
    Programs written for it decorate their main function with `torch.distributed.elastic`'s `record` for this;
    axolotl's is not.
    """
    if "TORCHELASTIC_ERROR_FILE" not in os.environ:
        return
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        from torch.distributed.elastic.multiprocessing.errors import get_error_handler

        try:
            raise error.with_traceback(trace)
        except kind:
            get_error_handler().record_exception(error)
        before(kind, error, trace)

    sys.excepthook = hook
