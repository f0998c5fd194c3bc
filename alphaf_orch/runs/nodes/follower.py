"""Another machine of a run: does its part of each training that the first one calls it to, and nothing else."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import eq, ne
from pathlib import Path
from typing import Any

from rich.console import Console

from alphaf_orch.core.command import child_env
from alphaf_orch.core.errors import (
    AlphafError,
    GoesOnLater,
    Interrupted,
    ModelError,
    RunStateError,
    StageError,
    ToolError,
    interruptible,
)
from alphaf_orch.core.hardware import Machine, check_gpus
from alphaf_orch.core.lock import held
from alphaf_orch.core.masking import mask_logs
from alphaf_orch.core.nodes import Node, Seat
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.processes import interrupts_noted
from alphaf_orch.core.progress import StageLine, tell
from alphaf_orch.core.yaml_files import parse_yaml
from alphaf_orch.inputs import hub_cache
from alphaf_orch.runs.launch import exited, launch, was_stopped
from alphaf_orch.runs.machine.require import Wanted, require_gpus
from alphaf_orch.runs.nodes.leader import GRACE_S, on_node
from alphaf_orch.runs.nodes.signs import LOOK_S, SETTLED_S, Ear, Voice, digest
from alphaf_orch.runs.preflight import needs_compiler, tool_versions

Word = Mapping[str, Any]
_AGAIN = "the same command, on all machines, goes on from the last checkpoint"


def follow(paths: RunPaths, seat: Seat, patience: float, machine: Machine, console: Console, *, verbose: bool) -> None:
    """Do this machine's part of the run's trainings until the first machine says that the chain has ended.

    Raises RunStateError where that one gives no sign of life for `patience` seconds, StageError where it failed (with
    its exit code) or the launcher here did, and what refuses this machine: another version of a file, a tool, a GPU
    that is not there.
    """
    rank = seat.rank
    assert rank
    _Follower(paths, seat, rank, patience, machine, console, verbose=verbose).run()


class _Follower:
    """What this machine has heard of the first one, and said to it."""

    def __init__(
        self,
        paths: RunPaths,
        seat: Seat,
        rank: int,
        patience: float,
        machine: Machine,
        console: Console,
        *,
        verbose: bool,
    ) -> None:
        self._paths, self._seat, self._rank, self._patience = paths, seat, rank, patience
        self._machine, self._console, self._verbose = machine, console, verbose
        self._first = Ear(paths, 0)
        self._voice = Voice(paths, rank, seat.job, patience)
        self._lost_since: float | None = None
        self._said_why = False

    def run(self) -> None:
        """Follow the first machine to its end."""
        what = f"machine {self._rank} of the run {self._paths.name}"
        stopped = interruptible(what, self._paths.root, _AGAIN)
        with held(self._paths.node_lock(self._rank), what) as lock_fd, self._voice, self._leaving(), stopped:
            self._voice.say("waits")
            self._tell(f"{what}: does its part of the trainings; machine 0 plans, judges and records")
            done = ""
            while True:
                word = self._until("calls", partial(ne, done))
                if word["state"] == "ended":
                    self._tell(f"{what}: machine 0 has ended well")
                    return
                if word["state"] == "failed":
                    raise self._failed(word)
                done = word["attempt"]
                self._take_part(word, lock_fd)

    @contextlib.contextmanager
    def _leaving(self) -> Iterator[None]:
        """Say what ends this machine between two trainings; within one, that has been said."""
        try:
            yield
        except AlphafError as error:
            if not self._said_why:
                self._voice.say("left", error=error.what, where=error.where, fix=error.fix, code=error.code)
            raise

    def _until(self, state: str, wanted: Callable[[str], bool]) -> Word:
        """Return the first machine's word once it says that state of an attempt that is wanted, or that it is over."""
        with interrupts_noted() as stop:
            while not stop.asked.is_set():
                word = self._heard()
                said = word.get("state")
                if said in ("ended", "failed") or (said == state and wanted(word["attempt"])):
                    return word
                self._refuse_silence()
                stop.asked.wait(LOOK_S)
        raise AssertionError  # the wish to stop was raised

    def _heard(self) -> Word:
        """Return the first machine's word of this start, empty where it said none: an older one lies there too."""
        self._first.silent_s()
        word = self._first.word()
        if self._seat.job and word.get("job"):
            return word if word["job"] == self._seat.job else {}
        return word if word.get("start") == self._first.alive else {}

    def _refuse_silence(self) -> None:
        if self._first.silent_s() <= self._patience:
            return
        if self._first.alive:
            raise RunStateError(
                f"machine 0 has given no sign of life for {self._patience:.0f} s",
                where=f"{self._paths.sign(0)} does not change",
                fix=f"look whether it and its disk are there; {_AGAIN}",
                code="run.machine_silent",
            )
        raise RunStateError(
            f"machine 0 gave no sign of life in {self._patience:.0f} s",
            where=f"{self._paths.sign(0)}, which it writes every few seconds",
            fix="start the same command there; where it runs, this folder is not the one that it writes to:"
            " ALPHAF_RUNS must lie on a disk that all machines share. `node_timeout:` in the config waits longer",
            code="run.machine_silent",
        )

    def _take_part(self, call: Word, lock_fd: int) -> None:
        """Get ready, start the launcher when all are, and say how it ended, whatever ends it."""
        about, self._said_why = {"attempt": call["attempt"]}, True
        state, where = "refused", self._paths.root
        try:
            self._check(call)
            self._voice.say("ready", **about)
            word = self._until("starts", partial(eq, call["attempt"]))
            if word["state"] == "failed":
                raise self._failed(word)
            if word["state"] == "ended":
                raise RunStateError(
                    f"machine 0 ended and did not start {call['stage']}",
                    where=str(self._paths.root),
                    fix=_AGAIN,
                    code="run.machine_left",
                )
            state, where = "failed", self._paths.log(self._name(call))
            self._voice.say("trains", **about)
            self._launch(word, lock_fd)
        except AlphafError as error:
            self._voice.say(state, **about, error=error.what, where=error.where, fix=error.fix, code=error.code)
            raise
        except BaseException as error:
            what = "it was interrupted" if isinstance(error, KeyboardInterrupt) else type(error).__name__
            self._voice.say(state, **about, error=what, where=str(where), fix=_AGAIN)
            raise
        self._voice.say("waits", **about)
        self._said_why = False

    def _name(self, call: Word) -> str:
        return f"{call['stage']}.node{self._rank}"

    def _launch(self, word: Word, lock_fd: int) -> None:
        name, paths = self._name(word), self._paths
        log = paths.log(name)
        line = StageLine(self._console, name, paths.metrics(word["stage"]), log, verbose=self._verbose)
        argv = on_node(word["argv"], Node(self._rank, word["address"], word["port"]), self._patience)
        env = {**word["env"], "CUDA_VISIBLE_DEVICES": ",".join(self._machine.visible(word["gpus"]))}
        begun, self._lost_since = time.time(), None
        try:
            finished = launch(argv, line, lock_fd, env=env, watch=self._watch)
        finally:
            mask_logs(paths.root, begun - 1)
        if finished.exit_code:
            self._refuse_stopped(log)
            raise exited(name, finished, log, f"mend what it names; {_AGAIN}")
        self._tell(f"{name}: done in {finished.seconds:.0f} s; machine 0 judges the result")

    def _watch(self) -> None:
        """Raise StageError where the first machine has failed or fallen silent and the launcher here does not end."""
        word = self._heard()
        if word.get("state") == "failed":
            self._lost_since = self._lost_since or time.monotonic()
            if time.monotonic() - self._lost_since > GRACE_S:
                raise self._failed(word)
        self._refuse_silence()

    def _refuse_stopped(self, log: Path) -> None:
        """Raise what ended machine 0 where a wish or a signal there ended the training: all ranks stop at one step."""
        end = time.monotonic() + (GRACE_S if was_stopped(log) else 0.0)
        while time.monotonic() < end:
            word = self._heard()
            if word.get("state") == "failed":
                raise self._failed(word)
            if word.get("state") != "starts":  # it goes on
                return
            time.sleep(LOOK_S)

    def _failed(self, word: Word) -> AlphafError:
        self._said_why = True  # it knows
        code = int(word["exit_code"])
        stopped = {GoesOnLater.exit_code: GoesOnLater, Interrupted.exit_code: Interrupted}
        what = f"machine 0 {'has stopped' if code in stopped else 'failed'}: {word['error']}"
        error = stopped.get(code, StageError)(
            what, where=str(self._paths.root), fix=_AGAIN, code=word.get("code") or "stage.machine_failed"
        )
        error.exit_code = code  # type: ignore[misc]  # click reads it from the error itself
        return error

    def _check(self, call: Word) -> None:
        """Raise what keeps this machine from taking part: files, tools, GPUs or a base model that it does not have."""
        check_gpus(call["gpus"], self._machine, call["stage"], "--gpus")
        python = call["argv"][0]
        here = tool_versions(python)
        other = [
            f"{name} {here.get(name)} ({said} on machine 0)"
            for name, said in call["versions"].items()
            if here.get(name) != said
        ]
        if other:
            raise ToolError(
                f"other versions than on machine 0: {', '.join(other)}",
                where=python,
                fix="install the same versions on all machines, or share one environment",
                code="tool.other_versions",
            )
        for name, said in call["seen"].items():
            self._check_seen(Path(name), said)
        recipe = next((Path(name) for name in call["seen"] if Path(name).name == f"{call['stage']}.yaml"), None)
        values = parse_yaml(recipe.read_text(encoding="utf-8"), str(recipe)) if recipe else {}
        compiles = needs_compiler(values, here)
        require_gpus(
            python, Wanted(call["gpus"], bf16=values.get("bf16") is True, compiles=compiles), self._machine, here
        )
        self._check_base(values)

    def _check_seen(self, path: Path, said: str) -> None:
        """Raise RunStateError where a file or folder is another one here, a network disk's delay allowed for."""
        end = time.monotonic() + min(SETTLED_S, self._patience)
        while digest(path) != said:
            if time.monotonic() > end:
                raise RunStateError(
                    f"{path.name} is {'another one' if path.exists() else 'not there'} on machine {self._rank}",
                    where=str(path),
                    fix="let all machines share the folder, at the same path: that of ALPHAF_RUNS and, of a base model"
                    " that was made here, that of ALPHAF_CACHE",
                    code="run.other_files",
                )
            time.sleep(LOOK_S)

    def _check_base(self, recipe: Mapping[str, Any]) -> None:
        """Raise ModelError where the base model is one of the hub and not in this machine's cache."""
        base, revision = str(recipe.get("base_model") or ""), recipe.get("revision_of_model")
        if not hub_cache.is_repo_id(base) or Path(base).is_dir():
            return
        env = child_env({}, online=False)
        if hub_cache.snapshot(base, "model", revision, env) is None:
            raise ModelError(
                f"{base} is not in the hub's cache of machine {self._rank}",
                where=str(hub_cache.cache_root(env)),
                fix="let HF_HOME lie on a disk that all machines share, or copy the cache there",
                code="model.not_here",
            )

    def _tell(self, text: str) -> None:
        tell(self._console, text)
