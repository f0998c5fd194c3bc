"""What is told, as one value: which run, what became of it, where it stands; no data and no secret."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from alphaf_orch import __version__
from alphaf_orch.core.disk import disk_error
from alphaf_orch.core.errors import AlphafError, RunStateError
from alphaf_orch.core.holder import job_id_of
from alphaf_orch.core.masking import mask
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import clock, read_metrics
from alphaf_orch.core.record import latest, now, read_manifest
from alphaf_orch.core.tail import one_line
from alphaf_orch.core.wording import Label, Language, in_language

FORMAT = 1
Event = Literal["end", "failure", "stall", "requeue", "test"]
# Ours: what a chat shows without folding it; the rest is in the run. Of several lines the first is what failed.
_LONGEST = 500

_HAPPENED: Mapping[str, Label] = {
    "end": Label("끝났습니다", "done"),
    "failure": Label("실패했습니다", "failed"),
    "interrupted": Label("중단되었습니다", "stopped"),
    "killed": Label("강제 종료되었습니다", "was killed"),
    "stall": Label("멈춘 것 같습니다", "seems to hang"),
    "requeue": Label("대기열로 되돌아갔습니다", "went back to the queue"),
    "test": Label("시험 알림입니다", "this is a test"),
}
_NEXT, _WHERE = Label("다음", "next"), Label("위치", "where")
_STEP, _CODE, _JOB = Label("스텝", "step"), Label("종료 코드", "exit code"), Label("작업", "job")


@dataclass(frozen=True, kw_only=True)
class Message:
    """One thing that is told; empty and None mean that there is nothing to say of it."""

    event: Event
    name: str  # a run, EXPERIMENT/ARM, or an experiment
    command: str = ""  # of alphaf: run, eval
    stage: str = ""
    state: str = ""
    exit_code: int | None = None
    what: str = ""
    where: str = ""
    next: str = ""
    code: str = ""  # the error's identifier
    seconds: float | None = None  # of this call
    step: int | None = None
    max_steps: int | None = None
    host: str = ""
    job_id: str = ""
    at: str = ""

    def payload(self, language: Language) -> dict[str, Any]:
        """Return it as the JSON object that is sent: masked, with the text that people read."""
        facts = {key: value for key, value in vars(self).items() if value not in (None, "")}
        facts = {key: _short(value) if isinstance(value, str) else value for key, value in facts.items()}
        return {"text": self.text(language), "format": FORMAT, **facts, "alphaf": __version__}

    def text(self, language: Language) -> str:
        """Return it as people read it: a line, and below it what failed, where, and what to do."""
        said = _HAPPENED[self.state if self.state in ("interrupted", "killed") else self.event]
        doing = self.stage if self.stage and self.event != "end" else self.command
        beside = [doing, *self._standing(language), self.host]
        if self.job_id:
            beside.append(f"{in_language(_JOB, language)} {self.job_id}")
        lines = [f"[alphaf] {self.name}: {in_language(said, language)} ({', '.join(filter(None, beside))})"]
        lines += [self.what] if self.what else []
        told = ((_WHERE, self.where), (_NEXT, self.next)) if self.what else ((_WHERE, self.where),)
        lines += [f"{in_language(label, language)}: {text}" for label, text in told if text]
        return "\n".join(_short(line) for line in lines)

    def _standing(self, language: Language) -> list[str]:
        found = []
        if self.step is not None:
            of = f"/{self.max_steps}" if self.max_steps is not None else ""
            found.append(f"{in_language(_STEP, language)} {self.step}{of}")
        if self.exit_code:
            found.append(f"{in_language(_CODE, language)} {self.exit_code}")
        if self.seconds is not None:
            found.append(clock(self.seconds))
        return found


def message(event: Event, paths: RunPaths, command: str = "", **facts: Any) -> Message:
    """Return what is told of a run at this moment, by whoever works on it here."""
    job = job_id_of(os.environ) or os.environ.get("SKYPILOT_TASK_ID", "")  # or a task that the user wrote himself
    about = {"name": paths.full_name, "where": str(paths.root)}
    # Of a Slurm node the name that its users know, which need not be that of the machine.
    about |= {"host": os.environ.get("SLURMD_NODENAME") or platform.node(), "job_id": job, "at": now()}
    return Message(event=event, command=command, **{**about, **facts})


def with_standing(told: Message, paths: RunPaths, begun: str) -> Message:
    """Return it with the stage that was last worked on since a moment, and the step at which that stands."""
    try:
        stages = read_manifest(paths.manifest)["stages"]
    except RunStateError:  # damaged: the error that is told says so itself
        return told
    since = {name: entry.get("started") or "" for name, entry in stages.items() if isinstance(entry, Mapping)}
    stage = latest([name for name, at in since.items() if at >= begun], since.__getitem__)
    return standing_at(replace(told, stage=stage), paths) if stage else told


def standing_at(told: Message, paths: RunPaths) -> Message:
    """Return it with the step at which its stage stands, where that is a training."""
    rows = [row for row in read_metrics(paths.metrics(told.stage)) if row.get("step") is not None]
    return replace(told, step=rows[-1]["step"], max_steps=rows[-1].get("max_steps")) if rows else told


def failed(error: BaseException) -> dict[str, Any]:
    """Return what a message says of an exception: what, where, what next, and the code that alphaf ends with."""
    if isinstance(error, AlphafError):
        facts = {"what": error.what, "where": error.where, "next": error.fix, "code": error.code}
        return {**facts, "exit_code": error.exit_code}
    of_disk = disk_error(error) if isinstance(error, OSError) else None
    return failed(of_disk) if of_disk else {"what": f"{type(error).__name__}: {error}"}


def _short(text: str) -> str:
    # A path may be no UTF-8, and what a tool said may hold what no variable can.
    first = one_line(mask(text).strip().split("\n", 1)[0]).encode("utf-8", "replace").decode()
    return first if len(first) <= _LONGEST else f"{first[: _LONGEST - 1]}…"
