"""The first machine of a run: calls the others to a training, says where they meet, ends when one of them is lost."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import AlphafError, RunStateError, StageError, interrupted
from alphaf_orch.core.lock import held
from alphaf_orch.core.nodes import Node, Seat, free_port
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs.launch import write_files
from alphaf_orch.runs.nodes.signs import LOOK_S, Ear, Voice, digest
from alphaf_orch.runs.rows_cache import rows_env
from alphaf_orch.runs.run_date import date_env
from alphaf_orch.runs.watch.memory import short_of

# Torch's agents give their ranks 30 s to stop (torch/distributed/launcher/api.py, shutdown_timeout); twice that, and
# the launcher will not end by itself.
GRACE_S = 60.0
Say = Callable[[str], None]


class Leader:
    """Rank 0 of a run: what it knows of the others; made by `leading`."""

    def __init__(self, paths: RunPaths, seat: Seat, nodes: int, patience: float, voice: Voice, say: Say) -> None:
        self._paths, self._seat, self._nodes, self._patience = paths, seat, nodes, patience
        self._voice, self._say = voice, say
        self._others = [Ear(paths, rank) for rank in range(1, nodes)]
        self._attempt = ""
        self._lost_since: float | None = None

    def gather(self, stage: Stage, argv: Sequence[str], versions: Mapping[str, str], gpus: int) -> tuple[str, ...]:
        """Return the launcher's argv for this machine once all others are ready to start theirs.

        Raises RunStateError naming those that did not come, or that refused and why.
        """
        write_files(stage.files)
        self._attempt, self._lost_since = uuid.uuid4().hex, None
        call = {
            "attempt": self._attempt,
            "stage": stage.name,
            "argv": list(argv),
            "env": {**stage.env, **date_env(self._paths), **rows_env(stage, self._paths)},
            "gpus": gpus,
            "versions": dict(versions),
            "seen": {str(path): digest(path) for path in _shared(stage, argv)},
        }
        self._voice.say("calls", **call)
        self._say(f"{stage.name}: waits for {self._nodes - 1} other machine(s), {self._patience:.0f} s at most")
        self._wait_for_all(stage, "")
        node = Node(0, self._seat.node.address, self._seat.port or free_port())
        self._voice.say("starts", **call, address=node.address, port=node.port)
        self._wait_for_all(stage, "ready")
        self._say(f"{stage.name}: all {self._nodes} machines are ready, they meet at {node.address}:{node.port}")
        return on_node(argv, node, self._patience)

    def watch(self) -> None:
        """Raise StageError where another machine fell silent, or failed and the launcher here does not end."""
        silent = next(filter(None, map(self._silence, self._others)), None)
        if silent:
            raise silent
        failed = next(filter(None, map(self._failure, self._others)), None)
        if failed:
            self._lost_since = self._lost_since or time.monotonic()
            if time.monotonic() - self._lost_since > GRACE_S:
                raise failed

    def working(self, *, failed: bool) -> None:
        """Say that a training spread over machines is over and rank 0 goes on alone; why it failed there, if it did.

        Where the cause is another machine's, its launcher ends after the one here: its word is waited for, GRACE_S at
        most. Raises StageError where another machine had too little memory: what is done about it is decided here.
        """
        end = time.monotonic() + (GRACE_S if failed else 0.0)
        while time.monotonic() < end and any(map(self._trains, self._others)):
            time.sleep(LOOK_S)
        failures = list(filter(None, map(self._failure, self._others)))
        for error in failures:
            self._say(f"{error.what} ({error.where})")
        self._voice.say("works")
        short = next((error for error in failures if short_of(error.what, killed=False)), None)
        if failed and short:
            raise short

    def _wait_for_all(self, stage: Stage, before: str) -> None:
        """Wait until every other machine has answered the call, and gone on from the state `before`."""
        end = time.monotonic() + self._patience
        while True:
            missing = []
            for other in self._others:
                word = other.word()
                self._refuse_left(other)
                mine = word.get("attempt") == self._attempt
                if mine and word["state"] == "refused":
                    raise RunStateError(
                        f"machine {other.rank} refuses to take part in {stage.name}: {word['error']}",
                        where=word["where"],
                        fix=word["fix"],
                        code=word.get("code") or "run.machine_refuses",
                    )
                if not mine or word["state"] == before:
                    missing.append(str(other.rank))
            if not missing:
                return
            if time.monotonic() > end:
                raise RunStateError(
                    f"{stage.name} was not started: {self._nodes - len(missing)} of {self._nodes} machines are here,"
                    f" {', '.join(missing)} did not come in {self._patience:.0f} s",
                    where=f"{self._paths.word(0).parent}, where each of them writes N.json",
                    fix="start the same command on each machine; where it runs there, this folder is not the one that"
                    " it writes to: ALPHAF_RUNS must lie on a disk that all share. `node_timeout:` waits longer",
                    code="run.machines_missing",
                )
            time.sleep(min(LOOK_S, self._patience / 4))

    def _trains(self, other: Ear) -> bool:
        word = other.word()
        return word.get("attempt") == self._attempt and word.get("state") == "trains"

    def _failure(self, other: Ear) -> StageError | None:
        word = other.word()
        if word.get("attempt") == self._attempt and word.get("state") == "failed":
            return StageError(
                f"machine {other.rank} failed: {word['error']}", where=word["where"], fix="the same command, on all"
                " machines, goes on from the last checkpoint", code=word.get("code") or "stage.machine_failed",
            )  # fmt: skip
        return None

    def _refuse_left(self, other: Ear) -> None:
        """Raise RunStateError where a machine of this start ended between two trainings."""
        word = other.word()
        of_this = word.get("job") == self._seat.job if self._seat.job else word.get("start") == other.alive
        if word.get("state") == "left" and of_this:
            raise RunStateError(
                f"machine {other.rank} has left: {word['error']}",
                where=word["where"],
                fix="the same command, on all machines, goes on from the last checkpoint",
                code="run.machine_left",
            )

    def _silence(self, other: Ear) -> StageError | None:
        if other.silent_s() > self._patience:
            return StageError(
                f"machine {other.rank} has given no sign of life for {self._patience:.0f} s",
                where=f"{self._paths.sign(other.rank)} does not change",
                fix="look whether it and its disk are there; the same command, on all machines, goes on from the last"
                " checkpoint",
                code="stage.machine_silent",
            )
        return None


@contextlib.contextmanager
def leading(paths: RunPaths, seat: Seat, nodes: int, patience: float, say: Say) -> Iterator[Leader]:
    """Lead the other machines through what is done inside; however that ends, they are told and end too."""
    lock = held(paths.node_lock(0), f"machine 0 of the run {paths.full_name}", heed=paths.stop_wish)
    with lock, Voice(paths, 0, seat.job, patience) as voice:
        voice.say("works")
        try:
            yield Leader(paths, seat, nodes, patience, voice, say)
        except AlphafError as error:
            voice.say("failed", error=error.what, exit_code=error.exit_code, code=error.code)
            raise
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt)
            what = "it was interrupted" if stopped else f"{type(error).__name__}"
            code = interrupted("", where="", fix="").exit_code if stopped else 1
            voice.say("failed", error=what, exit_code=code)
            raise
        voice.say("ended")


def on_node(argv: Sequence[str], node: Node, patience: float) -> tuple[str, ...]:
    """Return the launcher's argv for a machine: its rank, where all meet, how long torch waits for them there."""
    wanted = {
        "--machine_rank": str(node.rank),
        "--main_process_ip": node.address,
        "--main_process_port": str(node.port),
        "--rdzv_conf": f"timeout={max(1, round(patience))}",
    }
    found = list(argv)
    for option, value in wanted.items():
        if option in found:
            found[found.index(option) + 1] = value
        else:
            at = found.index("launch") + 1
            found[at:at] = [option, value]
    return tuple(found)


def _shared(stage: Stage, argv: Sequence[str]) -> list[Path]:
    """Return what every machine must see alike: the rendered files, the tokenised rows, a local base, a checkpoint."""
    found = list(stage.files)
    recipe: Mapping[str, Any] = stage.own_file.values if stage.own_file else {}
    named = [recipe.get("dataset_prepared_path"), recipe.get("base_model")]
    named += [word.partition("=")[2] for word in argv if word.startswith("--resume_from_checkpoint=")]
    return found + [Path(name) for name in named if name and Path(name).is_dir()]
