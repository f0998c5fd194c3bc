"""What an ablation could see before it is run: from scores that are stored, else from what is assumed and said so."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from alphaf_orch.core.errors import AlphafError, ConfigError
from alphaf_orch.core.paths import RunPaths, template_folders
from alphaf_orch.evaluation.options import counted_rows, suites_asked
from alphaf_orch.evaluation.tasks.clusters import local_clusters
from alphaf_orch.evaluation.tasks.suites import find_tasks, select_tasks
from alphaf_orch.evaluation.tasks.task import Task
from alphaf_orch.experiments.ablation.results import CITATION
from alphaf_orch.experiments.experiment import Experiment, all_experiments, read_record
from alphaf_orch.planning.base import tool_python
from alphaf_orch.runs.find import all_runs
from alphaf_orch.scores.clusters import mean_error
from alphaf_orch.scores.loaded import RunData, Scored, load_run
from alphaf_orch.scores.power import Basis
from alphaf_orch.scores.rows import rows_of
from alphaf_orch.scores.seeds import pairs_of

# Two trainings of one base mostly get the same rows right. Ours, and careful: between 0.5 and 0.8 in published pairs of
# models (Miller 2024, arXiv 2411.00640, section 4.2 puts it at 0.3 to 0.7).
ALIKE = 0.5
_WORST = 0.25  # the variance of a right-or-wrong row at one half, where it is largest
_RUNS = 24  # ours: the newest runs that are read; more say the same and take seconds

Scores = Mapping[str, Scored]  # by task


@dataclass(frozen=True)
class Outlook:
    """What is known of the noise, from where, and how many tests will share the level."""

    basis: Basis
    tasks: int
    tests: int
    rows_from: str
    seeds_from: str


@dataclass(frozen=True)
class _Trained:
    """A finished model's scores of all tasks, with its base's where they are known."""

    name: str
    scores: Scores
    base: Scores
    key: tuple[str, str] | None = None  # experiment and variant: models of one key differ in their seed alone
    model: str = ""


def outlook(experiment: Experiment) -> Outlook:
    """Return what the experiment's suite and the scores stored of it let expect; starts and writes nothing.

    Raises ConfigError where no task has rows that can be counted, or none a score between 0 and 1 to be averaged.
    """
    request, config = experiment.evaluations[0], experiment.arms[0].config
    found = find_tasks(template_folders(config.templates), tool_python(config, "axolotl"))
    tasks = select_tasks(found, suites_asked(request), request.tasks)
    sizes = {task.name: _size(task, request.limit) for task in tasks}
    stage = request.stages[-1]
    known = [each for each in _stored(stage) if each.model == config.model and sizes.keys() <= each.scores.keys()]
    variance, source = _row_variance(tasks, sizes, known)
    rows = sum(rows for rows, _ in sizes.values())
    units = len(sizes) ** 2 / sum(1 / units for _, units in sizes.values())
    seed, seed_source = _seed_variance(list(sizes), known)
    others = len(experiment.variants) - 1
    cited = sum(CITATION in task.metrics and task.main_metric != CITATION for task in tasks)
    return Outlook(
        Basis(rows, units, variance, seed),
        len(tasks),
        others * (len(tasks) + (len(tasks) > 1) + cited),  # as results._correct counts them
        source,
        seed_source,
    )


def _size(task: Task, limit: int | None) -> tuple[int, float]:
    """Return how many rows of a task will be asked, and how many independent ones they are."""
    rows = counted_rows(task)
    if not rows:
        raise ConfigError(
            f"the rows of {task.name} cannot be counted before they are asked",
            where="--detect",
            fix="name tasks with rows in local files, or evaluate a run under this suite first",
            code="config.rows_uncounted",
        )
    clusters = local_clusters(task.config, task.cluster)
    shared = len(clusters) - len(set(clusters.values()))
    asked = min(rows, limit) if limit else rows
    return asked, max(2.0, asked * (1 - shared / rows))


def _stored(stage: str) -> Iterator[_Trained]:
    """Yield the newest models of a stage whose scores are stored, arms of experiments first."""
    places: list[tuple[RunPaths, tuple[str, str] | None]] = []
    for paths in reversed(all_experiments()):
        try:
            arms = read_record(paths).get("arms", ())
        except AlphafError:
            continue  # as below
        for arm in arms:
            if arm["state"] == "done":
                places.append((paths.arm(arm["name"]), (paths.root.name, arm["variant"])))
    places += [(paths, None) for paths in reversed(all_runs())]
    for place, key in places[:_RUNS]:
        try:
            run = load_run(place)
        except AlphafError:
            continue  # told by whoever reports it; here it is one source less
        if stage in run.scored:
            name = "/".join(place.root.parts[-2:]) if key else run.name
            yield _Trained(name, run.scored[stage], run.scored.get("base", {}), key, _model(run))


def _model(run: RunData) -> str:
    return str(run.config.get("model") or run.manifest.get("model") or "")


def _main(scored: Scored) -> str:
    return next(iter(scored.result.metrics))


def _row_variance(
    tasks: Sequence[Task], sizes: Mapping[str, tuple[int, float]], known: Sequence[_Trained]
) -> tuple[float, str]:
    """Return the variance of the overall difference of two trainings by the choice of rows, and where it is from."""
    for first, second in itertools.combinations(known, 2):
        if variance := _paired(first.scores, second.scores, sizes):
            return variance, f"the rows of {first.name} and {second.name}, paired"
    for each in known:
        variance = sizes.keys() <= each.base.keys() and _paired(each.base, each.scores, sizes)
        if variance:
            return variance, f"the rows of {each.name} and of its base, paired: two trainings differ by less"
    if known:
        errors = {name: _own_error(known[0].scores[name], size) for name, size in sizes.items()}
        if all(errors.values()):
            total = sum(error**2 for error in errors.values() if error)
            said = f"the rows of {known[0].name}; that two trainings agree on them by {ALIKE:g} is assumed"
            return 2 * (1 - ALIKE) * total / len(sizes) ** 2, said
    total = sum(_WORST / units for _, units in sizes.values())
    said = f"no scores are stored: rows are taken to be right by half, and two trainings to agree on them by {ALIKE:g}"
    return 2 * (1 - ALIKE) * total / len(tasks) ** 2, said


def _paired(before: Scores, after: Scores, sizes: Mapping[str, tuple[int, float]]) -> float:
    total = 0.0
    for name, (rows, _) in sizes.items():
        found = pairs_of([before[name]], [after[name]], _main(after[name]))
        moved = [b - a for a, b in zip(found.before[0], found.after[0], strict=True)] if found else []
        error = mean_error(moved, found.clusters) if found else None
        if error is None:
            return 0.0
        total += error**2 * len(moved) / rows
    return total / len(sizes) ** 2


def _own_error(scored: Scored, size: tuple[int, float]) -> float | None:
    found = rows_of(scored, _main(scored))
    if found is None or not found.mean:
        return None
    names = sorted(found.values)
    error = mean_error([found.values[name] for name in names], found.labels(names))
    return error and error * (len(names) / size[0]) ** 0.5


def _seed_variance(tasks: Sequence[str], known: Sequence[_Trained]) -> tuple[float | None, str]:
    """Return twice the variance of the overall score between trainings that differ in their seed alone."""
    groups: dict[tuple[str, str], list[float]] = {}
    for each in known:
        if each.key is not None:
            values = [each.scores[task].result.metrics[_main(each.scores[task])].value for task in tasks]
            groups.setdefault(each.key, []).append(sum(values) / len(values))
    groups = {key: values for key, values in groups.items() if len(values) > 1}
    if not groups:
        return None, "no arms that differ in their seed alone are stored: taken to be as large as that of the rows"
    squares = sum(sum((value - sum(values) / len(values)) ** 2 for value in values) for values in groups.values())
    freedom = sum(len(values) - 1 for values in groups.values())
    names = ", ".join(sorted({name for name, _ in groups}))
    return 2 * squares / freedom, f"{freedom + len(groups)} arms of {names} that differ in their seed alone"
