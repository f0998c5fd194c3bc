"""What experiments and sweeps found, and what they would do, as JSON values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alphaf_orch.cli.detect_view import needed_words, seeds_shown
from alphaf_orch.cli.estimate_view import estimate_json
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.record import read_manifest
from alphaf_orch.core.wording import in_language
from alphaf_orch.estimates.measured import read_measured
from alphaf_orch.experiments.ablation.detect import Outlook
from alphaf_orch.experiments.ablation.evidence import planned_difference
from alphaf_orch.experiments.ablation.results import AblationResult, Comparison
from alphaf_orch.experiments.bakeoff.ranking import Weights, rank
from alphaf_orch.experiments.bakeoff.run import Findings
from alphaf_orch.experiments.experiment import Arm, Experiment, ExperimentPaths, Outcome
from alphaf_orch.experiments.sweep.choice import Choice, Rated
from alphaf_orch.experiments.sweep.run import Candidate, Swept, states
from alphaf_orch.planning.plan import Plan
from alphaf_orch.report.ablation.identity import start_warnings
from alphaf_orch.report.ablation.scores import verdict
from alphaf_orch.runs.expected import forecast_of
from alphaf_orch.runs.status import statuses
from alphaf_orch.scores.difference import Difference
from alphaf_orch.scores.power import POWER, planned, rows_needed


def experiment_plan_json(
    experiment: Experiment,
    paths: ExperimentPaths,
    plans: Mapping[str, Plan],
    machine: Machine,
    commands: Mapping[str, Sequence[Sequence[str]]],
    jobs: Sequence[Mapping[str, Any]] = (),
    lacks: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the arms with their commands, what they will take and what sets them apart; `jobs` are a scheduler's."""
    kept, first = read_measured(), experiment.arms[0]

    def of(arm: Arm) -> dict[str, Any]:
        plan = plans[arm.name]
        found = forecast_of(plan, machine, statuses(plan, read_manifest(plan.paths.manifest)), kept)
        alike = arm is first or arm.seed != first.seed
        return {
            **_arm(arm),
            "commands": [["alphaf", *command] for command in commands.get(arm.name, ())],
            "estimate": estimate_json(found),
            "difference": None if alike else planned_difference(plans[first.name], plan),
            "lacks": (lacks or {}).get(arm.name),
        }

    arms = [of(arm) for arm in experiment.arms if arm.name in plans]
    return {**_about(experiment, paths), "arms": arms, "jobs": list(jobs)}


def ablation_json(result: AblationResult, paths: ExperimentPaths, files: Iterable[Path]) -> dict[str, Any]:
    """Return how the arms ended, each comparison with its intervals and its sentence, and the files of the report."""
    return {
        **_about(result.experiment, paths),
        "stage": result.stage,
        "arms": [{**_arm(each.arm), **_ended(each.outcome)} for each in result.arms],
        "comparisons": [_comparison(each) for each in result.comparisons],
        "warnings": [in_language(text, "en") for text in start_warnings(result)],
        "files": [str(file) for file in files],
    }


def bakeoff_json(found: Findings, weights: Weights, files: Iterable[Path]) -> dict[str, Any]:
    """Return how the arms ended, the candidates in their order with every criterion, and the files of the report."""
    criteria = found.criteria()
    return {
        **_about(found.bakeoff.experiment, found.paths),
        "weights": dict(weights),
        "arms": [{**_arm(arm), **_ended(found.outcomes[arm.name])} for arm in found.bakeoff.experiment.arms],
        "places": [
            {
                "candidate": each.candidate,
                "place": each.place,
                "of": each.of,
                "total": each.total,
                "whole": each.whole,
                "criteria": {name: one.value for name, one in criteria[each.candidate].items()},
            }
            for each in rank(criteria, weights)
        ],
        "failed": dict(found.failed),
        "files": [str(file) for file in files],
    }


def outlook_json(name: str, found: Outlook, points: float, seeds: int) -> dict[str, Any]:
    """Return what a suite would show with some numbers of seeds, and what a difference of so many points needs."""
    basis, wanted = found.basis, points / 100
    return {
        "experiment": name,
        "points": points,
        "power": POWER,
        "seeds": seeds,
        "tasks": found.tasks,
        "rows": basis.rows,
        "independent_rows": basis.units,
        "tests": found.tests,
        "by_seeds": [
            {
                "seeds": count,
                "seen_points": 100 * planned(basis, count, found.tests),
                "rows_needed": rows_needed(basis, count, wanted, found.tests),
            }
            for count in seeds_shown(seeds)
        ],
        "needed": needed_words(found, wanted),
        "rows_from": found.rows_from,
        "seeds_from": found.seeds_from,
    }


def candidates_json(tried: Sequence[Candidate]) -> list[dict[str, Any]]:
    """Return the candidates of a sweep with how each stands and the files and command of its merge."""
    return [
        {
            "name": candidate.name,
            "values": dict(candidate.values),
            "state": state,
            "reason": reason,
            "argv": list(candidate.plan.stages[-1].argv),
            "files": {str(path): file.text for path, file in candidate.plan.stages[-1].files.items()},
        }
        for candidate, (_, state, reason) in zip(tried, states(tried), strict=True)
    ]


def sweep_json(run: str, swept: Swept, choice: Choice, files: Iterable[Path]) -> dict[str, Any]:
    """Return the candidates of a sweep and what they are compared with, rated, and which became the run's model."""
    return {
        "run": run,
        "best": choice.best,
        "model": str(swept.published) if swept.published else None,
        "metrics": dict(choice.metrics),
        "candidates": [_rated(each) for each in choice.rated],
        "references": [_rated(each) for each in choice.references],
        "failures": {name: error.what for name, error in swept.failures.items()},
        "files": [str(file) for file in files],
    }


def difference_json(found: Difference) -> dict[str, Any]:
    """Return a difference with its interval, its test and what may be said of it."""
    return {
        "estimate": found.estimate,
        "low": found.low,
        "high": found.high,
        "p": found.p,
        "p_holm": found.p_holm,
        "verdict": found.verdict,
        "rows": found.rows,
        "before": list(found.before),
        "after": list(found.after),
        "higher_is_better": found.higher_is_better,
    }


def _about(experiment: Experiment, paths: ExperimentPaths) -> dict[str, Any]:
    return {"experiment": experiment.name, "kind": experiment.kind, "folder": str(paths.root)}


def _arm(arm: Arm) -> dict[str, Any]:
    return {"arm": arm.name, "variant": arm.variant, "seed": arm.seed}


def _ended(outcome: Outcome) -> dict[str, Any]:
    ended = {"state": outcome.state, "exit_code": outcome.exit_code, "seconds": outcome.seconds}
    return {**ended, "error": outcome.error or None, "code": outcome.code or None}


def _comparison(found: Comparison) -> dict[str, Any]:
    return {
        "before": found.before,
        "after": found.after,
        "seeds": list(found.seeds),
        "verdict": verdict(found).en,
        "overall": difference_json(found.overall) if found.overall else None,
        "tasks": [
            {"task": task, "metric": metric, "share": (task, metric) in found.shares, **difference_json(each)}
            for (task, metric), each in found.tasks.items()
        ],
        "refused": {task: in_language(reason, "en") for task, reason in found.refused.items()},
    }


def _rated(found: Rated) -> dict[str, Any]:
    against = {name: difference_json(each) for name, each in found.against.items()}
    return {"name": found.name, "overall": found.overall, "by_task": dict(found.by_task), "against": against}
