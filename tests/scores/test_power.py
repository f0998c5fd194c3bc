"""Which difference can be seen: the formula against simulated comparisons, and what is said of it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from alphaf_orch.report.changes import verdict_text
from alphaf_orch.scores.difference import Difference, Errors, corrected
from alphaf_orch.scores.power import Basis, could_see, planned, rows_needed, smallest_seen
from alphaf_orch.scores.seeds import Pairs, compare

ROWS, NOISE, ROW_SD = 300, 0.01, 0.5


def found_share(seeds: int, effect: float, rng: np.random.Generator, times: int = 300) -> float:
    """Return the share of simulated comparisons that find the effect, at p < 0.05 of their own."""
    found = 0
    for _ in range(times):
        row = rng.normal(0, ROW_SD, ROWS)  # what the setting does to each row, beside its mean effect
        first, second = (rng.normal(0, NOISE, (seeds, 1)) for _ in range(2))
        before, after = first + np.zeros(ROWS), second + effect + row
        overall, _ = compare({"task": Pairs(before.tolist(), after.tolist())}, overall=["task"])
        assert overall and overall.p is not None
        found += overall.p < 0.05
    return found / times


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_planned_difference_is_found_four_times_in_five(seeds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # The exchange of signs takes most of the time, and finds what t finds where the rows' noise is normal.
    monkeypatch.setattr("alphaf_orch.scores.seeds.flip_test", lambda _: 0.0)
    basis = Basis(ROWS, ROWS, ROW_SD**2 / ROWS, 2 * NOISE**2)
    share = found_share(seeds, planned(basis, seeds), np.random.default_rng(seeds))
    # The test is on the careful side (docs/ablation.md), so it may find a little less than planned.
    assert 0.72 <= share <= 0.88


def test_a_formula_with_known_values() -> None:
    # z(0.975) + z(0.8) = 1.95996 + 0.84162
    assert smallest_seen([(1.0, 1e9)]) == pytest.approx(2.80158, abs=1e-4)
    # t(0.975, 10) + t(0.8, 10) = 2.22814 + 0.87906
    assert smallest_seen([(4.0, 10)]) == pytest.approx(2 * 3.10720, abs=1e-3)
    # ten tests: z(0.9975) = 2.80703
    assert smallest_seen([(1.0, 1e9)], tests=10) == pytest.approx(2.80703 + 0.84162, abs=1e-4)


@pytest.mark.parametrize("seeds", [1, 2, 5, 12])
def test_the_rows_that_are_needed_are_just_enough(seeds: int) -> None:
    basis = Basis(700, 400, 2e-4, 1e-5)
    needed = rows_needed(basis, seeds, 0.05)
    assert needed is not None
    assert planned(basis, seeds, times=needed / 700) <= 0.05
    assert planned(basis, seeds, times=0.99 * needed / 700) > 0.05


def test_no_number_of_rows_takes_the_noise_of_the_seeds_away() -> None:
    assert rows_needed(Basis(700, 400, 2e-4, 4e-4), 2, 0.02) is None
    assert rows_needed(Basis(700, 400, 2e-4, 4e-4), 30, 0.02) is not None


def test_one_seed_counts_the_noise_of_the_rows_twice() -> None:
    basis = Basis(700, 1e9, 1e-4)
    assert planned(basis, 1) == pytest.approx(2.80158 * math.sqrt(2e-4), rel=1e-4)


def test_a_difference_that_was_not_shown_says_what_would_have_been() -> None:
    found = Difference((0.5,), (0.51,), 100, low=-0.02, high=0.04, p=0.5, errors=Errors(0.015, 0.015))
    assert could_see(found) == pytest.approx(2.80158 * 0.015, rel=1e-4)
    assert verdict_text(found, share=True).en == "no difference shown (seen from 4.2 pt on)"
    assert "4.2%p 이상이면 보였을 것" in verdict_text(found, share=True).ko
    without = replace(found, errors=None)  # from the interval: half of 0.06 is 1.96 standard errors
    assert could_see(without) == pytest.approx(2.80158 * 0.03 / 1.95996, rel=1e-4)
    assert verdict_text(replace(found, p=0.001), share=True).en == "better"
    assert could_see(replace(without, low=None, high=None)) is None


def test_many_tests_see_less() -> None:
    each = Difference((0.5,), (0.51,), 100, p=0.5, errors=Errors(0.015, 0.015))
    family = corrected(dict.fromkeys(range(10), each))
    assert could_see(family[0]) == pytest.approx((2.80703 + 0.84162) * 0.015, rel=1e-4)


def test_a_comparison_of_one_seed_takes_the_seeds_noise_as_the_rows() -> None:
    rng = np.random.default_rng(5)
    before, after = (rng.integers(0, 2, 400).astype(float) for _ in range(2))
    overall, _ = compare({"task": Pairs([before.tolist()], [after.tolist()])}, overall=["task"])
    assert overall and overall.errors and overall.errors.seeds is None and overall.verdict == "none"
    error = math.sqrt(2) * float((after - before).std(ddof=1)) / 20
    assert could_see(overall) == pytest.approx(2.81 * error, rel=0.01)
