"""How the jobs of a run are shown: where each runs and since when, or what it waits for, in a few words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from alphaf_orch.clusters.reasons import explained, meaning
from alphaf_orch.core.paths import RunPaths
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
    return f"{job['id'] or '-'}{': ' if job['reason'] else ''}{job['reason']}{again}"


def moment(text: str) -> str:
    """Return a time of day with its date as it is here; what is no time as it is."""
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%m-%d %H:%M")
    except ValueError:
        return text


def stages_words(run: Mapping[str, Any]) -> str:
    """Return the stages of a run that are not done; what waits for an earlier job is counted alone."""
    others = [job for job in run["jobs"] if job["stage"] not in run["stages"]]
    told, behind = [], 0
    for name, stage in (*run["stages"].items(), *((job["name"], {"job": job, **job}) for job in others)):
        if stage["state"] == "done":
            continue
        if stage["state"] == "queued" and stage["reason"] == "Dependency":
            behind += 1
            continue
        job = stage["job"] or {}
        where = f" on {job['nodes']}" if stage["state"] == "running" and job.get("nodes") else ""
        why = f" ({stage['reason']})" if stage["reason"] else ""
        told.append(f"{name} {stage['state']}{where}{why}")
    return ", ".join(told + ([f"{behind} behind queued"] if behind else []))


def requeue_lines(stage: str, requeues: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield when and why the last job of a stage was sent back to the queue, and what it goes on from."""
    for last in requeues[-1:]:
        kept = last.get("checkpoint")
        times = f", {len(requeues)} times so far" if len(requeues) > 1 else ""
        yield (
            f"{stage}: sent back to the queue {moment(str(last.get('at', '')))}{times}: {last.get('why', '')};"
            f" {f'goes on from {kept}' if kept else 'no checkpoint was there'}"
        )


def waiting_lines(stages: Mapping[str, Any], others: Sequence[Job], note: str | None) -> Iterator[str]:
    """Yield what waits and why, what became of jobs that make no stage, and what the scheduler did not say."""
    for name, each in (*stages.items(), *((job["name"], job) for job in others)):
        waits = each["state"] in ("queued", "requeued") and each["reason"] != "Dependency"
        if waits and meaning(each["reason"] or ""):
            yield f"{name}: {each['state']}: {explained(each['reason'])}"
    for job in others:
        why = "; ".join(filter(None, (explained(job["reason"]), job["why"])))
        if job["state"] not in ("done", *OPEN):
            yield f"{job['name']}: {why or job['state']}\n  output: {job['output']}"
    if note:
        yield f"jobs: {note}"


def state_words(found: Standing) -> str:
    """Return how a job stands, as a line that tells of a change: `sft: running on gpu-3 (job 12)`."""
    number = f"job {found.job_id}" if found.job_id else "no job"
    where = f" on {found.nodes}" if found.state == "running" and found.nodes else ""
    why = "; ".join(filter(None, (explained(found.reason), found.why)))
    return f"{found.job.name}: {found.state}{where} ({number}){': ' if why else ''}{why}"


class Changes:
    """Tells how jobs come on: each state once, what only waits for an earlier job not at all."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], tuple[str, ...]] = {}
        self._note = ""

    def lines(self, told: Told, label: Callable[[RunPaths], str]) -> Iterator[str]:
        """Yield a line for each job that stands otherwise than before, and one where a scheduler fell silent."""
        for paths, jobs in told.standings.items():
            for job in jobs:
                key, now = (job.job.run, job.job.name), (job.job_id, job.state, job.reason, job.nodes)
                begun = key in self._told
                if self._told.get(key) == now:
                    continue
                self._told[key] = now
                waits = job.state == "queued" and job.reason in ("", "Dependency")
                if not waits and job.state != "done" and (begun or job.open):
                    yield f"{label(paths)}{state_words(job)}"
        if told.note != self._note:
            self._note = told.note
            yield f"jobs: {told.note or 'the scheduler answers again'}"
