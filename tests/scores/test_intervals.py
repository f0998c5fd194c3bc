"""No interval has width zero where there is doubt, none leaves the range of its figure, none contradicts its test."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import report_runs

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.report.changes import interval
from alphaf_orch.report.figures import ends
from alphaf_orch.report.run.content import run_arms
from alphaf_orch.report.score_blocks import show_score
from alphaf_orch.scores.bounds import SHARE, SHARE_DIFFERENCE, held, score_interval
from alphaf_orch.scores.compare import score, stored_score
from alphaf_orch.scores.difference import Difference
from alphaf_orch.scores.loaded import load_run
from alphaf_orch.scores.results import Metric
from alphaf_orch.scores.seeds import Pairs, compare
from alphaf_orch.scores.significance import Z95, wilson
from alphaf_orch.scores.table import build


@pytest.fixture
def run(tmp_path) -> RunPaths:
    return report_runs.make_run(tmp_path / "실행" / "한글-run")


def store(run: RunPaths, stage: str, values: list[float], metric: str = "acc") -> None:
    rows = [report_runs.sample(f"q{at}", 0.0) for at in range(len(values))]
    report_runs.add_result(
        run, stage, "quiz", [replace(row, scores={metric: v}) for row, v in zip(rows, values, strict=True)]
    )


def change(run: RunPaths, metric: str = "acc"):
    return build(run_arms(load_run(run))).changes["sft", "quiz", metric]


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (0, 40), (40, 40), (7, 20)])
def test_the_score_interval_of_independent_rows_is_wilsons(hits, n):
    share = hits / n
    assert score_interval(share, share * (1 - share) / n, n, Z95) == pytest.approx(wilson(hits, n), abs=1e-12)
    if hits in (0, n):
        assert held((share, share), share, n, SHARE) == pytest.approx(wilson(hits, n), abs=1e-12)


def test_no_discordant_pair_has_tangos_interval():
    # Tango (1998), equation 3 with b = c = 0: |d| = z^2 / (n + z^2).
    wanted = Z95**2 / (50 + Z95**2)
    assert held((0.0, 0.0), 0.0, 50, SHARE_DIFFERENCE) == pytest.approx((-wanted, wanted))


@pytest.mark.parametrize("n", [1, 2, 3, 40])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_scores_that_are_all_alike_are_not_certain(run, n, value):
    store(run, "sft", [value] * n)
    found = score(load_run(run).scored["sft"]["quiz"], "acc")
    assert 0 <= found.low <= value <= found.high <= 1
    assert found.high - found.low == pytest.approx(Z95**2 / (n + Z95**2))


@pytest.mark.parametrize("n", [1, 2, 3, 40])
@pytest.mark.parametrize(("before", "after"), [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0), (0.5, 0.5), (0.25, 1.0)])
def test_differences_that_are_all_alike_are_not_certain(run, n, before, after):
    store(run, "base", [before] * n)
    store(run, "sft", [after] * n)
    found = change(run)
    assert -1 <= found.low <= found.estimate <= found.high <= 1
    assert found.low < found.high
    assert (found.p < 0.05) == (n == 40 and before != after)
    if found.p >= 0.05:
        assert found.low <= 0 <= found.high


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_few_rows_and_seeds_stay_within_a_hundred_points(rows, seeds):
    generator = np.random.default_rng(rows * 10 + seeds)
    for _ in range(40):
        first, second = generator.integers(0, 3, (2, seeds, rows)) / 2
        for labels in (None, ["one"] * rows):
            tasks = {"a": Pairs(first.tolist(), second.tolist(), clusters=labels)}
            found = compare(tasks, overall=["a"])[0]
            assert -1 <= found.low <= found.estimate <= found.high <= 1
            assert found.low < found.high
            assert found.verdict == "none"


def test_seeds_that_agree_exactly_leave_doubt_of_the_next_row():
    rows = [[0.0, 1.0] * 20] * 3
    found = compare({"a": Pairs(rows, [[1.0, 1.0] * 20] * 3)}, overall=["a"])[0]
    assert found.verdict == "better"
    assert 0 < found.low < 0.5 < found.high < 1


def test_lengths_have_no_range_and_so_no_interval_where_nothing_varies(run):
    store(run, "base", [120.0] * 9, "length_chars")
    store(run, "sft", [100.0] * 9, "length_chars")
    found = score(load_run(run).scored["sft"]["quiz"], "length_chars")
    assert (found.value, found.low, found.method) == (100.0, None, "")
    assert (change(run, "length_chars").low, change(run, "length_chars").estimate) == (None, -20.0)
    only = compare({"a": Pairs([[100.0] * 5] * 2, [[120.0] * 5] * 2)}, overall=[])[1]["a"]
    assert (only.low, only.high) == (None, None)


def test_a_macro_f1_of_one_is_not_certain(run):
    report_runs.add_scores(run, ("sft",), n=30)
    scored = load_run(run).scored["sft"]["finance_ko_sentiment"]
    stored = scored.result
    perfect = replace(
        scored,
        labels={name: (gold, gold) for name, (gold, _) in scored.labels.items()},
        result=replace(stored, metrics={**stored.metrics, "macro_f1": Metric(1.0, None, 30, True)}),
    )
    found = score(perfect, "macro_f1")
    assert found.low == pytest.approx(wilson(30, 30)[0])
    assert found.high == 1.0


@pytest.mark.parametrize(
    ("value", "stderr", "n", "low", "high"),
    [
        (0.98, 0.05, 20, 0.882, 1.0),
        (1.0, 0.0, 20, wilson(20, 20)[0], 1.0),
        (0.0, 0.0, 1, 0.0, wilson(0, 1)[1]),
        (0.5, None, 20, None, None),
        (0.5, 0.0, 0, None, None),
    ],
)
def test_a_stored_error_makes_no_interval_that_cannot_be(value, stderr, n, low, high):
    found = stored_score(Metric(value, stderr, n, True), share=True)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_no_figure_of_random_results_is_out_of_its_range():
    generator = np.random.default_rng(4)
    for _ in range(200):
        units = float(generator.integers(1, 60))
        mean = float(generator.choice([0.0, 1.0, generator.random()]))
        variance = float(generator.random()) * mean * (1 - mean)
        low, high = score_interval(mean, variance, units, float(generator.choice([Z95, 12.7])))
        assert 0 <= low <= mean <= high <= 1
        assert low < high


def test_a_narrow_interval_is_not_printed_as_one_of_width_zero():
    found = Difference((0.5,), (0.5,), 20_000, low=-0.0002, high=0.0002)
    assert interval(found, share=True) == "[−0.02, +0.02]"
    assert interval(replace(found, low=-0.02, high=0.02), share=True) == "[−2.0, +2.0]"
    assert ends(0.9998, 1.0, lambda value, more: show_score(value, share=True, more=more)) == "[99.98%, 100.00%]"
