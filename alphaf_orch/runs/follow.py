"""A run or an experiment followed: the lines of its logs as they come, how its jobs stand, and whether more will come.

What is followed may be on this machine, on another one that shares the folder, or still in a scheduler's queue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from alphaf_orch.clusters.reasons import NEVER
from alphaf_orch.clusters.schedulers import scheduler_named
from alphaf_orch.clusters.submitted import bare
from alphaf_orch.core.calls import read_call
from alphaf_orch.core.errors import Interrupted, RunStateError, StageError
from alphaf_orch.core.names import named_folder
from alphaf_orch.core.paths import RunPaths, runs_dir
from alphaf_orch.core.record import read_manifest
from alphaf_orch.core.stamps import unstamped
from alphaf_orch.core.tail import Tail
from alphaf_orch.planning.stages import STAGE_ORDER
from alphaf_orch.runs.attach import Pulse
from alphaf_orch.runs.jobs import Answers, Named, Told, heard, known, read_all, with_arms
from alphaf_orch.runs.standing import Standing

# Whoever runs a cluster hates a `watch squeue` for each user: so often the scheduler is asked, ours.
ASK_S = 10.0
_SOONER = 3
_FILES_S = 2.0  # what jobs write down of themselves is read more often: no scheduler knows of it
OWN = "alphaf"  # the log of what alphaf itself said


def root_of(name: str) -> RunPaths:
    """Return the folder of a run, an experiment or an arm (EXPERIMENT/ARM); raise RunStateError where there is none."""
    root = runs_dir()
    for part in name.split("/"):
        root = named_folder(root, part)
    if not root.is_dir():
        raise RunStateError(
            f"there is no run {name}", where=str(root), fix="`alphaf runs` lists what there is", code="run.not_found"
        )
    return RunPaths(root)


def awaits_word(job: Standing) -> bool:
    """Return whether a job said that it ended badly, and only the scheduler knows whether it was queued again."""
    return job.doubtful or (job.state == "failed" and not job.heard and not job.reason.startswith(NEVER))


def may_go_on(job: Standing) -> bool:
    """Return whether more is to be waited for of a job."""
    return job.open or awaits_word(job)


class JobWatch:
    """How the jobs stand of runs that may become more; the scheduler is asked every `every_s` seconds at most."""

    def __init__(
        self, places: Callable[[], list[RunPaths]], every_s: float = ASK_S, named: Named = scheduler_named
    ) -> None:
        self._places, self._every_s, self._named = places, every_s, named
        self._asked = self._read = float("-inf")
        self._answers: Answers = {}
        self._note = ""
        self._events: dict[tuple[str, str], int] = {}  # by job, how many there were when it was asked about
        self._told = Told()

    def look(self) -> Told:
        """Return how the jobs stand; what one wrote down since the scheduler was asked counts more than its answer."""
        now = time.monotonic()
        if now - self._read < min(_FILES_S, self._every_s):
            return self._told
        kept = read_all(self._places())
        counts = {(job.scheduler, job.job_id): len(events) for found in kept.values() for job, events in found}
        if now - self._asked < self._every_s:
            found = known(kept, self._fresh(counts), self._note)
            # What may be the end is asked about sooner.
            if not any(awaits_word(job) for job in found.all()) or now - self._asked < self._every_s / _SOONER:
                self._told, self._read = found, time.monotonic()
                return found
        self._answers, self._note = heard(kept, self._named, failed=True)
        self._asked, self._events = time.monotonic(), counts
        self._told, self._read = known(kept, self._answers, self._note), time.monotonic()
        return self._told

    def _fresh(self, counts: Mapping[tuple[str, str], int]) -> Answers:
        return {key: said for key, said in self._answers.items() if counts.get(key) == self._events.get(key)}


class Following:
    """The logs of a run, or of an experiment and its arms, from where `begin` says each begins."""

    def __init__(
        self,
        root: RunPaths,
        stage: str = "",
        begin: Callable[[RunPaths], int] = lambda _: 0,
        *,
        every_s: float = ASK_S,
        named: Named = scheduler_named,
    ) -> None:
        self.root, self._stage, self._begin = root, stage, begin
        self._tails: dict[RunPaths, Tail] = {}
        self._pulses: dict[RunPaths, Pulse] = {}
        self._watch = JobWatch(self.places, every_s, named)

    def places(self) -> list[RunPaths]:
        """Return the folder, and those of an experiment's arms that there are by now."""
        return with_arms(self.root.root)

    def look(self) -> Told:
        """Return how the jobs stand."""
        return self._watch.look()

    def logs(self) -> set[str]:
        """Return by which names a log may be asked for: alphaf's own, those of stages, of jobs, and all there are."""
        names = {OWN, *STAGE_ORDER}
        for paths in self.places():
            names |= {path.stem for path in (*paths.all_logs(), *paths.all_jobs())}
        return names

    def label(self, paths: RunPaths) -> str:
        """Return what stands before a line of an arm; nothing before one of the run or the experiment itself."""
        return "" if paths == self.root else f"[{paths.name}] "

    def lines(self, *, over: bool = False) -> Iterator[tuple[str, str]]:
        """Yield what is new, each line with what stands before it; where all is over, half a line too."""
        for paths in self.places():
            tail = self._tails.get(paths)
            if tail is None:
                tail = self._tails[paths] = Tail(log_of(paths, self._stage), self._begin(paths))
            for line in whole(tail) if over else tail.new():
                if paths != self.root or not self._of_an_arm(line):
                    yield self.label(paths), line

    def begun(self) -> tuple[str, str]:
        """Return the line that is not at its end, where one log alone is followed."""
        tails = [(self.label(paths), tail.begun()) for paths, tail in self._tails.items()]
        return tails[0] if len(tails) == 1 else ("", "")

    def over(self, told: Told) -> bool:
        """Return whether nothing more will come: nobody works on it, and no job waits or runs."""
        places = self.places()
        if self._stage and all(stage_done(paths, self._stage, told) for paths in places if paths.manifest.is_file()):
            return any(paths.manifest.is_file() for paths in places)
        if any(map(may_go_on, told.all())):
            return False
        return not any(list(map(self._works, places)))  # each pulse is felt every time

    def _works(self, paths: RunPaths) -> bool:
        call = read_call(paths.log(OWN))
        pulse = self._pulses.get(paths)
        if call and (pulse is None or pulse.call.holder != call.holder):
            pulse = self._pulses[paths] = Pulse(call)
        return pulse is not None and not pulse.stopped()

    def _of_an_arm(self, line: str) -> bool:
        """Return whether a line of an experiment repeats one of an arm that has a log of its own."""
        line = unstamped(line)
        name, behind, _ = line.removeprefix("[").partition("] ")
        return line.startswith("[") and bool(behind) and self.root.arm(name).log(OWN).is_file()


