"""What squeue and sacct say of jobs, as values."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from alphaf_orch.clusters.reasons import NEVER
from alphaf_orch.clusters.scheduler import JobState, State

# squeue -O: each field with its width (what is longer is cut off) and what stands behind it.
_QUEUE = ("JobID:32", "State:32", "Reason:256", "RestartCnt:16", "exit_code:32", "SubmitTime:32", "StartTime:32", "EndTime:32", "NodeList:4096")  # fmt: skip  # noqa: E501
# Of whoever asks, what has not ended: so it is where no state is said. %o is the file that sbatch was given.
MINE_QUESTION = ("squeue", "--me", "--noheader", "--all", "--format=%A|%o")
_ACCOUNTS = ("JobIDRaw", "State", "Reason", "ExitCode", "Submit", "Start", "End", "NodeList")
_ENDED: dict[str, State] = {"COMPLETED": "done", "CANCELLED": "cancelled", "REVOKED": "cancelled"}
_FAILED = ("FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "BOOT_FAIL", "DEADLINE", "LAUNCH_FAILED")
_AGAIN = ("REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT")
_SAYS_NOTHING = ("", "None", "NonZeroExitCode", "(null)")


def queue_question(ids: Sequence[str]) -> tuple[str, ...]:
    """Return the call of squeue that tells of all these jobs, those that ended minutes ago included."""
    fields = ",".join(f"{field}|" for field in _QUEUE)
    return ("squeue", "--noheader", "--all", "--states=all", f"--jobs={','.join(ids)}", f"--Format={fields}")


def accounts_question(ids: Sequence[str]) -> tuple[str, ...]:
    """Return the call of sacct that tells of all these jobs, each as a whole, as its last start went."""
    fields = f"--format={','.join(_ACCOUNTS)}"
    return ("sacct", "--noheader", "--allocations", "--parsable2", f"--jobs={','.join(ids)}", fields)


def queued(text: str) -> Iterator[tuple[str, JobState]]:
    """Return the jobs that squeue told of, by id; a line that is none of them says nothing."""
    for fields in _fields(text, len(_QUEUE) + 1):
        number, state, reason, restarts, code, submitted, started, ended, nodes, _ = fields
        yield number, _state(state, reason, _wait_status(code), nodes, (submitted, started, ended), _count(restarts))


def accounted(text: str) -> Iterator[tuple[str, JobState]]:
    """Return the jobs that sacct told of, by id."""
    for number, state, reason, code, submitted, started, ended, nodes in _fields(text, len(_ACCOUNTS)):
        yield number, _state(state, reason, _code_signal(code), nodes, (submitted, started, ended), 0)


def _fields(text: str, count: int) -> Iterable[list[str]]:
    rows = ([field.strip() for field in line.split("|")] for line in text.splitlines())
    return (row for row in rows if len(row) == count and row[0].isdecimal())


def _state(
    said: str, reason: str, ended: tuple[int, int] | None, nodes: str, times: tuple[str, str, str], restarts: int
) -> JobState:
    word, _, more = said.partition(" ")  # CANCELLED by 1000
    word = word.rstrip("+")
    reason = "" if reason in _SAYS_NOTHING else reason
    nodes = "" if nodes in ("None assigned", "(null)") else nodes
    submitted, started, over = (_time(text) for text in times)
    code, signal = ended or (None, 0)
    if word == "CANCELLED" and reason == NEVER:
        return JobState("failed", NEVER, "", over, restarts)
    if word in _ENDED:
        # Of a job that was cancelled squeue keeps the reason that it waited for.
        return JobState(_ENDED[word], _by(more), nodes, over, restarts, code if word == "COMPLETED" else None)
    if word in _FAILED:
        return JobState("failed", _failure(word, reason, code, signal), nodes, over, restarts, code)
    if word in _AGAIN or (word == "PENDING" and restarts):
        return JobState("requeued", reason or ("" if word == "PENDING" else word), "", submitted, restarts)
    if word == "PENDING":
        return JobState("queued", reason, "", submitted, restarts)
    return JobState("running", "" if word == "RUNNING" else word, nodes, started, restarts)


def _failure(word: str, reason: str, code: int | None, signal: int) -> str:
    if word != "FAILED":
        return word
    if signal:
        return f"signal {signal}"
    return reason or (f"exit code {code}" if code else word)


def _wait_status(text: str) -> tuple[int, int] | None:
    """Return code and signal of squeue's number, which is a status as wait(2) gives it; newer ones may say 7:0."""
    if not text.isdecimal():
        return _code_signal(text)
    return int(text) >> 8 & 0xFF, int(text) & 0x7F


def _code_signal(text: str) -> tuple[int, int] | None:
    found = re.fullmatch(r"(\d+):(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def _count(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _by(text: str) -> str:
    """Return who cancelled a job: `by 1000` with the user's name, where this machine knows it."""
    found = re.fullmatch(r"by (\d+)", text)
    if not found:
        return ""
    with contextlib.suppress(KeyError):
        return f"by {pwd.getpwuid(int(found[1])).pw_name}"
    return "by you" if int(found[1]) == os.getuid() else f"by user {found[1]}"


def _time(text: str) -> str:
    """Return a time as records have it, ISO 8601 in UTC; empty for one that is not known."""
    if not text.isdecimal() or text == "0":
        return ""
    try:
        return datetime.fromtimestamp(int(text), UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return ""
