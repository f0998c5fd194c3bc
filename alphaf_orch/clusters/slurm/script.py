"""A job's sbatch file: the template with its values in place."""

from __future__ import annotations

import shlex

from alphaf_orch.clusters.jobs import Job
from alphaf_orch.clusters.scheduler import Place
from alphaf_orch.clusters.slurm.header import asked_before, header
from alphaf_orch.clusters.slurm.launch import launch
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import RunPaths, find_template, template_folders
from alphaf_orch.core.render import template_text
from alphaf_orch.core.values_template import TemplateError, fill
from alphaf_orch.settings.clusters import Profile

TEMPLATE = "clusters/slurm.sbatch.j2"
# Where a batch shell has no `module` yet: login shells get it from here (Lmod and Environment Modules alike).
_MODULES = "type module >/dev/null 2>&1 || . /etc/profile"


def script(job: Job, profile: Profile, paths: RunPaths, place: Place) -> str:
    """Return the text of a job's sbatch file; raise ConfigError for what Slurm or bash could not be told."""
    template = find_template(place.templates or template_folders(), TEMPLATE)
    values = {
        "header": header(job, profile, paths, place),
        "environment": "\n".join(f"export {name}={shlex.quote(value)}" for name, value in place.env.items()),
        "setup": "\n".join(_setup(profile, job)),
        "launch": launch(job, profile, paths, place),
        "stop_wish": shlex.quote(str(paths.stop_wish)),
        "stop_before": str(asked_before(profile, job)),
    }
    try:
        return fill(template_text(template), (), values)
    except TemplateError as error:
        raise ConfigError(
            f"the template cannot be filled: {error.problem}",
            where=f"{template} line {error.line}" if error.line else str(template),
            fix=f"it holds `{{{{ name }}}}` only, of {', '.join(values)}",
            code="config.template_invalid",
        ) from None


def _setup(profile: Profile, job: Job) -> list[str]:
    lines = [_MODULES] if profile.modules else []
    lines += [f"module load {shlex.quote(name)}" for name in profile.modules]
    if profile.scratch:
        lines += [f"export TMPDIR={_expanding(profile.scratch)}", _on_each(job, 'mkdir -p "$TMPDIR"')]
    return [*lines, *profile.setup]


def _on_each(job: Job, command: str) -> str:
    return command if job.needs.nodes == 1 else f"srun --nodes={job.needs.nodes} --ntasks-per-node=1 {command}"


def _expanding(text: str) -> str:
    """Return a path for bash that may name the job's variables: /scratch/$SLURM_JOB_ID."""
    for sign in '\\"`':
        text = text.replace(sign, f"\\{sign}")
    return f'"{text}"'
