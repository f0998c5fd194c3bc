"""What verdicts are worth, by simulation: rows in clusters, trainings that differ by their seed, a planted gain."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from alphaf_orch.scores.difference import corrected
from alphaf_orch.scores.seeds import Pairs, compare

# (rows, clusters) of finance-ko as it is shipped: choices stand alone, tables share templates, questions documents.
FINANCE = ((305, 305), (135, 135), (148, 37), (150, 120))
# The same with general-ko and allganize: what a release is compared on.
RELEASE = (*FINANCE, (166, 166), (40, 40), (944, 944), (455, 455), (204, 204), (100, 60), (200, 200))
TRAINING_SD = 0.3  # logits, of a whole training
CLUSTER_SD = 0.5  # logits, of what one training makes of one cluster


@cache
def labels(rows: int, clusters: int) -> list[str] | None:
    return None if rows == clusters else [f"c{row % clusters}" for row in range(rows)]


def simulated(
    generator, sizes, seeds: int, *, training_sd: float = TRAINING_SD, shift: float = 0.0, points: bool = True
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
        scores = right.astype(float) if points else right * generator.choice([0.25, 0.5, 1.0], chance.shape)
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
