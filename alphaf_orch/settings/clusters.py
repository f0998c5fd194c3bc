"""Where a run is to run, and what a scheduler is to give each of its jobs: `--on`, and the profiles behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.values import nearest
from alphaf_orch.settings.clouds import Kubernetes, SkyPilot

Scheduler = Literal["local", "slurm", "skypilot", "kubernetes"]
SCHEDULERS: tuple[Scheduler, ...] = get_args(Scheduler)
# What a profile may give other machines or another time than the rest gets: what a job does (clusters.jobs.Role).
Role = Literal["data", "tokenise", "train", "merge", "eval", "judge", "report"]
# Of a job, by the seconds before its limit that it is asked to stop: a checkpoint of EEVE's QLoRA takes some; ours.
STOP_BEFORE_S = 600
MAX_REQUEUES = 10  # ours: a week in jobs of 16 hours


Variable = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")]  # the name of one


@dataclass(frozen=True)
class On:
    """What `--on` says: the scheduler, and the profile by name or path; empty for the scheduler's own."""

    scheduler: Scheduler = "local"
    profile: str = ""

    def __str__(self) -> str:
        return f"{self.scheduler}:{self.profile}" if self.profile else self.scheduler


class Resources(BaseModel):
    """What one kind of job gets; what is not said is the profile's own."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    partition: str | None = None
    """The scheduler's partition."""
    qos: str | None = None
    """The scheduler's quality of service."""
    gpus: Annotated[int, Field(ge=0)] | None = None
    """GPUs of a machine; what is planned for a training unless said."""
    cpus: Annotated[int, Field(ge=1)] | None = None
    """CPUs of a machine; 4 for each GPU where nothing is said."""
    memory: str | None = None
    """Memory of a machine, as the scheduler writes it: 200G."""
    time: str | None = None
    """The limit of each job, as the scheduler writes it: 2-00:00:00."""
    extra: tuple[str, ...] = ()
    """Further lines of the scheduler's own."""


class Container(BaseModel):
    """The image that a job runs in."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    runtime: Literal["pyxis", "enroot", "apptainer", "image"]
    """What starts the container: pyxis, enroot, apptainer, or `image` where the scheduler itself does."""
    image: str
    """The image, by path or by its name in a registry."""
    mounts: tuple[str, ...] = ()
    """HOST:CONTAINER; the run folder and the caches are there under the same path anyway."""
    python: str = "python3"
    """The python in the image that imports alphaf_orch and its tools."""


class Profile(Resources):
    """A site's scheduler as its user describes it; unknown keys are refused."""

    scheduler: Literal["slurm", "skypilot", "kubernetes"]
    """Whose profile it is."""
    account: str | None = None
    """The account that jobs are charged to."""
    gpus_per_node: Annotated[int, Field(ge=0)] | None = None
    """GPUs of a machine that the plan counts on; the model preset's unless said."""
    gpu: str | None = None
    """The card as its driver names it: its memory is planned with."""
    gres: str = "gpu"
    """What Slurm calls a GPU: gpu, gpu:h100."""
    stages: Mapping[Role, Resources] = {}
    """What one kind of job gets otherwise."""
    modules: tuple[str, ...] = ()
    """`module load` each."""
    setup: tuple[str, ...] = ()
    """Lines of shell before anything else."""
    container: Container | None = None
    """The image that jobs run in."""
    scratch: str | None = None
    """A fast disk of the machine for temporary files."""
    env: tuple[Variable, ...] = ()
    """Variables, by name, that jobs get from whoever submits them."""
    python: str | None = None
    """The python of alphaf on the machines; the one that submits unless said."""
    stop_before: Annotated[int, Field(ge=0)] = STOP_BEFORE_S
    """Seconds before the limit at which a job is asked for a checkpoint."""
    max_requeues: Annotated[int, Field(ge=0)] = MAX_REQUEUES
    """How often a job goes back to the queue to go on."""
    skypilot: SkyPilot = SkyPilot()
    """What only SkyPilot has."""
    kubernetes: Kubernetes = Kubernetes()
    """What only Kubernetes has."""


def parse_on(text: str, where: str = "--on") -> On:
    """Return what `--on` or `on:` says; raise ConfigError for a scheduler that nobody here knows."""
    scheduler, _, profile = text.partition(":")
    if scheduler not in SCHEDULERS or (scheduler == "local" and profile):
        raise ConfigError(
            f"{text!r} is no place to run{nearest(scheduler, SCHEDULERS)}",
            where=where,
            fix="say local, slurm, skypilot or kubernetes, the last three with :PROFILE where a profile is meant",
            code="config.unknown_name",
        )
    return On(scheduler, profile)


def is_path(profile: str) -> bool:
    """Return whether what stands behind the scheduler's name is a file of the user's, and no name in the templates."""
    return "/" in profile or profile.endswith((".yaml", ".yml"))
