"""What commands with `--on` share: the words that are submitted, and what is printed of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial

import click

from alphaf_orch.cli.execute import print_dry_run
from alphaf_orch.cli.options import How, log_console, out_console
from alphaf_orch.clusters.jobs import Job, Needs
from alphaf_orch.core.command import printable
from alphaf_orch.core.paths import RunPaths, runs_dir
from alphaf_orch.core.progress import tell
from alphaf_orch.core.record import fingerprint
from alphaf_orch.planning.context import Scope
from alphaf_orch.planning.plan import make_plan
from alphaf_orch.runs.recipe_check import check_recipe
from alphaf_orch.runs.submission import Handed, Site, find_site, run_jobs, submit_call, submit_run
from alphaf_orch.settings.clusters import On
from alphaf_orch.settings.config import RunConfig
from alphaf_orch.settings.options import run_paths


def run_name(paths: RunPaths) -> str:
    """Return what `--run` says of a run: its name, or EXPERIMENT/ARM."""
    return str(paths.root.relative_to(runs_dir()))
