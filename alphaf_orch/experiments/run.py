"""Runs an experiment: starts each arm as `alphaf` itself, one or several at a time, and repeats what it says."""

from __future__ import annotations

import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self

from rich.console import Console

from alphaf_orch.core.called import BY_MAKE, SPELLED
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.paths import runs_dir
from alphaf_orch.core.processes import Stop, interrupts_noted
from alphaf_orch.core.progress import LogLine, tell
from alphaf_orch.core.record import now, write_atomic
from alphaf_orch.core.signals import CODE, LATER_CODE
from alphaf_orch.core.stamps import unstamped
from alphaf_orch.core.warm import passed_on
from alphaf_orch.experiments.experiment import (
    Arm,
    Experiment,
    ExperimentPaths,
    Outcome,
    State,
    working_on,
    write_record,
)
from alphaf_orch.experiments.plan import Slot, arm_commands, plan_arms, slots, starting_order
from alphaf_orch.experiments.prepare import cannot_start, prepare
from alphaf_orch.runs.launch import Said, launch, own_errors
from alphaf_orch.runs.recipe_check import check_recipe
from alphaf_orch.runs.warm import warm_programs
from alphaf_orch.settings.config import dump_config

# What of an arm's own output is worth a line here: how its stages began, went on and ended.
_WORTH_A_LINE = re.compile(r"(error: |\w+: |\w+  (\d+/\d+|\d+ task))")
_NOT_WORTH = re.compile(r"(model|chat): ")
_STOPPED = (CODE, LATER_CODE)
PATIENCE = 3.0  # an arm that is stopped has a tool of its own to stop first


@dataclass
class _Shared:
    """What the threads of one experiment share."""

    todo: queue.SimpleQueue[Arm]
    stop: Stop = field(default_factory=Stop)
    failed: threading.Event = field(default_factory=threading.Event)  # by a defect of ours
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def stopped(self) -> bool:
        """Return whether no further arm is to begin, and those under way are to end."""
        return self.stop.asked.is_set() or self.failed.is_set()


def run_experiment(
    experiment: Experiment,
    paths: ExperimentPaths,
    machine: Machine,
    console: Console,
    *,
    parallel: int | None = None,
    online: bool = False,
    warm: bool | None = None,
    verbose: bool = False,
) -> tuple[Outcome, ...]:
    """Return how each arm ended; one that fails stops none of the others, and what is finished is kept.

    On CPU the arms' tools are imported once for all of them, unless `warm` or the settings say otherwise.

    Raises what `plan_arms` and `slots` refuse, RunStateError where another process works on the experiment, and
    Interrupted on Ctrl-C: the same command then goes on.
    """
    plans, lacking = plan_arms(experiment, paths, machine, online=online, dry=False)
    for plan in plans.values():
        check_recipe(plan, partial(tell, console), launches=True)
    shares = slots(machine, plans, parallel, len(plans))
    created = now()
    with working_on(paths) as lock_fd:
        write_record(paths, experiment, (), created)
        shared = _Shared(queue.SimpleQueue())
        shared.outcomes |= cannot_start(lacking, console)
        try:
            shared.outcomes |= prepare(experiment, plans, console, verbose=verbose)
            for arm in starting_order(experiment, len(shares)):
                if arm.name not in shared.outcomes:
                    # Written by the parent alone: a child that was killed leaves no half of a file.
                    write_atomic(paths.settings(arm.name), dump_config(arm.config))
                    shared.todo.put(arm)
            some, env = experiment.arms[0].config, shares[0].env()
            with warm_programs(warm, some, machine, console, default=True, **env):
                _work(experiment, paths, shares, console, shared, lock_fd, verbose=verbose)
        except KeyboardInterrupt:
            write_record(paths, experiment, list(shared.outcomes.values()), created)
            raise
        outcomes = tuple(shared.outcomes[arm.name] for arm in experiment.arms)
        write_record(paths, experiment, outcomes, created)
    return outcomes


def _work(
    experiment: Experiment,
    paths: ExperimentPaths,
    shares: Sequence[Slot],
    console: Console,
    shared: _Shared,
    lock_fd: int,
    *,
    verbose: bool,
) -> None:
    def worker(slot: Slot) -> None:
        while not shared.stopped():
            try:
                arm = shared.todo.get_nowait()
            except queue.Empty:
                return
            try:
                shared.outcomes[arm.name] = _run_arm(
                    experiment, arm, paths, slot, console, shared, lock_fd, verbose=verbose
                )
            except KeyboardInterrupt:
                shared.outcomes[arm.name] = Outcome(arm.name, "interrupted", CODE)

    # Noted, not raised: a second Ctrl-C makes the workers hurry, and must not leave them behind.
    with interrupts_noted() as shared.stop, ThreadPoolExecutor(len(shares)) as pool:
        futures = [pool.submit(worker, slot) for slot in shares]
        while not all(future.done() for future in futures):
            time.sleep(0.1)
            if any(future.done() and future.exception() for future in futures):
                shared.failed.set()  # the others are not left running
    for future in futures:
        future.result()


def _run_arm(
    experiment: Experiment,
    arm: Arm,
    paths: ExperimentPaths,
    slot: Slot,
    console: Console,
    shared: _Shared,
    lock_fd: int,
    *,
    verbose: bool,
) -> Outcome:
    started = time.monotonic()
    # What an arm says is kept as it is written, and respelled and translated when it is shown.
    plainly = {SPELLED: "alphaf", BY_MAKE: "", "ALPHAF_LANG": "en"}
    env = {**slot.env(), "ALPHAF_RUNS": str(runs_dir()), **plainly, **passed_on()}
    for command in arm_commands(experiment, arm, paths):
        line = _ArmLine(arm.name, paths.log(arm.name), console, shared.stopped, verbose=verbose)
        argv = (sys.executable, "-m", "alphaf_orch", *command)
        finished = launch(argv, line, lock_fd, env=env, patience=PATIENCE, hurry=shared.stop.hurry, is_alphaf=True)
        if finished.exit_code:
            error = (own_errors(line.log) or [Said(f"alphaf {command[0]} exited with {finished.exit_code}")])[-1]
            state: State = "interrupted" if finished.exit_code in _STOPPED else "failed"
            return Outcome(arm.name, state, finished.exit_code, time.monotonic() - started, error.text, error.code)
    return Outcome(arm.name, "done", 0, time.monotonic() - started)


class _ArmLine(LogLine):
    """Repeats, line by line, what an arm's `alphaf` says, under the arm's name; ends it once all are to stop."""

    def __init__(self, arm: str, log: Path, console: Console, stopped: Callable[[], bool], *, verbose: bool) -> None:
        super().__init__(console, "", log, verbose=True)  # line by line, as -v does: several arms have no live line
        self._arm, self._stopped, self._all = arm, stopped, verbose

    def __enter__(self) -> Self:
        return self

    def poll(self) -> None:
        """Print what is new; raise KeyboardInterrupt where the arm is to end."""
        self._stream()
        if self._stopped():
            raise KeyboardInterrupt

    def line(self) -> str:
        """Return the arm's name: there is no live line."""
        return self._arm

    def _stream(self, *, final: bool = False) -> None:
        for line in map(unstamped, self._printed(final=final).splitlines()):
            if self._all or (_WORTH_A_LINE.match(line) and not _NOT_WORTH.match(line)):
                tell(self._console, f"[{self._arm}] {line}")
