"""The keys of the four trackers, as axolotl names them, and what they mean to a trainer of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Trackers:
    """The keys, under axolotl's names; none is set by default, so nothing is tracked."""

    use_wandb: bool | None = None
    wandb_project: str | None = None
    wandb_entity: str | None = None
    wandb_name: str | None = None
    wandb_run_id: str | None = None
    wandb_mode: str | None = None
    wandb_watch: str | None = None
    wandb_log_model: str | None = None
    use_mlflow: bool | None = None
    mlflow_tracking_uri: str | None = None
    mlflow_experiment_name: str | None = None
    mlflow_run_name: str | None = None
    hf_mlflow_log_artifacts: bool | None = None
    use_tensorboard: bool | None = None
    use_trackio: bool | None = None
    trackio_project_name: str | None = None
    trackio_run_name: str | None = None
    trackio_space_id: str | None = None


KEYS = tuple(part.name for part in fields(Trackers))
# Which packages serve a tracker; any one of them will do.
PACKAGES = {
    "wandb": ("wandb",),
    "mlflow": ("mlflow", "mlflow-skinny"),
    "tensorboard": ("tensorboard",),
    "trackio": ("trackio",),
}
# A name alone switches its tracker on, as in axolotl.
_NAMES = {"wandb": "wandb_project", "mlflow": "mlflow_experiment_name", "trackio": "trackio_project_name"}


def used_trackers(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the trackers that the keys switch on; `use_X: false` keeps X off whatever else is set."""

    def used(tracker: str) -> bool:
        said = values.get(f"use_{tracker}")
        return bool(values.get(_NAMES.get(tracker, "")) if said is None else said)

    return tuple(tracker for tracker in PACKAGES if used(tracker))


def tracker_variables(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment variables through which transformers' callbacks hear of the keys, as axolotl sets them."""
    named = {key: value for key, value in values.items() if key in KEYS and not key.startswith("use_")}
    texts = {key.upper(): value for key, value in named.items() if isinstance(value, str) and value}
    flags = {"HF_MLFLOW_LOG_ARTIFACTS": "true"} if values.get("hf_mlflow_log_artifacts") else {}
    return texts | flags


def run_name(values: Mapping[str, Any]) -> str | None:
    """Return the name the tracked run gets: that of the first tracker in use which has names."""
    names = {"wandb": "wandb_name", "mlflow": "mlflow_run_name", "trackio": "trackio_run_name"}
    found = (values.get(names[tracker]) for tracker in used_trackers(values) if tracker in names)
    return next((str(name) for name in found if name), None)
