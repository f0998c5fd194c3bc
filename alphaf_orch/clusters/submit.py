"""Jobs handed to a scheduler, in order, each after what it waits for: all of them, or none."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from alphaf_orch.clusters.jobs import Job, levels
from alphaf_orch.clusters.pipelined import AnyScheduler, File, Pipelined, ready
from alphaf_orch.clusters.profiles import granted
from alphaf_orch.clusters.scheduler import JobState, Place, Scheduler, Searched
from alphaf_orch.clusters.submitted import Submitted, bare, read_events, read_submitted, write_submitted
from alphaf_orch.core.command import printable
from alphaf_orch.core.errors import AlphafError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import now, write_atomic
from alphaf_orch.settings.clusters import Profile

Say = Callable[[str], None]
AT_ONCE = 8  # ours: a call waits for the controller and for the disk; more of them would crowd a login node


def submit_jobs(
    jobs: Sequence[Job],
    profile: Profile,
    scheduler: AnyScheduler,
    paths_of: Callable[[str], RunPaths],
    place: Place,
    say: Say,
    *,
    on: str = "",
    known: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Write each job's file and record, hand it over, and return the ids by the jobs' keys.

    `paths_of` gives the paths of what a job's `run` names; `known` are ids, by key, of jobs handed over before that
    these may wait for: what a job waits for and is in neither is over. `on` is what `--on` said. Nothing is written
    before every file is made. Where a job is refused those of this call are taken back, and their records with them:
    raises the scheduler's error, saying so. One whose answer was lost is taken back too where the queue has it; where
    the queue does not tell its record stays, without an id.
    """
    if isinstance(scheduler, Pipelined):
        return _submit_files(jobs, profile, scheduler, paths_of, place, say, on=on, known=known or {})
    made = [
        [_Made(job, paths_of(job.run), *scheduler.script(job, profile, paths_of(job.run), place)) for job in level]
        for level in levels(jobs)
    ]
    ids, handed = dict(known or {}), dict[str, str]()
    before = {each.record: _text(each.record) for level in made for each in level}
    asked: dict[str, _Made] = {}  # handed over, and not answered yet

    def hand_over(each: _Made) -> None:
        after, behind = each.waits(ids)
        record = _record(each.job, profile, scheduler, on, after)
        write_atomic(each.script, each.text, lasting=False)  # the scheduler takes its own copy
        write_submitted(each.paths, record)
        asked[each.job.key] = each
        handed[each.job.key] = scheduler.submit(each.script, each.job, after, behind)
        del asked[each.job.key]
        write_submitted(each.paths, replace(record, job_id=handed[each.job.key]))

    keys = [each.job.key for level in made for each in level]
    try:
        for level in made:
            _at_once(hand_over, level)
            for each in level:
                say(f"{each.job.name}: submitted as job {handed[each.job.key]}{_told(*each.waits(ids))}")
            ids |= handed
    except (AlphafError, KeyboardInterrupt, OSError) as error:
        taken, doubt = _unanswered(list(asked.values()), scheduler)
        for each in asked.values() if doubt else ():
            del before[each.record]
        _put_back(before)
        ours = (*(handed[key] for key in keys if key in handed), *taken)
        raise _taken_back(error, scheduler, ours, doubt) from None
    return {key: handed[key] for key in keys}


