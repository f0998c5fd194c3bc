"""A fixture for tests of processes that do not end by themselves: alphaf waits for them seconds, not half a minute."""

import signal

import pytest

from alphaf_orch.core import patience, processes


@pytest.fixture
def impatient(monkeypatch):
    """What is left to itself for seconds is asked in half of one."""
    monkeypatch.setattr(patience, "ESCALATION", dict.fromkeys(patience.ESCALATION, 1.0))
    monkeypatch.setattr(
        processes, "_LEFT_BEHIND", ((None, 0.5), (signal.SIGTERM, 0.5), (signal.SIGKILL, 5.0)), raising=False
    )