def whole(tail: Tail) -> Iterator[str]:
    """Yield what is new of a log to which nothing is added any more: half a line is one."""
    yield from tail.new()
    yield from filter(None, [tail.rest()])


def log_of(paths: RunPaths, stage: str) -> Path:
    """Return the log of a stage, else what alphaf itself said; of a job without a log what the scheduler kept."""
    log = paths.log(stage or OWN)
    makes_none = stage and stage not in STAGE_ORDER and not log.is_file() and paths.job(stage).is_file()
    return paths.job_output(stage) if makes_none else log


def stage_done(paths: RunPaths, stage: str, told: Told) -> bool:
    """Return whether a stage is done and no job is to make it anew."""
    entry: Mapping[str, object] = read_manifest(paths.manifest)["stages"].get(stage, {})
    jobs = [job for job in told.standings.get(paths, ()) if stage in (job.job.stage, job.job.name)]
    return entry.get("state") == "done" and not any(job.open for job in jobs)


def unheard(paths: RunPaths, told: Told) -> Iterator[Standing]:
    """Yield the jobs that ended badly before alphaf held the run: only the scheduler's file has what they printed."""
    call = read_call(paths.log(OWN))
    for job in told.standings.get(paths, ()):
        worked = bool(call and job.job_id and call.holder.job.endswith(f" {bare(job.job_id)}"))
        if job.state not in ("done", "cancelled") and not job.open and not job.reason.startswith(NEVER) and not worked:
            output = paths.job_output(job.job.name)
            if output.is_file() and output.stat().st_size:
                yield job


def begins(paths: RunPaths) -> int:
    """Return where in alphaf's own log the call begins that works now; where none does, its end."""
    log = paths.log(OWN)
    call = read_call(log)
    if call and call.exit_code is None and not Pulse(call).stopped():
        return call.begins
    return log.stat().st_size if log.is_file() else 0


def code_of(jobs: Sequence[Standing], *, arms: bool) -> int:
    """Return what a call here would have ended with: the first job's code that did not end well, in their order.

    An experiment whose arms failed ends as it does here, whatever they ended with.
    """
    causes = [job for job in jobs if job.state != "done" and not job.reason.startswith(NEVER)]
    bad = causes or [job for job in jobs if job.state != "done"]
    if not bad:
        return 0
    stopped = bad[0].state in ("cancelled", "interrupted")
    if arms and not stopped:
        return StageError.exit_code
    return bad[0].exit_code or (Interrupted.exit_code if stopped else StageError.exit_code)
