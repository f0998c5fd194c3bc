"""Looks at a stage while it runs: says and records what its rows show, and ends it where that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import RunStateError, StageError, Stalled
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import new_metrics
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs.notify.call import stalled
from alphaf_orch.runs.watch import stacks, stall
from alphaf_orch.runs.watch.findings import Finding, Health, recorded
from alphaf_orch.settings.config import RunConfig

# Ours: once is a card's fault now and then; twice the same step of the same data is the training's own.
_SAME_RUIN = 2
# What tells a child that a loss which is no number ends nothing (programs/training/finite_loss.py).
_GOES_ON = {"ALPHAF_ON_UNHEALTHY": "warn"}


def as_told(stage: Stage, config: RunConfig) -> Stage:
    """Return the stage with what its trainer is told of it, on every machine: in its environment, in no recipe."""
    told = stage.kind == "train" and config.on_unhealthy == "warn"
    return replace(stage, env={**stage.env, **_GOES_ON}) if told else stage


class StageWatch:
    """One try of a stage; `look` is called often while it runs and once behind its end."""

    def __init__(
        self, stage: Stage, paths: RunPaths, config: RunConfig, say: Callable[[str], None],
        record: Callable[[Finding], None],
    ) -> None:  # fmt: skip
        self._stage, self._paths, self._config, self._say, self._record = stage, paths, config, say, record
        self._metrics = paths.metrics(stage.name)
        earlier = self._metrics.read_bytes() if self._metrics.is_file() else b""
        self._offset = earlier.rfind(b"\n") + 1  # half a line is cut off by the trainer itself
        self._health = Health(earlier.count(b"\n"))
        after = config.stall_timeout or stall.SAID_AFTER_S
        self._silence, self._said_silent = stall.Silence(stall.signs_of(stage, paths), after), False

    def look(self) -> None:
        """Say what is new; raise StageError for what is to end it."""
        self.rows()
        self._progress()

    def rows(self, *, ended: bool = False) -> None:
        """Read the rows that are new, say and record what they show; raise StageError where that ends the stage.

        One that has `ended` by itself is not undone by what is only doubtful.
        """
        rows, self._offset = new_metrics(self._metrics, self._offset)
        found = [finding for row in rows for finding in self._health.add(row)]
        for finding in found:
            self._say(f"warning: {self._stage.name}: step {finding.step}: {finding.what}; {finding.fix}")
            self._record(finding)
        ends = next((each for each in found if self._ends(each) and not (ended and each.level == "doubtful")), None)
        if ends:
            raise StageError(
                f"{self._stage.name}: {ends.what} at step {ends.step}",
                where=f"{self._metrics} line {ends.line}; log: {self._paths.log(self._stage.name)}",
                fix=f"{ends.fix}; {_kept(ends)}",
                code="stage.not_finite" if ends.level == "ruined" else "stage.diverged",
            )

    def _ends(self, finding: Finding) -> bool:
        return self._config.on_unhealthy == "stop" or (self._config.on_unhealthy == "nan" and finding.level == "ruined")

    def _progress(self) -> None:
        silent, asked = self._silence.seconds(), self._config.stall_timeout
        name, log = self._stage.name, self._paths.log(self._stage.name)
        if silent < (asked or stall.SAID_AFTER_S):
            self._said_silent = False
            return
        if asked is None:
            if not self._said_silent:
                self._say(
                    f"warning: {name}: no progress for {silent / 60:.0f} minutes: neither log nor metrics nor files"
                    " grow; --stall-timeout SECONDS ends a stage that hangs"
                )
                stalled(self._config, self._paths, name, silent, self._say)
            self._said_silent = True
            return
        python = self._stage.argv[0]
        taken = stacks.dump(stall.processes(self._paths), log, python)
        by = f", taken by {taken}" if taken else ": none of its processes could be asked, only their states"
        raise Stalled(
            f"{name}: no progress for {silent:.0f} s: neither log nor metrics nor files grew",
            where=f"the end of {log} has the stacks of its processes{by}",
            fix="the same command goes on from the last checkpoint; a phase that is silent for longer needs a longer"
            " --stall-timeout",
            code="stage.stalled",
        )


def _kept(finding: Finding) -> str:
    if finding.level == "ruined":
        return (
            "the same command goes on from the last checkpoint before it (later ones are passed over), and"
            " `--on-unhealthy warn` trains on all the same"
        )
    return "the same command goes on from the last checkpoint; `--on-unhealthy warn` only says it"


def refuse_the_same_ruin(stage: Stage, entry: Mapping[str, Any], config: RunConfig, where: Path) -> None:
    """Raise RunStateError where earlier tries met the same ruin at the same step: a further one would meet it too."""
    steps = [finding.step for finding in recorded(entry) if finding.level == "ruined"]
    again = [step for step in steps if steps.count(step) >= _SAME_RUIN]
    if again and config.on_unhealthy != "warn":
        raise RunStateError(
            f"{stage.name} became NaN or infinite at step {again[0]} in each of {steps.count(again[0])} tries",
            where=str(where),
            fix="lower learning_rate, or mend the rows of that step, under --run NEW; or train on all the same with"
            " `--on-unhealthy warn`",
            code="run.not_finite",
        )
