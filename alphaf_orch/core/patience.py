"""How long a tool gets to end by itself, signal by signal, by who asked for it."""

from __future__ import annotations

import signal

from alphaf_orch.core import signals

# Ctrl-C, then a firm request, then the end: seconds that a tool gets to put its files in order.
ESCALATION = {signal.SIGINT: 20.0, signal.SIGTERM: 10.0, signal.SIGKILL: 10.0}
# Whoever presses Ctrl-C may do so again, a trainer is in a step: so many times that. SIGTERM: a kill comes at 30 s.
_AT_A_STEP = 3.0
# Before a time limit a step and its checkpoint get what there is (settings.clusters.STOP_BEFORE_S where nobody says),
# less what is kept to put the rest in order.
_LATER_S, _IN_ORDER_S = 600.0, 60.0


def time_given(number: signal.Signals) -> float:
    """Return the seconds that a tool gets behind a signal, by who has asked this process to stop so far."""
    by, wished = signals.asked_by(), signals.wishes()
    if not by and number == signal.SIGINT and signals.goes_on_later():
        there = wished["later"].seconds or _LATER_S
        return max(there - _IN_ORDER_S, there / 2)
    return ESCALATION[number] * (_AT_A_STEP if by == signal.SIGINT or (wished and not by) else 1.0)
