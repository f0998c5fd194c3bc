"""A sweep of merges: each candidate merged and scored apart from the run's own result, the best made that result."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from alphaf_orch.core.errors import AlphafError, Interrupted, RunStateError, StageError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.progress import tell
from alphaf_orch.core.record import copy_atomic, read_manifest, write_atomic, write_manifest
from alphaf_orch.evaluation.options import EvalOptions
from alphaf_orch.evaluation.request import plan_models
from alphaf_orch.evaluation.run import evaluate
from alphaf_orch.experiments.sweep.choice import Choice, choose
from alphaf_orch.inputs import identity
from alphaf_orch.inputs.model_files import read_template
from alphaf_orch.planning.context import Resolved
from alphaf_orch.planning.plan import Plan, plan_run
from alphaf_orch.planning.stages import MERGE_MODELS
from alphaf_orch.runs.chain import ChainModel, chain_models, partner_variants, run_config
from alphaf_orch.runs.damage import refuse
from alphaf_orch.runs.reference import find_reference
from alphaf_orch.runs.runner import locked, run_plan
from alphaf_orch.runs.sharing import link_tree
from alphaf_orch.runs.status import statuses
from alphaf_orch.runs.sums import record_files
from alphaf_orch.scores.loaded import load_run
from alphaf_orch.settings.config import RunConfig, dump_config


@dataclass(frozen=True)
class Candidate:
    """One merge of a sweep: its name, the values that were tried, and the plan that makes it in a folder of its own."""

    name: str
    values: Mapping[str, float]
    config: RunConfig
    plan: Plan


@dataclass(frozen=True)
class Swept:
    """What a sweep ended with; `failures` says by name what went wrong."""

    choice: Choice | None
    failures: Mapping[str, AlphafError]
    published: Path | None


def candidates(resolved: Resolved, grid: Mapping[str, Sequence[float]]) -> tuple[Candidate, ...]:
    """Return one candidate for every combination of the values; raises what a plain merge would be refused for."""
    found = []
    combinations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    for number, values in enumerate(combinations):
        name = "_".join(f"{key}-{value:g}" for key, value in values.items())
        place = resolved.paths.candidate(name)
        tried = resolved.config.model_copy(update={"merge": {**resolved.config.merge, **values}})
        plan = plan_run(replace(resolved, config=tried), place)
        # The first one asks for the disk of all.
        times = 1 if number else len(combinations)
        disk = {stage: times * needed for stage, needed in plan.disk.items()}
        found.append(Candidate(name, values, plan.config, replace(plan, disk=disk)))
    return tuple(found)


def run_sweep(
    tried: Sequence[Candidate],
    paths: RunPaths,
    section: str,
    options: EvalOptions,
    machine: Machine,
    console: Console,
    *,
    verbose: bool,
) -> Swept:
    """Merge and score every candidate, choose the best by overall score and make it the run's merged model.

    One that fails does not hide the others. Raises RunStateError before anything is merged where the run has a
    merged model of other settings already.
    """
    _refuse_other_result(tried, paths)
    with locked(paths):
        return _sweep(tried, paths, section, options, machine, console, verbose=verbose)


def _sweep(
    tried: Sequence[Candidate],
    paths: RunPaths,
    section: str,
    options: EvalOptions,
    machine: Machine,
    console: Console,
    *,
    verbose: bool,
) -> Swept:
    failures: dict[str, AlphafError] = {}
    made = []
    for candidate in tried:
        tell(console, f"sweep: {candidate.name}")
        try:
            run_plan(candidate.plan, machine, console, verbose=verbose)
            made.append(candidate)
        except Interrupted:
            raise
        except AlphafError as error:
            failures[candidate.name] = error
            tell(console, f"{candidate.name} failed: {error.what}")
    if not made:
        return Swept(None, failures, None)
    references = _references(made[0], paths, section)
    judged = [_model(candidate) for candidate in made]
    scored = _score([*references, *judged], paths, options, machine, console, failures, verbose=verbose)
    good = [candidate for candidate in made if candidate.name in scored]
    if not good:
        return Swept(None, failures, None)
    known = load_run(paths.sweep).scored
    asked = {name: {task: known[name][task] for task in tasks} for name, tasks in scored.items()}
    choice = choose(
        {candidate.name: asked[candidate.name] for candidate in good},
        {model.stage: asked[model.stage] for model in references if model.stage in asked},
    )
    best = next(candidate for candidate in good if candidate.name == choice.best)
    published = publish(best, paths)
    variants = list(partner_variants(_model(best)))
    if variants:  # the one that is handed on is asked under both chat templates
        _score(variants, paths, options, machine, console, failures, verbose=verbose)
    return Swept(choice, failures, published)


def _refuse_other_result(tried: Sequence[Candidate], paths: RunPaths) -> None:
    entry = read_manifest(paths.manifest)["stages"].get(MERGE_MODELS, {})
    fingerprints = {candidate.plan.stages[-1].fingerprint for candidate in tried}
    if paths.merged_models.exists() and entry.get("fingerprint") not in fingerprints:
        raise RunStateError(
            f"run {paths.full_name} has a merged model of other settings already",
            where=str(paths.merged_models),
            fix="keep it, or move it away and sweep again",
            code="run.other_settings",
        )


def _model(candidate: Candidate) -> ChainModel:
    folder = candidate.plan.paths.merged_models
    return ChainModel(candidate.name, str(folder), None, identity.folder_identity(folder))


def _references(candidate: Candidate, paths: RunPaths, section: str) -> list[ChainModel]:
    """Return the run's own model, and each partner under its own chat template."""
    assert candidate.plan.merge is not None
    partners = [
        ChainModel(
            "partner" if number == 1 else f"partner_{number}",
            partner.path,
            None,
            str(partner.identity),
            partner.path if read_template(Path(partner.path)) else None,
        )
        for number, partner in enumerate(candidate.plan.merge.partners, start=1)
    ]
    return [*chain_models(paths, (section,)), *partners]


