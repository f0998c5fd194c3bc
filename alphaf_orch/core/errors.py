"""Every failure a user can meet, each with an exit code, an identifier and three facts: what, where, what next."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import click

from alphaf_orch.core import signals
from alphaf_orch.core.masking import mask
from alphaf_orch.core.spoken import language, spoken

# Ours: a word that no screen shows whole, such as a value of 5,000 digits; a path has 4,095 bytes at most.
_ENDLESS = re.compile(r"\S{1000,}")

_LABELS = {
    "en": ("error: ", "  where: ", "  next:  ", "  code:  "),
    "ko": ("오류: ", "  위치: ", "  다음: ", "  코드: "),
}


def _readable(text: str) -> str:
    return _ENDLESS.sub(lambda found: f"{found[0][:400]}… ({len(found[0]):,} characters)", text)


class AlphafError(click.ClickException):
    """Base of all errors; guarantees one printed message with what failed, where, and what to do next.

    `code` names the kind of the fault, as DOMAIN.WHAT (docs/errors.md): it stays when the words change. DOMAIN is the
    class's own, but for what is told of another error: that of a program which failed is its error's here.
    """

    exit_code = 1
    domain = "alphaf"

    def __init__(self, what: str, *, where: str, fix: str, code: str) -> None:
        # Whatever a setting or a tool said, an error is shown, logged and kept in the manifest.
        what, where, fix = (_readable(mask(text)) for text in (what, where, fix))
        super().__init__(f"{what}\n  where: {where}\n  next:  {fix}")
        self.what = what
        self.where = where
        self.fix = fix
        self.code = code
        self.parts: tuple[AlphafError, ...] = ()  # of one that tells several: each of them

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message and the identifier, to stderr unless told otherwise."""
        click.echo(told(self.what, self.where, self.fix, self.code), file=file, err=file is None)


def told(what: str, where: str, fix: str, code: str) -> str:
    """Return an error as a person reads it, in the reader's language; its identifier is the same in each."""
    facts = [spoken(what), spoken(where), spoken(fix), code]
    return "\n".join(label + fact for label, fact in zip(_LABELS[language()], facts, strict=True) if fact)


class ConfigError(AlphafError):
    """A setting, file or command line that cannot be used."""

    domain = "config"
    exit_code = 2


class DataError(AlphafError):
    """A training or preference file that must not be trained on."""

    domain = "data"
    exit_code = 3


class ModelError(AlphafError):
    """An unknown model, or one whose weights are not on this machine."""

    domain = "model"
    exit_code = 4


class HardwareError(AlphafError):
    """Fewer GPUs or less disk than the plan needs."""

    domain = "hardware"
    exit_code = 5


class DiskError(HardwareError):
    """A disk that is full, or takes nothing for another reason."""

    domain = "disk"


class RunStateError(AlphafError):
    """A run that is in use, unfinished, or was made from other inputs."""

    domain = "run"
    exit_code = 6


class StageError(AlphafError):
    """A stage whose process failed or whose outputs are not what was planned."""

    domain = "stage"
    exit_code = 7


class Stalled(StageError):
    """A stage that was ended because it gave no sign of life."""


class OutOfMemory(StageError):
    """A stage that ran out of memory; `training` where its model was loaded, so that smaller batches may help."""

    def __init__(self, what: str, *, where: str, fix: str, code: str, training: bool = False) -> None:
        super().__init__(what, where=where, fix=fix, code=code)
        self.training = training


class ContractError(AlphafError):
    """A merged model that breaks the hand-off contract."""

    domain = "contract"
    exit_code = 8


class ToolError(AlphafError):
    """A tool that is not installed or not in the pinned version, or a judge that does not answer."""

    domain = "tool"
    exit_code = 9


class JudgeError(AlphafError):
    """A judge of whose replies none can be read, or that refuses every prompt."""

    domain = "judge"
    exit_code = 10


class Interrupted(AlphafError):
    """The user stopped the run; what was finished is kept."""

    domain = "interrupt"
    exit_code = 130


class GoesOnLater(Interrupted):
    """A run that was asked to make room: a checkpoint is kept, and the scheduler is to start it again.

    The code is sysexits' EX_TEMPFAIL; a job's script sends the job back to the queue by it, and by no other one.
    """

    exit_code = 75


@contextlib.contextmanager
def interruptible(what: str, where: Path, fix: str) -> Iterator[None]:
    """Raise Interrupted, saying that `what` was interrupted, where a signal or a wish ends what is done inside."""
    try:
        yield
    except KeyboardInterrupt:
        raise interrupted(f"{what} was interrupted", where=str(where), fix=fix) from None


def interrupted(what: str, *, where: str, fix: str) -> Interrupted:
    """Return the error of what was stopped: GoesOnLater where it was asked to make room and is to be started again."""
    if not signals.goes_on_later():
        return Interrupted(what, where=where, fix=fix, code="interrupt.stopped")
    why = signals.name()
    told_why = what if why in what else f"{what}, for {why}"
    return GoesOnLater(told_why, where=where, fix=fix, code="interrupt.makes_room")
