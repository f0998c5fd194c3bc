"""Launches a program and reads its last words: the files it reads, its progress, what its log says of a failure."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from alphaf_orch.core import signals
from alphaf_orch.core.cached import named, using
from alphaf_orch.core.command import Finished, child_env, run_logged
from alphaf_orch.core.disk import told_of_disk
from alphaf_orch.core.errors import AlphafError, DiskError, OutOfMemory, StageError
from alphaf_orch.core.progress import LogLine
from alphaf_orch.core.record import write_atomic
from alphaf_orch.core.render import Rendered
from alphaf_orch.core.warm import WarmLost, ask_no_more
from alphaf_orch.runs.tracebacks import HEADER, cause, oom_hint, without_launcher
from alphaf_orch.runs.watch.causes import explained
from alphaf_orch.runs.watch.memory import LESS, short_of

_EXCEPTION = re.compile(r"(\[rank\d+\]: )?[\w.]*(Error|Exception|Interrupt)\b")
_STOPPING = (
    "{}: asked to {} by {}: it gets {:.0f} s to end, a training to finish its step and keep a checkpoint;"
    " Ctrl-C {} ends it at once"
)
_CODE = re.compile(r"  code:  ([a-z]+\.[a-z0-9_]+)")
_STOPPED = re.compile(r".* was stopped by SIG")


def launch(
    argv: Sequence[str],
    line: LogLine,
    lock_fd: int,
    *,
    env: Mapping[str, str],
    files: Mapping[Path, Rendered] | None = None,
    online: bool = False,
    patience: float = 1.0,
    hurry: threading.Event | None = None,
    is_alphaf: bool = False,
    restarts: bool = True,
    watch: Callable[[], None] | None = None,
) -> Finished:
    """Return how the program ended, the files it reads written before and its progress shown by `line`.

    `env` goes over child_env's; `patience`, `hurry` and `is_alphaf` are those of run_logged. What the end means is
    for the caller to judge from what the program left: `exited` makes the error of it, `interruptible` that of Ctrl-C.
    What `watch` raises while it runs ends it. A warm parent that is lost is said, and the program started again, cold;
    without `restarts` WarmLost is raised, for the caller to see what the program left first.
    """
    write_files(files or {})
    child = child_env(env, online=online)

    def look() -> None:
        if watch:
            watch()
        line.poll()

    def run() -> Finished:
        return run_logged(
            argv, env=child, log=line.log, lock_fd=lock_fd, on_poll=look, patience=patience, hurry=hurry,
            is_alphaf=is_alphaf,
            on_cold=lambda reason: line.say(f"warm: {line.log.stem} starts cold: {reason}"),
            on_stop=lambda seconds: line.say(_stopping(line.log.stem, seconds)),
        )  # fmt: skip

    with line, using(named([argv, *(file.values for file in (files or {}).values())])):
        try:
            return run()
        except WarmLost:
            ask_no_more()
            line.say("warm: the warm parent ended; from here on programs start cold")
            if not restarts:
                raise
            return run()


def _stopping(name: str, seconds: float) -> str:
    wish = "make room" if signals.goes_on_later() else "stop"
    again = "again" if signals.asked_by() else "twice"
    return _STOPPING.format(name, wish, signals.name(), seconds, again)


def write_files(files: Mapping[Path, Rendered]) -> None:
    """Write what a program reads."""
    for path, rendered in files.items():
        write_atomic(path, rendered.text)


def exited(name: str, finished: Finished, log: Path, fix: str) -> AlphafError:
    """Return the error of a program by its exit code and the words its log ends with."""
    code = finished.exit_code
    ended = f"exited with {code}" if code >= 0 else f"was killed by signal {-code}"
    return failure(f"{name} {ended}{oom_hint(code)}", log, fix)


def failure(what: str, log: Path, fix: str) -> AlphafError:
    """Return the error of a program that failed, its log's words behind `what`: a DiskError where they are of a disk.

    Any other one is a StageError with the next step `fix`. It has the identifier that the program gave its own error.
    """
    told = said(log)
    known = explained(told.text, _last_words(log))
    disk = None if known and known.first else told_of_disk(told.text, log)
    if disk:
        return DiskError(f"{what}: {disk.what}", where=f"{disk.where}; log: {log}", fix=disk.fix, code=disk.code)
    of = short_of(told.text, killed=False)
    where = f"log: {log}"
    if of:
        short = f"{what}: the {of} has too little memory: {told.text}"
        return OutOfMemory(short, where=where, fix=LESS[of], code="stage.out_of_memory")
    code = told.code or "stage.program_failed"
    if known:
        return StageError(f"{what}: {known.what}: {told.text or known.words}", where=where, fix=known.fix, code=code)
    return StageError(f"{what}: {told.text or 'it said nothing'}", where=where, fix=fix, code=code)


class Said(NamedTuple):
    """What a program printed of its failure, and the identifier that it gave it; both may be empty."""

    text: str
    code: str = ""


def said(log: Path) -> Said:
    """Return what a tool's log says of a failure: our own `error:` block, else the cause that its exceptions name."""
    return said_of(_last_words(log))


def said_of(lines: Sequence[str]) -> Said:
    """Return what the lines that a program printed say of its failure, as `said` does of a log."""
    blocks = _own_errors(lines)
    whole = [block for block in blocks if "\n  next: " in block.text]
    stopped = [block for block in whole if _STOPPED.match(block.text)]
    # A rank that fails has the launcher stop the others, and each of them says so.
    own = [block for block in whole if block not in stopped] or ([] if whole else blocks[-1:])
    if own:
        return own[0]
    found = cause(lines)
    if found or stopped:
        return Said(found) if found else stopped[0]
    lines = [line for line in without_launcher(lines) if line.strip()]
    named = [n for n, line in enumerate(lines) if _EXCEPTION.match(line)]
    if not named:
        return Said(lines[-1].strip() if lines else "")
    # pydantic and torch say what is wrong in the lines behind the exception's name.
    return Said("\n".join(line.strip() for line in lines[named[-1] : named[-1] + 4]))


def was_stopped(log: Path) -> bool:
    """Return whether a training says that a signal stopped it, at a whole step of all its ranks."""
    return any(_STOPPED.match(block.text) for block in own_errors(log))


def own_errors(log: Path) -> list[Said]:
    """Return every `error:` block of the last program in a log, without that word: what, where, what next."""
    return _own_errors(_last_words(log))


def _own_errors(lines: Sequence[str]) -> list[Said]:
    return [_block(lines[n:]) for n, line in enumerate(lines) if line.startswith("error: ")]


def _last_words(log: Path) -> list[str]:
    """Return what the last program in the log printed; its command stands before it."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    start = max((i for i, line in enumerate(lines) if line.startswith("$ ")), default=-1)
    return [line.rstrip() for line in lines[start + 1 :]]


def _block(lines: Sequence[str]) -> Said:
    """Return our own block of three facts and its identifier; behind it the launcher and other ranks go on."""
    ours, code = [], ""
    for n, line in enumerate(lines):
        if not line.strip() or line.endswith(HEADER):
            break
        ours.append(line)
        if line.startswith("  next: "):
            # Between: more lines of what next, and the where and next of whoever passed the block on as its own.
            behind = itertools.takewhile(lambda each: each.startswith("  "), lines[n + 1 :])
            code = next((found[1] for found in map(_CODE.fullmatch, behind) if found), "")
            break
    return Said("\n".join(dict.fromkeys(ours)).removeprefix("error: "), code)
