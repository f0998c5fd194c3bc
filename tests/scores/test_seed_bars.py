"""What verdicts are worth, by simulation: rows in clusters, trainings that differ by their seed, a planted gain."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from alphaf_orch.scores import resampling
from alphaf_orch.scores.difference import corrected
from alphaf_orch.scores.seeds import Pairs, compare

# (rows, clusters) of finance-ko as it is shipped: choices stand alone, tables share templates, questions documents.
FINANCE = ((305, 305), (135, 135), (148, 37), (150, 120))
TRAINING_SD = 0.3  # logits, of a whole training
CLUSTER_SD = 0.5  # logits, of what one training makes of one cluster


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Fewer sign flips: the smallest p that they can give stays far below what Holm asks for."""
    monkeypatch.setattr(resampling, "EXCHANGES", 799)


@cache
def labels(rows: int, clusters: int) -> list[str] | None:
    return None if rows == clusters else [f"c{row % clusters}" for row in range(rows)]


def simulated(
    generator, sizes, seeds: int, *, training_sd: float = TRAINING_SD, shift: float = 0.0
) -> dict[str, Pairs]:
    """Return two arms' answers: every row has its difficulty, every training its own logit over all tasks."""
    own = generator.normal(0, training_sd, (2, seeds))
    tasks = {}
    for number, (rows, clusters) in enumerate(sizes):
        easy = generator.normal(0, 1.5, rows)
        of_row = np.arange(rows) % clusters
        # A cluster is more than a row: what a training makes of it holds for all of its rows.
        shared = generator.normal(0, CLUSTER_SD, (2, seeds, clusters))[..., of_row] if clusters < rows else 0.0
        logits = easy + own[..., None] + shared
        logits[1] += shift
        chance = 1 / (1 + np.exp(-logits))
        right = generator.random(chance.shape) < chance
        scores = right.astype(float)
        tasks[f"t{number}"] = Pairs(scores[0].tolist(), scores[1].tolist(), clusters=labels(rows, clusters))
    return tasks


def verdicts(tasks: dict[str, Pairs]) -> list[str]:
    overall, by_task = compare(tasks, overall=list(tasks))
    return [each.verdict for each in corrected({"": overall, **by_task}).values()]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_identical_arms_are_called_different_in_at_most_5_of_100_experiments(seeds, seed):
    generator = np.random.default_rng([seed, seeds])
    wrong = sum(bool({"better", "worse"} & {*verdicts(simulated(generator, FINANCE, seeds))}) for _ in range(100))
    assert wrong <= 5


@pytest.mark.parametrize("points", [True, False])
def test_few_and_unequal_clusters_are_not_more_certain_than_they_are(points):
    """Eight documents, one of them with half of the rows, each read well or badly by a whole model."""
    generator = np.random.default_rng(7)
    place = np.array([0] * 60 + [1 + row % 7 for row in range(60)])
    names = [f"document {at}" for at in place]
    wrong = naive = 0
    for _ in range(100):
        chance = 1 / (1 + np.exp(-generator.normal(0, 1.5, (2, 1, 8))))[..., place]
        right = (generator.random(chance.shape) < chance) * (1.0 if points else generator.choice([0.5, 1.0], 120))
        lines = right[0].tolist(), right[1].tolist()
        clustered = compare({"a": Pairs(*lines, clusters=names)}, overall=["a"], trained=False)[0]
        apart = compare({"a": Pairs(*lines)}, overall=["a"], trained=False)[0]
        wrong += clustered.verdict != "none"
        naive += apart.verdict != "none"
        assert clustered.low <= clustered.estimate <= clustered.high
        assert clustered.errors.rows == apart.errors.rows
    assert wrong <= 5
    assert naive >= 30, "rows taken one by one are what goes wrong"


@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize("value", [0.0, 1.0, 0.5])
def test_arms_that_score_alike_everywhere_do_not_differ_and_are_not_certain(seeds, value):
    rows = [[value] * 24] * seeds
    for labels_ in (None, [f"c{row % 4}" for row in range(24)]):
        found = compare({"a": Pairs(rows, rows, clusters=labels_)}, overall=["a"])[0]
        units = 4 if labels_ else 24
        assert (found.verdict, found.p) == ("none", 1.0)
        width = 3.8415 / (units + 3.8415)
        assert (found.low, found.high) == pytest.approx((-width, width), abs=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_planted_gain_of_5_points_is_found_with_3_seeds_in_80_of_100_experiments(seed):
    """Three tasks of the size of KoBEST's, trainings whose scores have a standard deviation of half a point."""
    generator = np.random.default_rng([9, seed])
    sizes = ((1404, 1404), (1260, 800), (1000, 1000))
    found = [verdicts(simulated(generator, sizes, 3, training_sd=0.03, shift=0.29))[0] for _ in range(100)]
    assert found.count("better") >= 80
    assert "worse" not in found


def test_a_planted_gain_of_5_points_on_738_rows_is_found_with_3_seeds_in_80_of_100_experiments():
    """One task as large as finance-ko and one test, trainings that differ in what chance does to their rows."""
    generator = np.random.default_rng(10)
    found = [
        compare(simulated(generator, ((738, 738),), 3, training_sd=0.0, shift=0.29), overall=["t0"])[0]
        for _ in range(100)
    ]
    assert [each.verdict for each in found].count("better") >= 80
    assert "worse" not in {each.verdict for each in found}
