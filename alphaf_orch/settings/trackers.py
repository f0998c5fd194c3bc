"""Experiment trackers: axolotl's own keys for them, given to both trainers, writing into the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.several import found_in, raise_all
from alphaf_orch.core.values import nearest
from alphaf_orch.core.yaml_files import place_of
from alphaf_orch.programs.tracker_keys import KEYS, PACKAGES, used_trackers
from alphaf_orch.settings.keys import axolotl_keys, check_key


def check_trackers(values: Mapping[str, Any], where: str | Path) -> None:
    """Raise ConfigError for the keys that are none of axolotl's for the four trackers, or hold no value of theirs.

    `where` is the file that has them, or says in words where they are.
    """
    known = {key: axolotl_keys()[key] for key in KEYS}

    def check(key: str, value: Any) -> None:
        place = f"{where}, key trackers.{key}" if isinstance(where, str) else place_of(where, ("trackers", key))
        if key not in known:
            what = f"{key}{nearest(key, known) or ': no such tracker key'}"
            raise ConfigError(what, where=place, fix=f"use axolotl's own: {', '.join(KEYS)}", code="config.unknown_key")
        check_key(key, value, known, place)

    raise_all(found_in(partial(check, key, value) for key, value in values.items()))


def tracker_layer(values: Mapping[str, Any], run: str, section: str) -> dict[str, Any]:
    """Return the recipe keys of the trackers in use: the user's, and a name for each run where none is given.

    W&B is offline unless `wandb_mode` says otherwise. Empty where no tracker is used.
    """
    used = used_trackers(values)
    if not used:
        return {}
    name = f"{run}-{section}"
    ours: dict[str, dict[str, Any]] = {
        "wandb": {"use_wandb": True, "wandb_project": "alphaf", "wandb_name": name, "wandb_mode": "offline"},
        "mlflow": {"use_mlflow": True, "mlflow_experiment_name": "alphaf", "mlflow_run_name": name},
        "tensorboard": {"use_tensorboard": True},
        "trackio": {"use_trackio": True, "trackio_project_name": "alphaf", "trackio_run_name": name},
    }
    layer = {key: value for tracker in used for key, value in ours[tracker].items()}
    return layer | {key: value for key, value in values.items() if value is not None}


def tracker_env(values: Mapping[str, Any], paths: RunPaths, section: str) -> dict[str, str]:
    """Return where each tracker in use keeps its files: in the run, never in the folder one happens to stand in."""
    root = paths.trackers
    # Files need no database driver and hold the artifacts too; mlflow 3 wants to be told that they are meant.
    mlflow_files = {"MLFLOW_TRACKING_URI": (root / "mlflow").as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true"}
    places = {
        # wandb adds a folder `wandb` itself; the others are for its own logs and for files on their way into a run.
        "wandb": {
            "WANDB_DIR": str(root),
            "WANDB_CACHE_DIR": str(root / "wandb-cache"),
            "WANDB_DATA_DIR": str(root / "wandb-data"),
        },
        "mlflow": {} if values.get("mlflow_tracking_uri") else mlflow_files,
        "tensorboard": {"TENSORBOARD_LOGGING_DIR": str(root / "tensorboard" / section)},
        "trackio": {"TRACKIO_DIR": str(root / "trackio")},
    }
    return {key: value for tracker in used_trackers(values) for key, value in places[tracker].items()}


def tracker_packages(values: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return for each tracker in use the packages of which one must be installed."""
    return {tracker: PACKAGES[tracker] for tracker in used_trackers(values)}
