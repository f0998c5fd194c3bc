"""Where a call is to run: what `--on` says, which most calls leave out and need nothing of what submits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alphaf_orch.cli.options import How
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.settings.clusters import parse_on
from alphaf_orch.settings.config import RunConfig

if TYPE_CHECKING:
    from alphaf_orch.runs.submission import Site


def site_of(config: RunConfig, on: str | None = None) -> Site | None:
    """Return where a call is to run, by `--on` or else by the run's own settings; None for here."""
    found = parse_on(on or config.on, "--on" if on else "--on, or `on:` of the config")
    if found.scheduler == "local":
        return None
    from alphaf_orch.runs.submission import find_site  # here: it plans, and knows every scheduler

    return find_site(found, config.templates)


def refuse_waiting(how: How) -> None:
    """Raise ConfigError for --wait where nothing is submitted."""
    if how.wait:
        raise ConfigError(
            "there is nothing to wait for: what runs here ends with the command",
            where="--wait",
            fix="add --on slurm, or leave it out",
            code="config.not_together",
        )
