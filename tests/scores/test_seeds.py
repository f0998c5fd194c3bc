"""The verdict on two arms: a planted effect is found, identical arms are not told apart, figures agree by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alphaf_orch.scores.difference import Difference, corrected
from alphaf_orch.scores.seeds import Pairs, compare

SIZES = {"mcq": 305, "sentiment": 135, "numeric": 148, "rag": 150}  # the rows of finance-ko


def simulated(generator: np.random.Generator, seeds: int, training_sd: float, effect: float = 0.0) -> dict[str, Pairs]:
    """Return 0/1 scores of two arms whose rows are of all difficulties and whose trainings differ by `training_sd`."""
    shared = {arm: generator.normal(0, training_sd, seeds) for arm in ("before", "after")}
    found = {}
    for name, size in SIZES.items():
        easy = generator.beta(1, 1, size)

        def arm(which: str, shift: float, easy=easy, size=size) -> list[list[float]]:
            rows = []
            for seed in range(seeds):
                own = 0.5 * shared[which][seed] + math.sqrt(0.75) * generator.normal(0, training_sd)
                rows.append((generator.random(size) < np.clip(easy + shift + own, 0, 1)).astype(float).tolist())
            return rows

        found[name] = Pairs(arm("before", 0.0), arm("after", effect))
    return found


def verdicts(tasks: dict[str, Pairs]) -> list[str]:
    overall, by_task = compare(tasks, overall=list(tasks))
    return [effect.verdict for effect in corrected({"": overall, **by_task}).values()]


@pytest.mark.parametrize(("seeds", "training_sd"), [(1, 0.0), (2, 0.03), (3, 0.05)])
def test_two_identical_arms_are_told_apart_in_at_most_5_of_100_experiments(seeds, training_sd):
    generator = np.random.default_rng(seeds)
    wrong = sum(set(verdicts(simulated(generator, seeds, training_sd))) != {"none"} for _ in range(100))
    assert wrong <= 5


@pytest.mark.parametrize(("seeds", "verdict", "often"), [(1, "better_rows", 20), (2, "better", 12), (3, "better", 20)])
def test_a_planted_effect_is_found(seeds, verdict, often):
    """One seed can show that rows differ, never why; two seeds leave doubt of a gain of 25 points, three do not."""
    generator = np.random.default_rng(10 + seeds)
    found = [verdicts(simulated(generator, seeds, 0.01, effect=0.25))[0] for _ in range(20)]
    assert found.count(verdict) >= often
    assert set(found) <= {verdict, "none"}


def test_arms_with_the_very_same_scores_do_not_differ():
    rows = [[0.0, 1.0, 1.0, 0.0]] * 2
    overall, by_task = compare({"a": Pairs(rows, rows)}, overall=["a"])
    for effect in (overall, by_task["a"]):
        assert (effect.estimate, effect.p, effect.verdict) == (0, 1, "none")
        # Four rows that agree: Tango's interval of a paired difference without a discordant pair.
        assert (effect.low, effect.high) == pytest.approx((-3.8415 / 7.8415, 3.8415 / 7.8415), abs=1e-4)


def test_every_row_better_under_every_seed_is_better_without_any_noise():
    effect = compare({"a": Pairs([[0.0] * 20] * 2, [[1.0] * 20] * 2)}, overall=["a"])[0]
    assert (effect.estimate, effect.verdict) == (1.0, "better")
    # All signs alike: 2 of 2^20 flips, and the smallest p there is.
    assert effect.p <= 1e-3


def test_few_rows_are_not_enough_however_clear_they_are():
    effect = compare({"a": Pairs([[0.0] * 4], [[1.0] * 4])}, overall=["a"])[0]
    assert effect.p == pytest.approx(2 / 2**4, abs=0.02)
    assert effect.verdict == "none"


def test_one_seed_counts_the_noise_of_the_rows_twice():
    before, after = [0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0]
    effect = compare({"a": Pairs([before], [after])}, overall=["a"])[0]
    difference = np.array(after) - np.array(before)
    variance = difference.var(ddof=1) / 8
    # Both parts have 7 degrees of freedom, so Satterthwaite gives (2v)^2 / (2 v^2 / 7) = 14.
    half = 2.1447866879169273 * math.sqrt(2 * variance)
    assert effect.estimate == pytest.approx(difference.mean())
    assert difference.mean() + half > 1, "no share can rise by more than it has left"
    assert (effect.low, effect.high) == pytest.approx((difference.mean() - half, 1.0))


def test_seeds_that_disagree_widen_the_interval():
    generator = np.random.default_rng(5)
    rows = generator.random((2, 200)).round()
    steady = compare({"a": Pairs(rows.tolist(), rows.tolist())}, overall=["a"])[0]
    moved = rows.copy()
    moved[0, :60] = 1.0
    moved[1, :60] = 0.0
    unsteady = compare({"a": Pairs(rows.tolist(), moved.tolist())}, overall=["a"])[0]
    assert unsteady.high - unsteady.low > 0.3 > steady.high - steady.low
    assert unsteady.verdict == "none"


def test_the_overall_score_gives_each_task_the_same_weight():
    tasks = {"long": Pairs([[0.0] * 90], [[0.0] * 90]), "short": Pairs([[0.0] * 10], [[1.0] * 10])}
    overall, by_task = compare(tasks, overall=["long", "short"])
    assert overall.estimate == pytest.approx(0.5)
    assert overall.rows == 100
    assert (by_task["long"].estimate, by_task["short"].estimate) == (0.0, 1.0)


def test_a_task_outside_the_overall_score_has_a_noise_of_its_own():
    lengths = Pairs([[100.0, 220.0, 90.0], [400.0, 10.0, 95.0]], [[110.0, 200.0, 80.0], [90.0, 300.0, 20.0]])
    share = Pairs([[0.0, 1.0] * 30] * 2, [[1.0, 1.0] * 30] * 2)
    alone = compare({"share": share}, overall=["share"])[0]
    beside = compare({"share": share, "length": lengths}, overall=["share"])[0]
    assert alone == beside


def test_lower_is_better_where_the_metric_says_so():
    rows = Pairs([[1.0] * 30] * 2, [[0.0] * 30] * 2, higher_is_better=False)
    assert compare({"wrong": rows}, overall=[])[1]["wrong"].verdict == "better"


@pytest.mark.parametrize("of_trainings", [0.0, 0.4])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_variance_is_that_of_rows_and_of_seeds_less_what_both_hold(count, of_trainings):
    generator = np.random.default_rng(3)
    shift = generator.normal(0, of_trainings, (2, count, 1))
    before, after = (generator.random((2, count, 60)) + shift).round().clip(0, 1)
    effect = compare({"a": Pairs(before.tolist(), after.tolist())}, overall=["a"])[0]
    moved = (after - before).mean(axis=0)
    rows = moved.var(ddof=1) / 60
    seeds = (before.mean(axis=1).var(ddof=1) + after.mean(axis=1).var(ddof=1)) / count
    rest = sum(
        ((v - v.mean(axis=0) - v.mean(axis=1, keepdims=True) + v.mean()) ** 2).sum() / (count - 1) / 59 / 60 / count
        for v in (before, after)
    )
    assert effect.errors.rows == effect.errors.clusters == pytest.approx(math.sqrt(rows))
    # Both hold what chance does to one row in one training: it counts once; of two seeds it is not taken off.
    own = max(seeds, rest) if count == 2 else max(seeds - rest, rest / 2)
    assert effect.errors.seeds == pytest.approx(math.sqrt(own))
    assert effect.errors.together == pytest.approx(math.sqrt(rest))
    assert effect.errors.total == pytest.approx(math.sqrt(rows + own))


def test_one_seed_says_that_rows_differ_and_not_why():
    rows = {"a": Pairs([[0.0] * 200], [[1.0] * 120 + [0.0] * 80])}
    trained, merged = compare(rows, overall=["a"])[0], compare(rows, overall=["a"], trained=False)[0]
    assert (trained.verdict, trained.one_seed, trained.errors.seeds) == ("better_rows", True, None)
    assert (merged.verdict, merged.one_seed, merged.errors.seeds) == ("better", False, 0.0)
    turned = compare({"a": Pairs(rows["a"].after, rows["a"].before)}, overall=["a"])[0]
    assert turned.verdict == "worse_rows"


def test_holm_is_over_all_tests_and_decides_the_verdict():
    weak = Difference((0.5,), (0.6,), 100, low=0.01, high=0.19, kind="arms", p=0.03)
    assert weak.verdict == "better"
    both = corrected({"a": weak, "b": weak}).values()
    assert [effect.p_holm for effect in both] == [0.06, 0.06]
    assert [effect.verdict for effect in both] == ["none", "none"]
