"""One finding about this machine as a value: its state, the evidence for it, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from alphaf_orch.core.errors import AlphafError, HardwareError

State = Literal["ok", "warn", "fail", "skipped"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of `alphaf doctor`: `name` is what was asked, `subject` of what (an environment, a card, a folder)."""

    name: str
    state: State
    evidence: str
    fix: str = ""
    subject: str = ""
    error: type[AlphafError] = HardwareError  # what a launch is refused with, where it failed
    kind: str = ""  # the identifier of that error, where it is not named after the check
    values: Mapping[str, Any] = field(default_factory=dict)  # measured, for programs that read the JSON

    @property
    def exit_code(self) -> int:
        """The exit code of a failure, 0 of anything else."""
        return self.error.exit_code if self.state == "fail" else 0

    @property
    def code(self) -> str:
        """The identifier of a failure, empty of anything else."""
        named = self.kind or f"{self.error.domain}.{self.name}"
        return named if self.state == "fail" else ""

    def raised(self) -> AlphafError:
        """Return the error that a launch is refused with, of a check that failed."""
        return self.error(self.evidence, where=self.subject or "this machine", fix=self.fix, code=self.code)


def refused(name: str, error: AlphafError) -> Check:
    """Return an error as the check that failed with it; `Check.raised` is the way back."""
    kind, what, where = type(error), error.what, error.where
    return Check(name=name, state="fail", evidence=what, fix=error.fix, subject=where, error=kind, kind=error.code)


def require(checks: Iterable[Check]) -> None:
    """Raise the error of the first check that failed."""
    for check in checks:
        if check.state == "fail":
            raise check.raised()


def exit_code(checks: Iterable[Check]) -> int:
    """Return the exit code of the first check that failed, 0 where none did."""
    return next((check.exit_code for check in checks if check.state == "fail"), 0)
