"""Intervals and tests of the report against values worked out by other means."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from alphaf_orch.scores.resampling import difference_interval, exchange_test, interval, macro_f1, mean, point
from alphaf_orch.scores.significance import holm, mcnemar, wilson


@pytest.mark.parametrize(("hits", "n"), [(0, 12), (7, 20), (20, 20), (333, 1000)])
def test_wilson_is_the_root_of_its_equation(hits, n):
    z, share = 1.959963984540054, hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    assert wilson(hits, n) == pytest.approx((middle - half, middle + half), abs=1e-12)


@pytest.mark.parametrize(("gained", "lost"), [(0, 5), (3, 9), (12, 2), (6, 6), (40, 22)])
def test_mcnemar_is_the_sum_of_the_binomial_tail(gained, lost):
    n, fewer = gained + lost, min(gained, lost)
    tail = sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n
    assert mcnemar(gained, lost) == pytest.approx(min(1.0, 2 * tail), abs=1e-12)


def test_mcnemar_without_a_differing_row_shows_nothing():
    assert mcnemar(0, 0) == 1.0


def test_holm_by_hand():
    # Sorted: 0.01 x 4 = 0.04; 0.02 x 3 = 0.06; 0.03 x 2 = 0.06 (not below the one before); 0.5 x 1.
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.4, 0.6]) == pytest.approx([0.8, 0.8])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def rows(seed: int, n: int = 200) -> list[float]:
    return [float(x) for x in np.random.default_rng(seed).choice([0.0, 0.25, 0.5, 1.0], n, p=[0.3, 0.2, 0.2, 0.3])]


def test_the_bootstrap_of_counts_is_the_bootstrap_of_rows():
    values = rows(1)
    wanted = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    assert interval(mean, values) == pytest.approx((wanted.low, wanted.high), abs=0.004)


def test_the_paired_bootstrap_is_that_of_the_differences():
    pairs = list(zip(rows(1), rows(2), strict=True))
    differences = [b - a for a, b in pairs]
    wanted = stats.bootstrap((differences,), np.mean, n_resamples=20_000, method="percentile", rng=1)
    found = difference_interval(mean, pairs)
    assert found == pytest.approx((wanted.confidence_interval.low, wanted.confidence_interval.high), abs=0.006)


@pytest.mark.parametrize("shift", [0.0, 0.04, 0.1])
def test_the_exchange_test_is_the_permutation_test_of_paired_samples(shift):
    first = rows(3)
    second = [value + shift for value in rows(4)]
    wanted = stats.permutation_test(
        (first, second),
        lambda a, b, axis: np.mean(b - a, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        rng=1,
    ).pvalue
    assert exchange_test(mean, list(zip(first, second, strict=True))) == pytest.approx(wanted, abs=0.015)


def test_the_exchange_test_of_few_rows_is_the_enumeration():
    pairs = [(0.0, 0.5), (0.2, 0.9), (0.4, 0.3), (0.1, 0.6), (0.5, 0.9), (0.3, 0.2)]
    differences = [b - a for a, b in pairs]
    sums = [sum(s * d for s, d in zip(signs, differences, strict=True)) for signs in product((1, -1), repeat=6)]
    wanted = np.mean([abs(total) >= abs(sum(differences)) - 1e-12 for total in sums])
    assert exchange_test(mean, pairs) == pytest.approx(wanted, abs=0.01)


def test_equal_results_show_no_difference():
    pairs = [(value, value) for value in rows(5)]
    assert exchange_test(mean, pairs) == 1.0
    assert difference_interval(mean, pairs) == (0.0, 0.0)


def test_macro_f1_by_hand():
    labels = [("긍정", "긍정"), ("긍정", "긍정"), ("부정", "긍정"), ("부정", "부정"), ("긍정", "중립")]
    # 긍정 is gold 3 times, said 3 times, hit twice: 4/6; 부정 is gold 2, said 1, hit 1: 2/3; 중립 is said only: 0.
    assert point(macro_f1, labels) == pytest.approx((4 / 6 + 2 / 3 + 0) / 3)


def test_macro_f1_intervals_and_test_agree_with_drawing_rows():
    generator = np.random.default_rng(6)
    words = ["긍정", "부정", "중립"]
    gold = [words[i % 3] for i in range(150)]
    said = [[g if generator.random() < skill else words[generator.integers(3)] for g in gold] for skill in (0.4, 0.6)]

    def f1(truth, answers):
        per_class = []
        for word in words:
            hit = sum(t == a == word for t, a in zip(truth, answers, strict=True))
            per_class.append(2 * hit / (truth.count(word) + answers.count(word)))
        return sum(per_class) / 3

    labels = [list(zip(gold, answers, strict=True)) for answers in said]
    assert point(macro_f1, labels[1]) == pytest.approx(f1(gold, said[1]))
    observed = f1(gold, said[1]) - f1(gold, said[0])
    draws, flips = [], 0
    for _ in range(2000):
        picked = generator.integers(150, size=150)
        sample = [gold[i] for i in picked]
        draws.append(f1(sample, [said[1][i] for i in picked]) - f1(sample, [said[0][i] for i in picked]))
        swap = generator.random(150) < 0.5
        first = [b if s else a for a, b, s in zip(*said, swap, strict=True)]
        second = [a if s else b for a, b, s in zip(*said, swap, strict=True)]
        flips += abs(f1(gold, second) - f1(gold, first)) >= abs(observed) - 1e-12
    pairs = list(zip(*labels, strict=True))
    assert difference_interval(macro_f1, pairs) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.02)
    assert exchange_test(macro_f1, pairs) == pytest.approx((flips + 1) / 2001, abs=0.02)


def test_the_same_rows_give_the_same_figures():
    pairs = list(zip(rows(1), rows(2), strict=True))
    assert exchange_test(mean, pairs) == exchange_test(mean, pairs)
    assert difference_interval(mean, pairs) == difference_interval(mean, pairs)
