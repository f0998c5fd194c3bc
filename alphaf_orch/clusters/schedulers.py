"""The schedulers that `--on` may name."""

from __future__ import annotations

from alphaf_orch.clusters.pipelined import AnyScheduler
from alphaf_orch.core.errors import ConfigError


def scheduler_named(name: str) -> AnyScheduler:
    """Return the scheduler of that name; raise ConfigError for one that jobs cannot be handed to."""
    if name == "slurm":
        from alphaf_orch.clusters.slurm.scheduler import Slurm

        return Slurm()
    if name == "skypilot":
        from alphaf_orch.clusters.clouds.skypilot_calls import SkyPilot

        return SkyPilot()
    if name == "kubernetes":
        from alphaf_orch.clusters.clouds.kubernetes_calls import Kubernetes

        return Kubernetes()
    raise ConfigError(
        f"{name} takes no jobs from here",
        where="--on",
        fix="say slurm, skypilot or kubernetes",
        code="config.not_supported",
    )
