"""A bake-off: the same SFT of every candidate base model as arms of one experiment, and what they are measured on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from alphaf_orch.core.command import child_env
from alphaf_orch.core.errors import ConfigError, RunStateError
from alphaf_orch.core.paths import cache_dir, template_folders
from alphaf_orch.evaluation.options import DEFAULT_SUITE, EvalOptions, counted_rows
from alphaf_orch.evaluation.tasks.suites import find_tasks, require_data, select_tasks
from alphaf_orch.evaluation.tasks.task import Task
from alphaf_orch.experiments.experiment import Arm, Asked, Experiment, ExperimentPaths, slug
from alphaf_orch.inputs.presets import ModelPreset
from alphaf_orch.inputs.weights import weights_state
from alphaf_orch.planning.base import find_preset, tool_python
from alphaf_orch.runs.chain import run_config
from alphaf_orch.settings.config import RunConfig
from alphaf_orch.settings.options import new_settings

ELSEWHERE = "general-ko"  # the suite that no finance SFT is trained for
PROMPTS = 12  # ours: what a person reads side by side in a quarter of an hour
STAGES = ("base", "sft")


@dataclass(frozen=True, kw_only=True)
class BakeoffAsked(Asked):
    """What `alphaf bakeoff` was asked."""

    models: tuple[str, ...]
    elsewhere: tuple[str, ...] = ()
    prompts: int = PROMPTS


@dataclass(frozen=True)
class Candidate:
    """One base model: its arm, its preset, and where its files are; no folder where they are not here."""

    arm: Arm
    preset: ModelPreset
    folder: Path | None
    revision: str | None
    lacks: str  # why there is no folder, or what is missing in it


@dataclass(frozen=True)
class Bakeoff:
    """The experiment with the tasks its figures come from."""

    experiment: Experiment
    tasks: tuple[Task, ...]  # what the SFT is for
    elsewhere: tuple[Task, ...]  # what it is not for
    limit: int | None
    prompts: int

    def limit_of(self, task: Task) -> int | None:
        """Return the limit that a result of the task must have been made under: one that leaves nothing out is none."""
        rows = counted_rows(task)
        return None if self.limit is not None and rows is not None and self.limit >= rows else self.limit


def plan_bakeoff(asked: BakeoffAsked) -> Bakeoff:
    """Return the bake-off; starts and writes nothing.

    Raises ModelError for an unknown model and ConfigError for one named twice, suites that are not there or stand on
    both sides, and presets that would train on different data; DataError where rows of a task are not on this machine.
    """
    configs = _configs(asked)
    first = next(iter(configs.values()))
    suites = asked.suites or (() if asked.tasks else (DEFAULT_SUITE,))
    away = asked.elsewhere or (ELSEWHERE,)
    tasks, elsewhere = _tasks(first, suites, asked.tasks, away)
    arms = tuple(Arm(name, config.model, {"model": config.model}, None, config) for name, config in configs.items())
    request = {
        "models": list(asked.models),
        "data": list(first.data),
        "suites": list(suites),
        "tasks": list(asked.tasks),
        "elsewhere": list(away),
        "limit": asked.limit,
        "prompts": asked.prompts,
        "set": list(asked.sets),
    }
    evaluation = EvalOptions(stages=STAGES, suites=(*suites, *away), tasks=asked.tasks, limit=asked.limit)
    name = asked.name or slug(f"bakeoff-{'-'.join(configs)}")
    experiment = Experiment(name, "bakeoff", arms, ("sft",), (evaluation,), request)
    return Bakeoff(experiment, tasks, elsewhere, asked.limit, asked.prompts)


def stored_bakeoff(experiment: Experiment) -> Bakeoff:
    """Return the bake-off that an experiment was read back from its folder as; raises as plan_bakeoff of its tasks."""
    asked = experiment.request
    lacking = [key for key in ("models", "suites", "tasks", "elsewhere", "limit", "prompts") if key not in asked]
    if lacking:
        raise RunStateError(
            f"the record of the bake-off {experiment.name} does not say its {', '.join(lacking)}",
            where=f"{experiment.name}, key request",
            fix="give the command again that began it: it writes the report too",
            code="run.record_incomplete",
        )
    tasks, elsewhere = _tasks(experiment.arms[0].config, asked["suites"], asked["tasks"], asked["elsewhere"])
    return Bakeoff(experiment, tasks, elsewhere, asked["limit"], asked["prompts"])


def _tasks(
    config: RunConfig, suites: Sequence[str], named: Sequence[str], away: Sequence[str]
) -> tuple[tuple[Task, ...], tuple[Task, ...]]:
    """Return the tasks that the SFT is for, and those that it is not for; none may be both."""
    env = child_env({}, online=False)
    found = find_tasks(template_folders(config.templates), tool_python(config, "axolotl"), env)
    tasks = select_tasks(found, tuple(suites), tuple(named))
    elsewhere = select_tasks(found, tuple(away), ())
    both = [task.name for task in tasks if task in elsewhere]
    if both:
        raise ConfigError(
            f"{both[0]} is on both sides: what SFT is for cannot show what it costs elsewhere",
            where=f"--suite {', '.join(suites)}, --elsewhere {', '.join(away)}",
            fix="name another suite with --elsewhere",
            code="config.not_together",
        )
    require_data([*tasks, *elsewhere], env)
    return tasks, elsewhere


def _configs(asked: BakeoffAsked) -> dict[str, RunConfig]:
    """Return the settings of each candidate by the name of its arm: all the same but for the model."""
    if len(asked.models) < 2:
        raise ConfigError(
            "a bake-off compares two models or more",
            where="--models",
            fix="name them: --models A,B,C",
            code="config.too_few_values",
        )
    found: dict[str, RunConfig] = {}
    if any(key.startswith("dpo.") for key in asked.sets):
        raise ConfigError(
            "a bake-off trains no DPO", where="--set dpo.…", fix="leave those keys out", code="config.not_together"
        )
    for model in asked.models:
        config = new_settings(replace(asked, model=model))
        name = slug(Path(config.model).name)
        if name in found:
            raise ConfigError(
                f"{name} is named twice", where="--models", fix="name each model once", code="config.given_twice"
            )
        found[name] = config
    presets = {name: find_preset(config) for name, config in found.items()}
    trained = {preset.sft_data for preset in presets.values()}
    if not any(config.data or config.datasets for config in found.values()):
        if len(trained) > 1:
            shown = ", ".join(f"{name}: {preset.sft_data}" for name, preset in presets.items())
            raise ConfigError(
                f"the presets name different SFT data ({shown}), which would not be the same SFT",
                where="--data",
                fix="name the data that every candidate is trained on, such as --data sample",
                code="config.other_data",
            )
        # Written down, so that a preset changed later does not change what these arms are trained on.
        found = {name: config.model_copy(update={"data": tuple(trained)}) for name, config in found.items()}
    return found


def find_candidates(experiment: Experiment, paths: ExperimentPaths) -> tuple[Candidate, ...]:
    """Return each arm's base model with the folder of its files, as far as they are on this machine now."""
    found = []
    for arm in experiment.arms:
        preset = find_preset(arm.config)
        run = paths.arm(arm.name)
        remembered = run_config(run).base_revision if run.config.is_file() else None
        if preset.source == "hub" and remembered:
            preset = preset.model_copy(update={"revision": remembered})
        state = weights_state(preset, cache_dir() / "models", os.environ)
        folder = state.path if state.path is not None and state.path.is_dir() else None
        lacks = "" if state.kind == "ready" else state.detail
        found.append(Candidate(arm, preset, folder, state.revision, lacks))
    return tuple(found)
