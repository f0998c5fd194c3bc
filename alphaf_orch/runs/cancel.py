"""Ends what works, or is to, on a run or an experiment: its jobs at the scheduler, and whoever holds it elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from alphaf_orch.clusters.schedulers import scheduler_named
from alphaf_orch.clusters.submit import Live, live_jobs, who
from alphaf_orch.clusters.submitted import bare, cancelled, note, read_submitted
from alphaf_orch.core.errors import RunStateError, ToolError
from alphaf_orch.core.holder import SILENT_S, Holder, Signs, holder_of
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.stop import forget, read_wish, wish

_POLL_S = 0.5
_SAID_AGAIN_S = 30.0
# What a stage gets after a wish to stop (core.patience: 60, 30 and 30 s), an experiment thrice for its arms.
_WAIT_S = 400.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Working:
    """A process that holds a lock of a run, and the signs of life that it gives elsewhere."""

    paths: RunPaths
    lock: Path
    holder: Holder
    signs: Signs

    def gone(self) -> bool:
        """Return whether it has let go or is dead: one on another machine touches its lock every few seconds."""
        if holder_of(self.lock) != self.holder:
            return True
        if self.holder.is_here():
            return self.holder.lives(0) is False
        return self.signs.silent_s() > SILENT_S


def folders(paths: RunPaths) -> list[RunPaths]:
    """Return a run itself, or an experiment and its arms."""
    arms = sorted(paths.root.iterdir()) if paths.experiment.is_file() else ()
    return [paths, *(RunPaths(arm) for arm in arms if arm.is_dir() and (RunPaths(arm).jobs.is_dir() or _begun(arm)))]


def _begun(arm: Path) -> bool:
    return RunPaths(arm).manifest.is_file() or RunPaths(arm).lock.is_file()


def cancel_jobs(every: Sequence[RunPaths], by: str) -> list[Live]:
    """Have the jobs that wait or run ended, in one call of their scheduler, and return them.

    `by` is written into what the jobs wrote down. Raises ToolError where the scheduler does not answer, or
    may not end one of them.
    """
    found: list[Live] = []
    for name in sorted({job.scheduler for paths in every for job in read_submitted(paths)}):
        scheduler = scheduler_named(name)
        live = live_jobs(every, scheduler)
        if live:
            try:
                scheduler.cancel([each.record.job_id for each in live.values()])
            except ToolError as error:
                raise _said_whose(error, live.values()) from None
        for each in live.values():
            note(each.paths, each.record.name, cancelled(each.record, by))
        found += live.values()
    return found


def _said_whose(error: ToolError, live: Iterable[Live]) -> ToolError:
    """Return the error of a scheduler that did not cancel, with whose the jobs are where they are not all one's own."""
    me = who().partition("@")[0]
    others = sorted({each.record.by for each in live} - {""})
    if all(by.partition("@")[0] == me for by in others):
        return error
    fix = f"jobs of {', '.join(others)} are cancelled by whoever submitted them, or by an administrator"
    return ToolError(error.what, where=error.where, fix=fix, code=error.code)


def working(every: Iterable[RunPaths], cancelled: Iterable[Live]) -> list[Working]:
    """Return who holds a lock and is part of none of the jobs that were cancelled: the scheduler ends those.

    Of an experiment that is held itself the arms are left to it: it stops them.
    """
    jobs = {f"Slurm job {bare(each.record.job_id)}" for each in cancelled}
    found: list[Working] = []
    for paths in every:
        locks = [paths.submission_lock, paths.lock, paths.eval_lock, paths.answers_lock]
        locks += [each / ".lock" for each in paths.judgings()]
        for lock in locks:
            holder = holder_of(lock)
            if holder and holder.host and holder.job not in jobs and not (holder.is_here() and not holder.lives(0)):
                found.append(Working(paths, lock, holder, Signs(lock)))
        if found and paths.experiment.is_file() and found[-1].paths == paths:
            break
    return found


def stop(found: Sequence[Working], by: str, say: Say) -> None:
    """Wish that those who work stop, and wait until they have; raise RunStateError where one does not in its time."""
    begun = said = time.monotonic()
    wishes = {each.paths.stop_wish for each in found}
    left = list(found)
    for path in wishes:
        wish(path, "stop", by)
    while left:
        for path in {each.paths.stop_wish for each in left}:
            if read_wish(path) is None:  # one that ended took it away from another
                wish(path, "stop", by)
        if time.monotonic() - said > _SAID_AGAIN_S:
            said = time.monotonic()
            say(f"still waits for {', '.join(str(each.holder) for each in left)}")
        if time.monotonic() - begun > _WAIT_S:
            raise RunStateError(
                f"still at work after {_WAIT_S:.0f} s: {', '.join(str(each.holder) for each in left)}",
                where=", ".join(str(each.lock) for each in left),
                fix="it was asked to stop and may do so yet; else end that process on its machine"
                + "".join(f" (kill {each.holder.pid})" for each in left if each.holder.is_here()),
                code="run.still_at_work",
            )
        time.sleep(_POLL_S)
        left = [each for each in left if not each.gone()]
    for path in wishes:
        found_wish = read_wish(path)
        if found_wish and found_wish.why == by:
            forget(path)


def refuse_folder_of_others(each: Working) -> None:
    """Raise RunStateError where this user may not write into the folder of who works: the wish could not be put."""
    folder = each.paths.root
    if os.access(folder, os.W_OK):
        return
    try:
        owner = folder.owner()
    except KeyError:  # a number without a name
        owner = f"user {folder.stat().st_uid}"
    raise RunStateError(
        f"what works on {each.paths.full_name} cannot be asked to stop: you may not write into its folder",
        where=str(folder),
        fix=f"{owner} can: it is asked by a file there; at work is {each.holder}",
        code="run.not_permitted",
    )
