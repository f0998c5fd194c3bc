"""From a command line to an evaluation: which models, which tasks, what is known of them, which processes are left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from alphaf_orch.core.command import capture, child_env
from alphaf_orch.core.errors import ToolError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.paths import RunPaths, template_folders
from alphaf_orch.evaluation import cache as eval_cache
from alphaf_orch.evaluation.cells import Cell, Place
from alphaf_orch.evaluation.options import SERVERS, Backend, EvalOptions, choose_target, served_model, suites_asked
from alphaf_orch.evaluation.plan import lm_eval_stage, make_cell, tokenizer_stage
from alphaf_orch.evaluation.tasks.suites import find_tasks, render_tasks, require_data, select_tasks
from alphaf_orch.evaluation.tasks.task import Task
from alphaf_orch.inputs.presets import remote_code
from alphaf_orch.planning.base import find_preset, tool_python
from alphaf_orch.planning.stages import Stage
from alphaf_orch.runs.chain import ChainModel, asked_models, run_config
from alphaf_orch.runs.find import existing_run, last_finished_sft
from alphaf_orch.runs.preflight import tool_versions
from alphaf_orch.runs.reference import Reference, find_reference
from alphaf_orch.scores.results import TaskResult
from alphaf_orch.settings.config import RunConfig

Results = dict[str, dict[str, TaskResult]]  # by stage and task


@dataclass(frozen=True)
class Evaluation:
    """A planned evaluation: every model on every task, and what is shared by their processes."""

    place: Place
    models: tuple[ChainModel, ...]
    tasks: tuple[Task, ...]
    cells: tuple[Cell, ...]
    suites: tuple[str, ...]
    versions: Mapping[str, str]

    def suite(self, task: Task) -> str:
        """Return the suite that a task's scores are shown under."""
        return next((name for name in self.suites if name in task.suites), next(iter(task.suites), ""))


@dataclass(frozen=True)
class Work:
    """A process still to run, and what it will score; the look at the tokenizers scores nothing."""

    stage: Stage
    cells: tuple[Cell, ...]


def evaluated_run(name: str | None) -> RunPaths:
    """Return the named run, or the newest one with a finished SFT; raise RunStateError where there is none."""
    if name:
        return existing_run(name)
    return last_finished_sft(
        "there is no run with a finished SFT to evaluate",
        "run `alphaf run --model M` first, or name another run with --run",
    )


def plan_evaluation(paths: RunPaths, options: EvalOptions, machine: Machine) -> Evaluation:
    """Return the plan; raises the error of the first thing that could not work, and starts none of its processes."""
    models = asked_models(paths, options.stages)
    return plan_models(paths, run_config(paths), models, find_reference(paths, models), options, machine)


def plan_models(
    paths: RunPaths,
    config: RunConfig,
    models: tuple[ChainModel, ...],
    reference: Reference,
    options: EvalOptions,
    machine: Machine,
) -> Evaluation:
    """Return the plan for any models that are asked as a run's are, their scores kept under `paths`."""
    python = tool_python(config, "axolotl")
    env = child_env({}, online=False)
    found = find_tasks(template_folders(config.templates), python, env)
    suites = suites_asked(options)
    tasks = select_tasks(found, suites, options.tasks)
    target = choose_target(options, tasks, machine)
    asking = config.tools.get("vllm", python) if target.backend == "vllm" else python
    versions = tool_versions(asking)
    _require_tools(target.backend, versions, asking, paths)
    if target.backend in SERVERS and target.server_model is None:
        target = replace(target, server_model=served_model(target))
    remote = remote_code(find_preset(config), allowed=config.trust_remote_code)
    place = Place(paths, python, reference, target, remote, machine, env, None if asking == python else asking)
    cells = [make_cell(place, model, task, options.limit, versions["lm-eval"]) for model in models for task in tasks]
    return Evaluation(place, models, tasks, tuple(cells), suites, versions)


def _require_tools(backend: Backend, versions: Mapping[str, str], python: str, paths: RunPaths) -> None:
    """Raise ToolError where what asks the models is not installed."""
    own = (
        "run `make setup-vllm`, which makes an environment of its own for vLLM, and name its python as `tools: vllm:`"
        f" in {paths.config}; or use --backend hf"
    )
    if backend == "vllm" and "vllm" not in versions:
        raise ToolError("vllm is not installed", where=python, fix=own, code="tool.not_installed")
    if "lm-eval" not in versions:
        fix = own if backend == "vllm" else "run `make setup`, or set `tools:` in the config"
        raise ToolError("lm-eval is not installed", where=python, fix=fix, code="tool.not_installed")


def known_results(evaluation: Evaluation) -> Results:
    """Return the scores that the run has already."""
    found: Results = {model.stage: {} for model in evaluation.models}
    for cell in evaluation.cells:
        result = eval_cache.in_run(evaluation.place.paths, cell)
        if result:
            found[cell.model.stage][cell.task.name] = result
    return found


def pending_work(evaluation: Evaluation, known: Results) -> list[Work]:
    """Return the processes still to run; raise DataError where rows that they need are not on this machine."""
    todo = [cell for cell in evaluation.cells if cell.task.name not in known[cell.model.stage]]
    place = evaluation.place
    require_data(list({cell.task.name: cell.task for cell in todo}.values()), place.env)
    work, models = [], []
    for model in evaluation.models:
        cells = tuple(cell for cell in todo if cell.model.stage == model.stage)
        if cells:
            folder = place.paths.rendered(f"eval_{model.stage}")
            rendered = render_tasks([cell.task for cell in cells], place.env, folder)
            work.append(Work(lm_eval_stage(place, cells, rendered), cells))
            models.append(model)
    if work and place.target.asserted:
        work.insert(0, Work(tokenizer_stage(place, models, evaluation.tasks), ()))
    return work


def require_server_packages(python: str) -> None:
    """Raise ToolError where lm-eval lacks what it talks to servers with: an extra of it, not needed for the rest."""
    needed = ("aiohttp", "requests", "tenacity", "tqdm")
    code = f"import importlib.util as u; print(*(n for n in {needed!r} if u.find_spec(n) is None))"
    lacking = capture((python, "-c", code), env=child_env({}, online=False))[1].split()
    if lacking:
        raise ToolError(
            f"lm-eval asks servers through {', '.join(lacking)}, not installed in that environment",
            where=python,
            fix="pip install 'lm-eval[api]==0.4.11' there, or use --backend hf",
            code="tool.not_installed",
        )
