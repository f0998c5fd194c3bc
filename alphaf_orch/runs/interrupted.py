"""What an interrupt left of a run, told: in the manifest whatever was being done, and how far a training came."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from alphaf_orch.core import signals
from alphaf_orch.core.errors import AlphafError, GoesOnLater, Interrupted, RunStateError, interrupted
from alphaf_orch.core.heart import require_held
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import read_metrics
from alphaf_orch.core.record import latest, now, read_manifest, write_manifest
from alphaf_orch.runs import checkpoints, requeues

_SAME = "the same command goes on from the last checkpoint"
_MORE = (
    "give the stage a longer `time` in the profile, or the training a smaller save_steps; a step and its checkpoint"
    " need less than `stop_before`. What is finished is kept, and the same command goes on from there"
)
_BY_ITSELF = "its job goes on from there when the scheduler starts it again; so does the same command"


@contextlib.contextmanager
def interrupts_told(paths: RunPaths) -> Iterator[None]:
    """Raise Interrupted with how far it came where a stage is interrupted inside, the manifest saying so too.

    GoesOnLater, where it was asked to make room; RunStateError in its place where this start of a job gained as little
    as the one before. Raises RunStateError where another process has taken the run over.
    """
    try:
        yield
    except KeyboardInterrupt:  # beside a stage, or in the moments at its ends
        require_held(paths.lock)
        stage = _note(paths)
        if not stage:
            raise
        raise _told(paths, interrupted(f"{stage} was interrupted", where=str(paths.root), fix=_SAME)) from None
    except Interrupted as stop:
        raise _told(paths, stop) from None


def _note(paths: RunPaths) -> str:
    """Put `interrupted` in the place of `running` in the manifest; return of which stage, empty where of none."""
    manifest = read_manifest(paths.manifest)
    running = [name for name, entry in manifest["stages"].items() if entry.get("state") == "running"]
    for name in running:
        entry = manifest["stages"][name]
        newest = checkpoints.seen(paths.adapter(name))
        entry |= {"state": "interrupted", "ended": now(), **requeues.sent_back(entry, newest)}
    if running:
        write_manifest(paths.manifest, manifest)
    return running[-1] if running else ""


def _told(paths: RunPaths, stop: Interrupted) -> AlphafError:
    standing = _standing(paths)
    in_vain = _in_vain(paths)
    if in_vain:
        requeues.not_sent_back(paths)
        at = standing.later(signals.name()) if standing else f"{in_vain}: stopped for {signals.name()}"
        what = f"{at}, as at the start before: it is not put back into the queue, it would come no further"
        return RunStateError(what, where=str(paths.root), fix=_MORE, code="run.requeued_in_vain")
    if not signals.goes_on_later():
        return Interrupted(
            f"{stop.what}{standing.told if standing else ''}", where=stop.where, fix=stop.fix, code=stop.code
        )
    if standing is None:
        return interrupted(stop.what, where=stop.where, fix=stop.fix)
    return GoesOnLater(standing.later(signals.name()), where=stop.where, fix=_BY_ITSELF, code=stop.code)


def _in_vain(paths: RunPaths) -> str:
    """Return the stage that met its time limit twice with nothing gained in between; empty where there is none."""
    if not signals.goes_on_later():
        return ""
    stages = read_manifest(paths.manifest)["stages"]
    stopped = (name for name, entry in stages.items() if entry.get("state") == "interrupted")
    return next((name for name in stopped if requeues.in_vain(stages[name])), "")


@dataclass(frozen=True)
class _Standing:
    """How far a training came: the step that it told last, or that of its newest checkpoint, whichever is later."""

    stage: str
    step: int
    steps: int
    newest: str

    @property
    def _at(self) -> str:
        exactly = self.newest.rpartition("-")[2] == str(self.step)
        return f"at {'' if exactly else 'about '}step {self.step} of {self.steps}"

    @property
    def told(self) -> str:
        kept = f"its newest checkpoint is {self.newest}" if self.newest else "it has no checkpoint yet"
        return f" {self._at}; {kept}"

    def later(self, why: str) -> str:
        kept = f"{self.newest} kept" if self.newest else "it has no checkpoint yet"
        return f"{self.stage}: stopped {self._at} for {why}; {kept}"


def _standing(paths: RunPaths) -> _Standing | None:
    """Return where the training stands that was interrupted last, None where none was that has steps."""
    stages = read_manifest(paths.manifest)["stages"]
    stopped = {name: entry.get("ended", "") for name, entry in stages.items() if entry.get("state") == "interrupted"}
    name = latest(list(stopped), stopped.__getitem__) or ""
    rows = [row for row in read_metrics(paths.metrics(name)) if "max_steps" in row] if name else []
    if not rows:
        return None
    newest = checkpoints.seen(paths.adapter(name))
    saved = newest.name.rpartition("-")[2] if newest else ""
    step = max(rows[-1]["step"], int(saved) if saved.isdigit() else 0)
    return _Standing(name, step, rows[-1]["max_steps"], newest.name if newest else "")
