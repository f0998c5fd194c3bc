"""The lines `#SBATCH` of a job, as Slurm reads them: every value quoted for it, what it would misread refused."""

from __future__ import annotations

import re

from alphaf_orch.clusters.jobs import Job
from alphaf_orch.clusters.limits import seconds
from alphaf_orch.clusters.profiles import granted
from alphaf_orch.clusters.scheduler import Place
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.settings.clusters import Profile

_MEMORY = re.compile(r"\d+([KMGT]B?)?$", re.IGNORECASE)  # sbatch(1), --mem: megabytes where no unit is said
_MOST_SIGNAL_S = 65535  # sbatch(1), --signal
# Where it is submitted, of whoever does it: shells and caches need them. --export=NONE takes no names beside it.
_PASSED_ON = ("HOME", "USER", "LOGNAME", "LANG")


def header(job: Job, profile: Profile, paths: RunPaths, place: Place) -> str:
    """Return the lines; raise ConfigError for a value that Slurm does not take or would take for another one."""
    given = granted(profile, job.needs)
    options = {
        "job-name": job.key,
        "account": profile.account,
        "partition": given.partition,
        "qos": given.qos,
        "nodes": given.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": given.cpus,
        **_gpus(profile.gres, given.gpus),
        "mem": _memory(given.memory, job),
        "time": given.time,
        "signal": f"B:USR1@{before}" if (before := asked_before(profile, job)) else None,
        "requeue": "",
        "open-mode": "append",
        "output": output_pattern(str(paths.job_output(job.name))),
        "chdir": place.folder,
        "export": ",".join((*_PASSED_ON, *profile.env)),
        "kill-on-invalid-dep": "yes",
    }
    lines = [_line(name, value) for name, value in options.items() if value is not None]
    return "\n".join([*lines, *(_extra(line) for line in given.extra)])


def asked_before(profile: Profile, job: Job) -> int:
    """Return how many seconds before its limit a job is asked to make room, 0 for never.

    Of a short limit it is half the time: the signal would come at the start. Slurm may send it a minute too early.
    """
    time = granted(profile, job.needs).time
    limit = _seconds(time, job) if time is not None else None
    asked = profile.stop_before if limit is None else min(profile.stop_before, limit // 2)
    return min(asked, _MOST_SIGNAL_S)


def quoted(value: object) -> str:
    """Return a value for a line `#SBATCH`, which is no shell's: only quotation marks and backslashes mean something."""
    text = str(value)
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise ConfigError(
            "Slurm's script cannot hold a line end or another control character in a value",
            where=repr(text),
            fix="give the run, the folder or the profile's value a name without one",
            code="config.unfit_characters",
        )
    if re.fullmatch(r"[\w@%+=:,./-]*", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def output_pattern(path: str) -> str:
    """Return the pattern that names just this file: to Slurm `%j` is the job's id, and a backslash no part of it."""
    if "\\" in path:
        raise ConfigError(
            "Slurm cannot write its output to a path with a backslash: it drops it",
            where=path,
            fix="put the runs into a folder without one in its path (ALPHAF_RUNS)",
            code="config.unfit_characters",
        )
    return path.replace("%", "%%")


def _line(name: str, value: object) -> str:
    return f"#SBATCH --{name}={quoted(value)}" if value != "" else f"#SBATCH --{name}"


def _extra(line: str) -> str:
    text = line.strip()
    option = text.removeprefix("#SBATCH").strip()
    if "\n" in text or not option.startswith("-"):
        raise ConfigError(
            f"an extra line is no option of sbatch: {line!r}",
            where="`extra` of the profile",
            fix="write one option a line, as `--exclusive` or `--constraint=h100`; lines of shell belong to `setup`",
            code="config.wrong_value",
        )
    return f"#SBATCH {option}"


def _gpus(gres: str, count: int) -> dict[str, str]:
    """Return the option that asks for the GPUs of a machine, by the profile's word for them.

    `gpu` and `gpu:h100` are resources of --gres, which every Slurm knows; `gpus-per-node` and `gpus-per-node:h100` ask
    by that option, for sites whose rules look at it alone; `none` asks for none, where the partition gives whole nodes.
    """
    if not count or gres == "none":
        return {}
    if not re.fullmatch(r"[\w.-]+(:[\w.-]+)?", gres):
        raise ConfigError(
            f"{gres!r} names no GPUs to Slurm",
            where="`gres` of the profile",
            fix="write gpu or gpu:TYPE as `sinfo -o %G` shows it, gpus-per-node[:TYPE], or none",
            code="config.wrong_value",
        )
    kind, _, card = gres.partition(":")
    if kind == "gpus-per-node":
        return {kind: f"{card}:{count}" if card else str(count)}
    return {"gres": f"{gres}:{count}"}


def _seconds(text: str, job: Job) -> int | None:
    try:
        limit = seconds(text)
    except ValueError:
        limit = 0
    if limit == 0:
        raise ConfigError(
            f"{text!r} is no time limit of Slurm",
            where=f"`time` of the profile, for {job.needs.role}",
            fix="write days-hours:minutes:seconds, hours:minutes:seconds or minutes: 2-00:00:00, 36:00:00, 90",
            code="config.not_a_time",
        )
    return limit


def _memory(text: str | None, job: Job) -> str | None:
    if text is not None and not _MEMORY.match(text):
        raise ConfigError(
            f"{text!r} is no amount of memory to Slurm",
            where=f"`memory` of the profile, for {job.needs.role}",
            fix="write a whole number with K, M, G or T, as 200G; 0 is all memory of the machine",
            code="config.not_a_size",
        )
    return text