def _at_once(hand_over: Callable[[_Made], None], level: Sequence[_Made]) -> None:
    """Hand over jobs that do not wait for each other; where one is refused, or Ctrl-C comes, those begun are ended."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [pool.submit(hand_over, each) for each in level]
        try:
            for each in futures:
                each.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _unanswered(asked: Sequence[_Made], scheduler: Scheduler) -> tuple[tuple[str, ...], str]:
    """Return the ids of jobs whose handing over ended in an error where the queue has them all the same.

    And what to say where that is not to be known. What was refused is looked for as well: one call more, of an error.
    """
    if not asked or not isinstance(scheduler, Searched):
        return (), ""
    try:
        return tuple(scheduler.by_script([each.script for each in asked]).values()), ""
    except AlphafError as problem:
        names = ", ".join(each.job.name for each in asked)
        return (), f"; {names} may be queued all the same ({problem.what}): the same command again finds out"


def _submit_files(
    jobs: Sequence[Job],
    profile: Profile,
    scheduler: Pipelined,
    paths_of: Callable[[str], RunPaths],
    place: Place,
    say: Say,
    *,
    on: str,
    known: Mapping[str, str],
) -> dict[str, str]:
    """Do what `submit_jobs` does with files of several jobs each; those that wait for others are told, not written."""
    now_, later = ready(scheduler.files(jobs, profile, paths_of, place), scheduler, known)
    handed: dict[str, str] = {}
    before = {path: _text(path) for file in now_ for job in file.jobs for path in [paths_of(job.run).job(job.name)]}
    try:
        for file in now_:
            write_atomic(file.path, file.text)
            records = {job.key: _record(job, profile, scheduler, on, ()) for job in file.jobs}
            for job in file.jobs:
                write_submitted(paths_of(job.run), records[job.key])
            ids = scheduler.hand_over(file)
            handed |= ids
            for job, before_it in zip(file.jobs, ((), *((ids[job.key],) for job in file.jobs)), strict=False):
                write_submitted(paths_of(job.run), replace(records[job.key], job_id=ids[job.key], after=before_it))
            _say_file(file, ids, scheduler, say)
    except (AlphafError, KeyboardInterrupt, OSError) as error:
        _put_back(before)
        raise _taken_back(error, scheduler, tuple(handed.values())) from None
    for file in later:
        say(f"{file.name}: wait for others; this same call submits them when those are over")
    return handed


def _say_file(file: File, ids: Mapping[str, str], scheduler: Pipelined, say: Say) -> None:
    if scheduler.submits:
        say(f"{file.name}: submitted as {', '.join(ids.values())}")
        return
    for argv in (*file.waits, file.command):
        say(printable(argv))


@dataclass(frozen=True)
class Live:
    """A job that waits or runs: of which run, its record, and what its scheduler says."""

    paths: RunPaths
    record: Submitted
    state: JobState

    @property
    def runs(self) -> bool:
        """Whether it has begun, and is not back in the queue."""
        return self.state.state == "running"

    def __str__(self) -> str:
        about = f" on {self.state.nodes}" if self.runs and self.state.nodes else ""
        why = f" ({self.state.reason})" if self.state.reason and not self.runs else ""
        return f"job {self.record.job_id}, {self.state.state}{about}{why}"


def live_jobs(every: Iterable[RunPaths], scheduler: Scheduler) -> dict[str, Live]:
    """Return the runs' jobs that wait or run, by key, as the scheduler says in one call for all.

    Nothing is asked where every job has written down that it ended well: what failed or was stopped the scheduler may
    have queued again by itself, where a machine failed. One whose id was lost, for alphaf was killed between handing it
    over and writing that down, is looked for in one call more. Raises ToolError where it does not answer.
    """
    open_ones = {
        f"{job.run}:{job.name}": (paths, job)
        for paths, job in _with_ids(every, scheduler)
        if job.job_id and not ended(paths, job)
    }
    if not open_ones:
        return {}
    states = scheduler.states(tuple(job.job_id for _, job in open_ones.values()))
    unknown = JobState("unknown")
    found = {key: Live(paths, job, states.get(job.job_id, unknown)) for key, (paths, job) in open_ones.items()}
    return {key: live for key, live in found.items() if live.state.state in ("queued", "running", "requeued")}


def _with_ids(every: Iterable[RunPaths], scheduler: Scheduler) -> list[tuple[RunPaths, Submitted]]:
    """Return the scheduler's jobs; an id that was lost and is found again is written down."""
    jobs = [(paths, job) for paths in every for job in read_submitted(paths) if job.scheduler == scheduler.name]
    if not isinstance(scheduler, Searched) or all(job.job_id for _, job in jobs):
        return jobs
    files = {index: paths.job_script(job.name, "sbatch") for index, (paths, job) in enumerate(jobs) if not job.job_id}
    found = scheduler.by_script(tuple(files.values()))
    for index, file in files.items():
        if file in found:
            paths, job = jobs[index]
            jobs[index] = (paths, replace(job, job_id=found[file]))
            write_submitted(*jobs[index])
    return jobs


def ended(paths: RunPaths, job: Submitted) -> bool:
    """Return whether a job has itself written down that it ended, and well."""
    mine = [event for event in read_events(paths, job.name) if event.job_id == bare(job.job_id)]
    return bool(mine) and (mine[-1].event, mine[-1].exit_code) == ("ended", 0)


@dataclass(frozen=True)
class _Made:
    job: Job
    paths: RunPaths
    script: Path
    text: str

    @property
    def record(self) -> Path:
        return self.paths.job(self.job.name)

    def waits(self, ids: Mapping[str, str]) -> tuple[list[str], list[str]]:
        """Return after which ids it comes, and behind which."""
        after, behind = ([ids[key] for key in keys if key in ids] for keys in (self.job.after, self.job.behind))
        return after, behind


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _record(job: Job, profile: Profile, scheduler: Scheduler, on: str, after: Sequence[str]) -> Submitted:
    return Submitted(
        run=job.run,
        name=job.name,
        scheduler=scheduler.name,
        job_id="",
        stage=job.stage,
        role=job.needs.role,
        profile=on,
        at=now(),
        by=who(),
        argv=job.argv,
        after=tuple(after),
        nodes=job.needs.nodes,
        gpus=granted(profile, job.needs).gpus,
        max_requeues=profile.max_requeues,
        planned=job.planned,
    )


def who() -> str:
    """Return who this is, `user@host`, as others are told."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in a container
        user = "?"
    return f"{user}@{socket.gethostname()}"


def _told(after: Sequence[str], behind: Sequence[str]) -> str:
    waits = [f"{word} {', '.join(ids)}" for word, ids in (("after", after), ("behind", behind)) if ids]
    return f", {' and '.join(waits)}" if waits else ""


def _put_back(before: Mapping[Path, str | None]) -> None:
    """Leave the records as they were: of jobs that are taken back nothing is told."""
    for path, text in before.items():
        if text is None:
            path.unlink(missing_ok=True)
        else:
            write_atomic(path, text)


def _taken_back(error: BaseException, scheduler: Scheduler, ids: tuple[str, ...], doubt: str = "") -> BaseException:
    """Cancel what was handed over and return the error that says so."""
    told = ""
    if ids:
        named = ", ".join(ids)
        try:
            scheduler.cancel(ids)
            told = f"; jobs {named}, submitted before it, are cancelled"
        except AlphafError as problem:
            told = f"; jobs {named}, submitted before it, could not be cancelled ({problem.what}): cancel them"
    if not isinstance(error, AlphafError):
        return error
    return type(error)(f"{error.what}{told}{doubt}", where=error.where, fix=error.fix, code=error.code)