def _score(
    models: Sequence[ChainModel],
    paths: RunPaths,
    options: EvalOptions,
    machine: Machine,
    console: Console,
    failures: dict[str, AlphafError],
    *,
    verbose: bool,
) -> dict[str, list[str]]:
    """Return {model: its tasks} of the models that could be scored; the others' errors go into `failures`."""
    place = paths.sweep
    probe = paths.probe("data")
    if probe.is_file() and not place.probe("data").is_file():
        # What system texts the training had is told with the scores.
        copy_atomic(probe, place.probe("data"))
    reference = find_reference(paths, models)

    def ask(chosen: Sequence[ChainModel]) -> dict[str, list[str]]:
        evaluation = plan_models(place, run_config(paths), tuple(chosen), reference, options, machine)
        return {stage: list(found) for stage, found in evaluate(evaluation, console, verbose=verbose).items()}

    try:
        return ask(models)
    except Interrupted:
        raise
    except AlphafError:
        pass  # which of them it was is found by asking one at a time; what is scored is kept
    scored: dict[str, list[str]] = {}
    for model in models:
        try:
            scored |= ask([model])
        except Interrupted:
            raise
        except AlphafError as error:
            failures[model.stage] = error
            tell(console, f"{model.stage}: no scores: {error.what}")
    return scored


def publish(best: Candidate, paths: RunPaths) -> Path:
    """Make a candidate the merged model of a run that is held, by hard links and without a second merge; record it."""
    source, target = best.plan.paths, paths.merged_models
    stage = best.plan.stages[-1]
    manifest = read_manifest(paths.manifest)
    recorded = manifest["stages"].get(MERGE_MODELS, {})
    same = recorded.get("fingerprint") == stage.fingerprint
    if target.is_dir() and same and recorded.get("state") == "done":
        refuse(paths, [MERGE_MODELS], "look")
        return target
    if target.exists() and not same:
        raise RunStateError(
            "the run has another merged model meanwhile",
            where=str(target),
            fix="move it away and sweep again",
            code="run.other_settings",
        )
    for told in (source.log(MERGE_MODELS), source.report(MERGE_MODELS), *source.rendered("x").parent.iterdir()):
        copy_atomic(told, paths.counterpart(told, source))
    entry = read_manifest(source.manifest)["stages"][MERGE_MODELS]
    assert best.plan.merge is not None
    manifest["merge_partners"] = [partner.record for partner in best.plan.merge.partners]
    # Weights that the manifest knows nothing of would be refused, should this be cut off.
    manifest["stages"][MERGE_MODELS] = {**entry, "state": "running", "chosen_from": source.name}
    write_manifest(paths.manifest, manifest)
    if not target.exists():  # else only the record was cut off: the rename is one step
        files = sorted(path for path in source.merged_models.rglob("*") if path.is_file())
        link_tree(source.merged_models, files, paths.scratch("sweep"), target)
    write_atomic(paths.config, dump_config(best.config))
    manifest["stages"][MERGE_MODELS]["state"] = "done"
    record_files(MERGE_MODELS, paths, manifest["stages"][MERGE_MODELS])
    write_manifest(paths.manifest, manifest)
    return target


def failed(swept: Swept, tried: Sequence[Candidate], paths: RunPaths) -> StageError | None:
    """Return the error to end with where a candidate failed; what the others made is kept."""
    names = [candidate.name for candidate in tried if candidate.name in swept.failures]
    if not names:
        return None
    first = swept.failures[names[0]]
    return StageError(
        f"{len(names)} of {len(tried)} candidates failed: {', '.join(names)}\n{first.what}",
        where=first.where,
        fix=f"mend the cause; the same command keeps what is finished in {paths.sweep.root}",
        code="stage.arms_failed",
    )


def states(tried: Sequence[Candidate]) -> list[tuple[str, str, str]]:
    """Return name, state and reason of each candidate, for a dry run."""
    found: list[tuple[str, str, str]] = []
    for candidate in tried:
        status = statuses(candidate.plan, read_manifest(candidate.plan.paths.manifest))[-1]
        found.append((candidate.name, status.state, status.reason))
    return found
