"""What commands with `--on` share: the words that are submitted, and what is printed of it."""

from __future__ import annotations

from alphaf_orch.core.paths import RunPaths, runs_dir


def run_name(paths: RunPaths) -> str:
    """Return what `--run` says of a run: its name, or EXPERIMENT/ARM."""
    return str(paths.root.relative_to(runs_dir()))
