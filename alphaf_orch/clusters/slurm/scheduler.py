"""Slurm by its own commands: sbatch, squeue, sacct, scancel."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from alphaf_orch.clusters.jobs import Job
from alphaf_orch.clusters.scheduler import JobState, Place
from alphaf_orch.clusters.slurm.asking import CANCEL_S, LOOK_S, SUBMIT_S, called, in_words, require_command
from alphaf_orch.clusters.slurm.script import script
from alphaf_orch.clusters.slurm.states import MINE_QUESTION, accounted, accounts_question, queue_question, queued
from alphaf_orch.clusters.submitted import bare
from alphaf_orch.core.command import Answer
from alphaf_orch.core.errors import ToolError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.settings.clusters import Profile

_ID = re.compile(r"^(\d+)(;[\w.-]+)?$", re.MULTILINE)
# squeue and scancel, of a job that the controller has forgotten, or that is over.
_FORGOTTEN = ("Invalid job id specified", "already completing or completed")
# The user's settings for sbatch that an option of the script is to go before, though Slurm has it otherwise.
_SETTINGS = {"--account": "SBATCH_ACCOUNT", "--partition": "SBATCH_PARTITION", "--qos": "SBATCH_QOS"}


class Slurm:
    """Slurm as its commands are found on the PATH; an id is `123`, or `123;CLUSTER` where sbatch says which."""

    name = "slurm"

    def require(self) -> None:
        """Raise ToolError where sbatch is not on the PATH."""
        require_command("sbatch")

    def script(self, job: Job, profile: Profile, paths: RunPaths, place: Place) -> tuple[Path, str]:
        """Return the sbatch file of a job, and where it belongs; raise ConfigError for what Slurm could not take."""
        return paths.job_script(job.name, "sbatch"), script(job, profile, paths, place)

    def command(self, script: Path, job: Job, after: Sequence[str], behind: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002
        """Return the call of sbatch that hands the job over."""
        waits = [
            f"{kind}:{':'.join(map(bare, ids))}" for kind, ids in (("afterok", after), ("afterany", behind)) if ids
        ]
        return ("sbatch", "--parsable", *([f"--dependency={','.join(waits)}"] if waits else []), str(script))

    def submit(self, script: Path, job: Job, after: Sequence[str], behind: Sequence[str]) -> str:
        """Call sbatch and return the id that it says; raise ToolError in its words where it refuses."""
        argv = self.command(script, job, after, behind)
        text = script.read_text(encoding="utf-8")
        said = [variable for option, variable in _SETTINGS.items() if f"#SBATCH {option}" in text]
        found = called(argv, SUBMIT_S, said)
        number = _ID.search(found.output)
        if found.exit_code == 0 and number:
            return number[0]
        raise ToolError(
            f"Slurm did not take the job {job.key}: {in_words(found)}",
            where=str(script),
            fix=_next(found, job),
            code="tool.job_refused",
        )

    def states(self, ids: Sequence[str]) -> Mapping[str, JobState]:
        """Return what squeue says of the jobs, and sacct of those that have left the queue."""
        found: dict[str, JobState] = {}
        for cluster, those in _by_cluster(ids):
            known = dict(queued(_told(queue_question([*those]), cluster)))
            left = [number for number in those if number not in known]
            if left:
                known |= dict(accounted(_accounts(accounts_question(left), cluster)))
            found |= {name: known.get(number, JobState("unknown")) for number, name in those.items()}
        return found

    def by_script(self, scripts: Sequence[Path]) -> Mapping[Path, str]:
        """Return what squeue says of the user's jobs that have not ended, by the files that sbatch was given."""
        meant = {os.path.realpath(script): script for script in scripts}
        rows = (line.partition("|") for line in _told(MINE_QUESTION, "").splitlines())
        found = ((meant.get(os.path.realpath(file)), number) for number, _, file in rows if number.isdecimal())
        return {script: number for script, number in found if script}

    def cancel(self, ids: Sequence[str]) -> None:
        """Call scancel; raise ToolError in its words where it may not, or cannot."""
        for cluster, those in _by_cluster(ids):
            found = called(("scancel", *_of(cluster), *those), CANCEL_S)
            complaints = [line for line in found.errors.splitlines() if not any(text in line for text in _FORGOTTEN)]
            if complaints:
                raise ToolError(
                    f"Slurm did not cancel every job: {in_words(Answer(1, '', chr(10).join(complaints)))}",
                    where=f"scancel {' '.join(those)}",
                    fix="see `squeue --me`, and cancel by hand what is left",
                    code="tool.cancel_refused",
                )


def _told(argv: tuple[str, ...], cluster: str) -> str:
    found = called((argv[0], *_of(cluster), *argv[1:]), LOOK_S)
    if found.exit_code and not any(text in found.errors for text in _FORGOTTEN):
        raise ToolError(
            f"Slurm does not answer: {in_words(found)}",
            where=argv[0],
            fix="try again when `sinfo` answers",
            code="tool.no_answer",
        )
    return found.output


def _accounts(argv: tuple[str, ...], cluster: str) -> str:
    """Return what sacct says; nothing where the site keeps no accounts, or they do not answer: the queue did."""
    try:
        return called((argv[0], *_of(cluster), *argv[1:]), LOOK_S).output
    except ToolError:
        return ""


def _by_cluster(ids: Iterable[str]) -> list[tuple[str, dict[str, str]]]:
    """Return the clusters, empty for the one that is meant where none is named, each with its numbers and their ids."""
    parts = sorted((name.partition(";")[2], bare(name), name) for name in ids)
    return [
        (cluster, {number: name for _, number, name in those})
        for cluster, those in itertools.groupby(parts, key=lambda part: part[0])
    ]


def _of(cluster: str) -> tuple[str, ...]:
    return (f"--clusters={cluster}",) if cluster else ()


def _next(found: Answer, job: Job) -> str:
    if "timed out" in found.errors:
        return (
            f"it may have been queued all the same: look at `squeue --me --name={job.key}` before it is submitted again"
        )
    return "mend the profile (account, partition, QOS, time, GPUs), and submit again"
