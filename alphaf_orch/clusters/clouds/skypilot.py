"""SkyPilot: a pipeline of jobs as one YAML file, a task each (docs/clusters-cloud.md).

Values and no template: which keys a task has depends on the profile, and whoever reads the file shall find what is
meant and nothing that is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alphaf_orch.clusters.clouds.pipelines import Pipeline
from alphaf_orch.clusters.clouds.site import portable, refuse_slurms, refuse_unseen
from alphaf_orch.clusters.clouds.values import documents, label, shell, timed
from alphaf_orch.clusters.jobs import Job
from alphaf_orch.clusters.profiles import Granted, granted
from alphaf_orch.clusters.scheduler import Place
from alphaf_orch.core.errors import ConfigError, GoesOnLater
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.settings.clusters import Profile

# SkyPilot reads its usage collection's switch from the environment of each of its programs (sky/utils/env_options.py).
QUIET = {"SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
_ENVIRONMENT = '"$HOME"/alphaf-environment'  # of alphaf on the machine, where its lock is installed there
# Which machine this is, for core/nodes.py: addresses are listed by rank, one a line.
_NODES = (
    'export ALPHAF_NODE_RANK="$SKYPILOT_NODE_RANK"\n'
    'export ALPHAF_NODE_ADDRESS="$(printf \'%s\\n\' "$SKYPILOT_NODE_IPS" | head -n 1)"\n'
)
# Ours, of names: SkyPilot shortens what a cloud takes no more of; 40 of a task are whole in a table of 120 columns.
_LONGEST, _LONGEST_TASK = 100, 40


def pipeline_name(pipeline: Pipeline) -> str:
    """Return what `sky jobs queue` calls the pipeline."""
    return label(f"alphaf-{pipeline.run}-{pipeline.name}", _LONGEST)


def pipeline_file(pipeline: Pipeline, profile: Profile, paths: RunPaths, place: Place) -> tuple[Path, str]:
    """Return the pipeline's file and where it belongs; nothing is written or asked.

    Raises ConfigError for what SkyPilot has no place for, GPUs without a name, and folders that jobs do not see.
    """
    file = paths.job_script(pipeline.name, "sky.yaml")
    sky = profile.skypilot
    refuse_unseen(profile, paths, place, (*sky.volumes, *sky.file_mounts, *sky.shared))
    name = pipeline_name(pipeline)
    head = (f"{pipeline.run}: {', '.join(job.name for job in pipeline.jobs)}", shell(command(file, name, profile.env)))
    return file, documents(
        head, [{"name": name}, *(_task(job, profile, place, number) for number, job in enumerate(pipeline.jobs))]
    )


def command(file: Path, name: str, variables: Sequence[str]) -> tuple[str, ...]:
    """Return the call that hands the pipeline over; values of the variables are taken from here, as secrets."""
    secrets = [word for variable in variables for word in ("--secret", variable)]
    return ("sky", "jobs", "launch", "--yes", "--detach-run", "--name", name, *secrets, str(file))


def _task(job: Job, profile: Profile, place: Place, number: int) -> dict[str, Any]:
    given = granted(profile, job.needs)
    refuse_slurms(profile, given)
    sky = profile.skypilot
    task = {
        "name": label(job.name.replace("_", "-"), _LONGEST_TASK),
        "num_nodes": given.nodes,
        "resources": _resources(profile, given),
        "workdir": sky.checkout,
        "envs": {**portable(place.env), **({"TMPDIR": profile.scratch} if profile.scratch else {})},
        "secrets": dict.fromkeys(profile.env),
        "volumes": dict(sky.volumes),
        "file_mounts": dict(sky.file_mounts),
        "setup": _setup(profile),
        "run": _run(job, profile, given, place, number),
    }
    return {key: value for key, value in task.items() if value not in (None, {}, "")}


def _resources(profile: Profile, given: Granted) -> dict[str, Any]:
    sky = profile.skypilot
    if given.gpus and not sky.accelerator:
        raise ConfigError(
            f"SkyPilot must be told which cards: the job needs {given.gpus} of a machine",
            where="`skypilot:` of the profile has no `accelerator:`",
            fix="name one as SkyPilot does, `accelerator: H100`; `sky gpus list` knows them",
            code="config.key_missing",
        )
    # Ending to go on later is no failure, and alphaf itself counts how often: any other code ends the pipeline.
    recovery = {"max_restarts_on_errors": 0, "recover_on_exit_codes": [GoesOnLater.exit_code]}
    found = {
        "infra": sky.infra,
        "accelerators": f"{sky.accelerator}:{given.gpus}" if given.gpus else None,
        "cpus": f"{given.cpus}+" if given.cpus else None,
        "memory": given.memory,
        "use_spot": True if sky.spot else None,
        "disk_size": sky.disk_size,
        "disk_tier": sky.disk_tier,
        "network_tier": sky.network_tier if given.nodes > 1 else None,
        "image_id": f"docker:{profile.container.image}" if profile.container else None,
        "labels": dict(sky.labels) or None,
        "job_recovery": recovery,
    }
    return {key: value for key, value in found.items() if value is not None}


def _setup(profile: Profile) -> str:
    """Return the lines that install the lock from the checkout; with wheels, pip asks no index for them."""
    if not profile.skypilot.checkout:
        return ""
    wheels = profile.skypilot.wheels
    offline = f"export PIP_NO_INDEX=1 {shell([f'PIP_FIND_LINKS={wheels}'])}\n" if wheels else ""
    accel = "cpu" if profile.gpus_per_node == 0 else "gpu"  # one for all: tools of a chain are of one version
    return f"{offline}VENV={_ENVIRONMENT} ACCEL={accel} sh requirements/setup.sh\n"


def _run(job: Job, profile: Profile, given: Granted, place: Place, number: int) -> str:
    where = f"`time:` of the profile, for the role {job.needs.role}"
    python = shell([place.python])
    if profile.skypilot.checkout:
        python = f"{_ENVIRONMENT}/bin/python"
    limit = shell(timed((), given.time, profile.stop_before, where))
    words = ("exec", limit, python, shell(("-m", "alphaf_orch", "job", job.run, job.name)))
    setup = "".join(f"{line}\n" for line in profile.setup)
    known_as = f'export ALPHAF_JOB_ID="$SKYPILOT_MANAGED_JOB_ID.{number}"\n'
    return f"{setup}{_NODES}{known_as}cd {shell([place.folder])}\n{' '.join(word for word in words if word)}\n"
