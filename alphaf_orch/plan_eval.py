"""The plan of an evaluation: one process that looks at the tokenizers, one lm-eval for each model, all as values."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaf_orch import hub_cache
from alphaf_orch.chain import ChainModel
from alphaf_orch.context import accelerate_config
from alphaf_orch.errors import ModelError
from alphaf_orch.eval_options import SERVERS, Target, counted_rows
from alphaf_orch.eval_reference import (
    Reference,
    context_length,
    generation_defaults,
    stop_ids,
    tokenizer_identity,
)
from alphaf_orch.lm_eval_config import SEEDS, VERSION, lm_eval_config
from alphaf_orch.paths import SCRIPTS, RunPaths
from alphaf_orch.record import fingerprint
from alphaf_orch.render import Rendered, plain
from alphaf_orch.stages import Launch, Stage, script
from alphaf_orch.suites import Task

# ours: `auto` on a GPU tries batches of this length, and 32k of context would leave room for one row only
MAX_LENGTH = 8192


@dataclass(frozen=True)
class Cell:
    """One model on one task, with the key under which its scores are kept."""

    model: ChainModel
    task: Task
    settings: Mapping[str, Any]
    key: str


@dataclass(frozen=True)
class Place:
    """What all stages of one evaluation share: the run, the tools' python, the tokenizer, the devices."""

    paths: RunPaths
    python: str
    reference: Reference
    target: Target
    trust_remote_code: bool
    cpus: int
    env: Mapping[str, str]

    @property
    def scratch(self) -> Path:
        """Return the folder of what is not finished."""
        return self.paths.scratch("eval")

    def tokenizer_report(self) -> Path:
        """Return what the tokenizer stage found."""
        return self.scratch / "tokenizer.json"

    def tokenizer(self, model: ChainModel) -> Path:
        """Return the tokenizer a model is asked with; the base model's is put there by the tokenizer stage."""
        if model.tokenizer:
            return Path(model.tokenizer)
        if model.stage == "base" or self.reference.folder is None:
            return self.scratch / "tokenizer_base"
        return self.reference.folder

    def tokenizer_identity(self, model: ChainModel) -> str:
        """Return a hash of the tokenizer and chat template that a model is asked with."""
        return tokenizer_identity(Path(model.tokenizer)) if model.tokenizer else self.reference.identity

    def output(self, stage: str) -> Path:
        """Return the folder lm-eval writes into."""
        return self.scratch / stage / "output"


def model_files(model: ChainModel, env: Mapping[str, str]) -> Path:
    """Return the folder that holds the model's files: itself, or its snapshot in the hub cache."""
    if Path(model.path).is_dir():
        return Path(model.path)
    found = hub_cache.snapshot(model.path, "model", model.revision, env)
    if found is None:
        raise ModelError(
            f"the files of {model.path} are not in the cache any more",
            where=str(hub_cache.cache_root(env)),
            fix="bring them back, or name other --stages",
        )
    return found


def make_cell(place: Place, model: ChainModel, task: Task, limit: int | None, lm_eval: str) -> Cell:
    """Return the cell of a model and a task; its key changes with everything that its scores depend on."""
    rows = counted_rows(task)
    # A limit that leaves nothing out is none.
    limit = None if limit is not None and rows is not None and limit >= rows else limit
    settings = {**model_settings(place, model), "limit": limit}
    key = fingerprint(
        [VERSION, "eval", model.identity, place.tokenizer_identity(model), task.name, task.content, settings, lm_eval]
    )
    return Cell(model, task, settings, key)


def model_settings(place: Place, model: ChainModel) -> dict[str, Any]:
    """Return the settings that scores depend on and all tasks of a model share."""
    files = model_files(model, place.env)
    on_server = place.target.backend in SERVERS
    trained = Path(model.tokenizer) if model.tokenizer else place.reference.folder
    return {
        **place.target.identity,
        "dtype": "auto",
        "seeds": list(SEEDS),
        "apply_chat_template": True,
        "max_length": None if on_server else min(context_length(files) or MAX_LENGTH, MAX_LENGTH),
        "stop_token_ids": stop_ids(files, trained) if place.target.backend == "hf" else [],
        "generation_config": generation_defaults(files),
    }


def tokenizer_stage(place: Place, models: Sequence[ChainModel], tasks: Sequence[Task]) -> Stage:
    """Return the stage that checks every model's tokenizer against the trained one and readies the base's."""
    file = place.paths.rendered("eval_tokenizer.yaml")
    descriptions = (task.config.get("description") for task in tasks)
    config = {
        "reference": str(place.reference.folder) if place.reference.folder else None,
        "models": [
            {
                "stage": model.stage,
                "path": model.path,
                "revision": model.revision,
                **({"tokenizer": model.tokenizer} if model.tokenizer else {}),
            }
            for model in models
        ],
        "systems": sorted({text for text in descriptions if isinstance(text, str) and text and "{" not in text}),
        "prepared": str(place.scratch / "tokenizer_base"),
        "trust_remote_code": place.trust_remote_code,
        "output": str(place.tokenizer_report()),
        **place.reference.setup,
    }
    return Stage(
        "eval_tokenizer",
        "axolotl",
        script(place.python, "eval_tokenizer", str(file)),
        {file: plain(config)},
        (place.tokenizer_report(),),
        {"reference": place.reference.identity},
        {"CUDA_VISIBLE_DEVICES": ""},
    )


def lm_eval_stage(place: Place, cells: Sequence[Cell], tasks: Mapping[Path, Rendered]) -> Stage:
    """Return the stage in which lm-eval asks one model the tasks of all cells, which share model and limit."""
    model, target = cells[0].model, place.target
    name = f"eval_{model.stage}"
    file = place.paths.rendered(f"{name}.yaml")
    config = plain(lm_eval_config(place, cells))
    files: dict[Path, Rendered] = {file: config, **tasks}
    argv = script(place.python, "run_lm_eval", "run", "--config", str(file))
    devices = (os.environ.get("CUDA_VISIBLE_DEVICES") or "").split(",")
    visible = tuple(devices) if devices != [""] else tuple(str(number) for number in range(target.gpus))
    launch = Launch(target.gpus, place.cpus, "no", visible)
    if target.backend == "hf" and target.gpus > 1:
        accelerate = place.paths.rendered("accelerate_eval.yaml")
        files[accelerate] = accelerate_config(launch)
        argv = (*launch.argv(place.python, accelerate), *argv[1:])
    # Our scoring code is imported by name from the tasks' own python.
    env = {"PYTHONPATH": str(SCRIPTS), **launch.env()}
    return Stage(
        name, "axolotl", argv, files, (place.output(model.stage),), {"keys": [cell.key for cell in cells]}, env,
        processes=launch.processes if target.backend == "hf" else 1,
    )  # fmt: skip
