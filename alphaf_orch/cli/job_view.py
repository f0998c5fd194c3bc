"""How the jobs of a run are shown: where each runs and since when, or what it waits for, in a few words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from alphaf_orch.clusters.reasons import NEVER, explained, meaning
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.spoken import spoken
from alphaf_orch.runs.jobs import Told
from alphaf_orch.runs.standing import OPEN, Standing

Job = Mapping[str, Any]


def job_words(job: Job) -> str:
    """Return which job it is and where it stands: `12 on gpu-3 since 11-26 03:04`, `12: Priority`."""
    state = job["state"]
    again = f", requeued {job['requeues']}x" if job["requeues"] else ""
    if state == "running":
        where = f" on {job['nodes']}" if job["nodes"] else ""
        return f"{job['id']}{where} since {moment(job['since'])}{again}"
    # The word is Slurm's for the minutes that it leaves between two tries; why there is another one stands below.
    reason = "begins again in some minutes" if (state, job["reason"]) == ("requeued", "BeginTime") else job["reason"]
    return f"{job['id'] or '-'}{': ' if reason else ''}{reason}{again}"


def moment(text: str) -> str:
    """Return a time of day with its date as it is here; what is no time as it is."""
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%m-%d %H:%M")
    except ValueError:
        return text


def stages_words(run: Mapping[str, Any]) -> str:
    """Return the stages of a run that are not done; of those that wait, or never begin, for one reason the first."""
    others = stageless(run)
    told: dict[tuple[str, str], list[str]] = {}
    for name, stage in (*run["stages"].items(), *((job["name"], {"job": job, **job}) for job in others)):
        if stage["state"] == "done":
            continue
        job = stage["job"] or {}
        where = f" on {job['nodes']}" if stage["state"] == "running" and job.get("nodes") else ""
        why = f" ({stage['reason']})" if stage["reason"] else ""
        alike = stage["state"] in ("queued", "cancelled", "unknown") or stage["reason"] == NEVER
        told.setdefault((f"{stage['state']}{where}{why}", "" if alike else name), []).append(name)
    more = {1: ""}
    return ", ".join(
        f"{names[0]}{more.get(len(names), f' and {len(names) - 1} more')} {spoken(state)}"
        for (state, _), names in told.items()
    )


def requeue_lines(stage: str, state: str, requeues: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield when and why the last job of a stage was to go back to the queue, and what is gone on from.

    Whether it came there its state tells: it may have been cancelled meanwhile, or Slurm did not take it back.
    """
    for last in requeues[-1:]:
        kept, at, why = last.get("checkpoint"), moment(str(last.get("at", ""))), last.get("why", "")
        if state in ("interrupted", "cancelled"):
            yield (
                f"{stage}: stopped {at} for {why}, {f'{kept} kept' if kept else 'without a checkpoint'};"
                " it is not in the queue: the same command goes on"
            )
            continue
        times = f", {len(requeues)} times so far" if len(requeues) > 1 else ""
        yield (
            f"{stage}: sent back to the queue {at}{times}: {why};"
            f" {f'goes on from {kept}' if kept else 'no checkpoint was there'}"
        )


def waiting_lines(stages: Mapping[str, Any], others: Sequence[Job], note: str | None) -> Iterator[str]:
    """Yield what waits and why, what became of jobs that make no stage, and what the scheduler did not say."""
    waits: dict[str, list[Job]] = {}
    for each in (*(stage["job"] for stage in stages.values() if stage["job"]), *others):
        if each["state"] in ("queued", "requeued") and each["reason"] != "Dependency" and meaning(each["reason"]):
            waits.setdefault(each["reason"], []).append(each)
    for reason, jobs in waits.items():
        said = explained(reason, job_id=",".join(job["id"] for job in jobs))
        yield f"{', '.join(job['name'] for job in jobs)}: {jobs[0]['state']}: {said}"
    yield from failed_lines(others)
    if note:
        yield f"jobs: {note}"


def failed_lines(others: Sequence[Job]) -> Iterator[str]:
    """Yield what became of jobs that make no stage and did not end well, and where they printed it."""
    for job in others:
        if job["state"] not in ("done", *OPEN):
            why = explained(job["reason"], job["why"])
            yield f"{job['name']}: {why or job['state']}\n  output: {job['output']}"


def stageless(run: Mapping[str, Any]) -> list[Job]:
    """Return the jobs of a run that make no stage of it."""
    return [job for job in run.get("jobs", ()) if job["stage"] not in run["stages"]]


def error_lines(stages: Mapping[str, Any]) -> Iterator[str]:
    """Yield why stages are not done, and where more of it stands; those that never begin for one reason together."""
    errors: dict[str, list[str]] = {}
    for name, stage in stages.items():
        if stage["error"]:
            kept = (stage["log"], stage["job"]["output"] if stage["job"] else "")
            log = next((path for path in kept if path and Path(path).is_file()), "")
            errors.setdefault(stage["error"] + (f"\n  log: {log}" if log else ""), []).append(name)
    yield from (f"{', '.join(names)}: {error}" for error, names in errors.items())


def state_words(found: Standing) -> str:
    """Return how a job stands, as a line that tells of a change: `sft: running on gpu-3 (job 12)`."""
    number = f"job {found.job_id}" if found.job_id else "no job"
    where = f" on {found.nodes}" if found.state == "running" and found.nodes else ""
    # What alphaf itself ended with, it has said.
    why = "" if found.reason.startswith("exit code") else found.why.partition("\n")[0]
    said = explained(found.reason, why, found.job_id or "ID")
    return f"{found.job.name}: {found.state}{where} ({number}){': ' if said else ''}{said}"


class Changes:
    """Tells how jobs come on: each state once, what only waits for an earlier job not at all."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], tuple[str, ...]] = {}
        self._note = ""

    def lines(self, told: Told, label: Callable[[RunPaths], str]) -> Iterator[str]:
        """Yield a line for each job that stands otherwise than before, and one where a scheduler fell silent."""
        for paths, jobs in told.standings.items():
            never: dict[str, list[str]] = {}
            for job in jobs:
                key, now = (job.job.run, job.job.name), (job.job_id, job.state, job.reason, job.nodes)
                begun = key in self._told
                if self._told.get(key) == now:
                    continue
                self._told[key] = now
                waits = job.state == "queued" and job.reason in ("", "Dependency")
                if job.reason.startswith(NEVER) and begun:
                    never.setdefault(explained(job.reason, job.why), []).append(job.job.name)
                elif not waits and job.state != "done" and (begun or job.open):
                    yield f"{label(paths)}{state_words(job)}"
            yield from (f"{label(paths)}{', '.join(names)}: {why}" for why, names in never.items())
        if told.note != self._note:
            self._note = told.note
            yield f"jobs: {told.note or 'the scheduler answers again'}"
