"""What commands with `--on` share: planned for the site's machines, submitted there, followed where that is wanted."""

from __future__ import annotations

from alphaf_orch.cli.options import How
from alphaf_orch.clusters.jobs import Needs
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.planning.context import Scope
from alphaf_orch.settings.clusters import On
from alphaf_orch.settings.config import RunConfig


def submit_run(config: RunConfig, paths: RunPaths, scope: Scope, on: On, how: How) -> None:
    """Submit the stages of the scope that are neither done nor under way, or print their files for a dry run."""
    raise NotImplementedError


def submit_call(
    config: RunConfig, paths: RunPaths, name: str, argv: tuple[str, ...], needs: Needs, on: On, how: How
) -> None:
    """Submit a call of `alphaf` on a run behind the run's jobs that wait or run, or print its file for a dry run."""
    raise NotImplementedError
