"""Ctrl-C in a training: the step under way is finished and saved as a checkpoint, then the training ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

from transformers import TrainerCallback

STOPPED = 130


class StopAtStep(TrainerCallback):  # type: ignore[misc]
    """Ends a training at its next whole step after SIGINT, with a checkpoint of it; a second SIGINT ends it as ever.

    Between two steps alone a checkpoint is what an undisturbed training has there: in the middle of an accumulation the
    generators of random numbers are ahead of it. All ranks end at the same step.
    """

    def __init__(self) -> None:
        self._asked = self._stopped = False
        self._before: Any = None
        self._pid = os.getpid()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Take SIGINT over from the tool, which would end in the middle of a step and keep no checkpoint."""
        if threading.current_thread() is threading.main_thread():
            self._pid, self._before = os.getpid(), signal.getsignal(signal.SIGINT)
            if self._before != signal.SIG_IGN:
                signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() != self._pid:  # a process that loads rows: it ends with the training
            return
        self._asked = True
        signal.signal(number, self._before)
        # No print: the signal may have come in the middle of one.
        os.write(1, b"SIGINT: the training ends with a checkpoint after this step, at once if asked again\n")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Have the step saved and the training ended, where any rank was asked to."""
        if self._any(args) and state.global_step < state.max_steps:
            self._stopped = True
            control.should_save = control.should_training_stop = True

    def _any(self, args: Any) -> bool:
        if args.world_size == 1:
            return self._asked
        import torch

        # One number a step. Without it one rank would stop, and the others wait for its gradients.
        asked = torch.tensor(float(self._asked), device=args.device)
        torch.distributed.all_reduce(asked, op=torch.distributed.ReduceOp.MAX)
        return bool(asked.item())

    def on_train_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        """End the process where the training was stopped: what it would write now would pass for a result."""
        if self._before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._before)
        if not self._stopped:
            return
        if state.is_world_process_zero:
            print(
                f"error: the training was stopped by SIGINT at step {state.global_step} of {state.max_steps}\n"
                f"  where: {args.output_dir}/checkpoint-{state.global_step}\n"
                "  next:  the same command goes on from there\n"
                "  code:  interrupt.stopped",
                file=sys.stderr,
                flush=True,
            )
        sys.exit(STOPPED)
