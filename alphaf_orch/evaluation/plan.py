"""The plan of an evaluation: one process that looks at the tokenizers, one lm-eval for each model, all as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alphaf_orch.core.command import PROGRAM_ENV, program
from alphaf_orch.core.errors import ModelError
from alphaf_orch.core.record import fingerprint
from alphaf_orch.core.render import Rendered, plain
from alphaf_orch.evaluation.cells import Cell, Place
from alphaf_orch.evaluation.lm_eval_config import SEEDS, VERSION, lm_eval_config
from alphaf_orch.evaluation.options import SERVERS, counted_rows
from alphaf_orch.evaluation.tasks.task import Task
from alphaf_orch.inputs import hub_cache
from alphaf_orch.planning.stages import Launch, Stage
from alphaf_orch.runs.chain import ChainModel
from alphaf_orch.runs.reference import context_length, generation_defaults, stop_ids

# ours: `auto` on a GPU tries batches of this length, and 32k of context would leave room for one row only
MAX_LENGTH = 8192


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
            code="model.not_here",
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
        program(place.python, "evaluation.eval_tokenizer", str(file)),
        {file: plain(config)},
        (place.tokenizer_report(),),
        {"reference": place.reference.identity},
        {**PROGRAM_ENV, "CUDA_VISIBLE_DEVICES": ""},
    )


def lm_eval_stage(place: Place, cells: Sequence[Cell], tasks: Mapping[Path, Rendered]) -> Stage:
    """Return the stage in which lm-eval asks one model the tasks of all cells, which share model and limit."""
    model, target = cells[0].model, place.target
    name = f"eval_{model.stage}"
    file = place.paths.rendered(f"{name}.yaml")
    config = plain(lm_eval_config(place, cells))
    files: dict[Path, Rendered] = {file: config, **tasks}
    argv = program(place.asking_python or place.python, "evaluation.run_lm_eval", "run", "--config", str(file))
    launch = Launch(target.gpus, place.machine.cpus, "no", place.machine.visible(target.gpus))
    if target.backend == "hf" and target.gpus > 1:
        accelerate = place.paths.rendered("accelerate_eval.yaml")
        files[accelerate] = launch.config()
        argv = (*launch.argv(place.python, accelerate), *argv[1:])
    # Our scoring code is imported by name from the tasks' own python.
    env = {**PROGRAM_ENV, **launch.env()}
    return Stage(
        name, "axolotl", argv, files, (place.output(model.stage),), {"keys": [cell.key for cell in cells]}, env,
        processes=launch.processes if target.backend == "hf" else 1,
    )  # fmt: skip
