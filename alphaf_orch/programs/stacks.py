"""A signal on which a program prints where each of its threads stands, for whoever finds that it hangs."""

from __future__ import annotations

import faulthandler
import signal

# Slurm sends USR1 before a job's end, and torch's elastic agent ends its ranks at QUIT.
SIGNAL = signal.SIGUSR2


def print_stacks_on_signal() -> None:
    """Have SIGNAL print all stacks to standard error, from now on and in what is forked; the program goes on."""
    faulthandler.register(SIGNAL, file=2, all_threads=True)
