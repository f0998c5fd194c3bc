"""Rows that share a document: intervals and tests keep them together, and agree with other computations."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import report_runs

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.report.markdown import render_markdown
from alphaf_orch.report.run.content import report_of, run_arms
from alphaf_orch.scores.clusters import grouped, labels_of, mean_error
from alphaf_orch.scores.compare import score
from alphaf_orch.scores.loaded import load_run
from alphaf_orch.scores.resampling import difference_interval, exchange_test, interval, macro_f1, mean
from alphaf_orch.scores.results import read_samples
from alphaf_orch.scores.significance import wilson
from alphaf_orch.scores.table import build

SIZES = (1, 2, 3, 5, 8, 13)
LABELS = [f"c{at}" for at, size in enumerate(SIZES) for _ in range(size)]
VALUES = np.random.default_rng(1).random(len(LABELS)).round(2).tolist()


@pytest.fixture
def run(tmp_path) -> RunPaths:
    return report_runs.make_run(tmp_path / "실행" / "한글-run")


def store(run: RunPaths, stage: str, rights: list[float], cluster=lambda row: f"d{row // 5}") -> None:
    samples = [
        replace(report_runs.sample(f"q{row:03}", right), cluster=cluster(row)) for row, right in enumerate(rights)
    ]
    report_runs.add_result(run, stage, "quiz", samples)


def test_the_standard_error_is_the_jackknife_over_clusters():
    values = np.array(VALUES)
    without = [values[[label != name for label in LABELS]].mean() for name in sorted(set(LABELS))]
    wanted = sum((each - values.mean()) ** 2 for each in without) * 5 / 6
    assert mean_error(VALUES, LABELS) == pytest.approx(wanted**0.5)


def test_rows_of_their_own_have_the_usual_standard_error():
    usual = np.std(VALUES, ddof=1) / len(VALUES) ** 0.5
    assert mean_error(VALUES, None) == pytest.approx(usual)
    assert mean_error(VALUES, [str(row) for row in range(len(VALUES))]) == pytest.approx(usual)
    assert mean_error([1.0], None) is None
    assert mean_error([1.0, 0.0], ["a", "a"]) is None


def test_kish_counts_unequal_clusters_less():
    assert grouped(6, list("aabbcc")).effective == pytest.approx(3)
    assert grouped(103, ["big"] * 100 + list("xyz")).effective == pytest.approx(103**2 / 10003)


def test_rows_without_a_cluster_are_their_own():
    assert labels_of(["a", "b"], {}) is None
    assert labels_of(["a", "b"], {"a": "x", "b": "y"}) is None
    assert labels_of(["a", "b", "c"], {"a": "b", "c": "b"}) == ["cluster b", "row b", "cluster b"]


def test_the_cluster_bootstrap_draws_clusters():
    generator = np.random.default_rng(2)
    names = [f"c{row // 4}" for row in range(200)]
    values = (np.repeat(generator.random(50), 4).round(1)).tolist()
    found = interval(mean, values, names)
    blocks = np.array(values).reshape(50, 4).mean(axis=1)
    drawn = blocks[generator.integers(0, 50, (20_000, 50))].mean(axis=1)
    assert found == pytest.approx(tuple(np.quantile(drawn, [0.0235, 0.9765])), abs=0.006)
    apart = interval(mean, values)
    assert found[1] - found[0] > 1.7 * (apart[1] - apart[0]), "four equal rows are one"


def test_the_exchange_of_clusters_is_the_enumeration():
    pairs = [(0.0, 0.5), (0.2, 0.9), (0.4, 0.3), (0.1, 0.6), (0.5, 0.9), (0.3, 0.2), (0.1, 0.9)]
    names = ["a", "a", "b", "c", "c", "d", "e"]
    moved = {name: sum(b - a for (a, b), at in zip(pairs, names, strict=True) if at == name) for name in names}
    sums = [sum(s * d for s, d in zip(signs, moved.values(), strict=True)) for signs in product((1, -1), repeat=5)]
    wanted = np.mean([abs(total) >= abs(sum(moved.values())) - 1e-12 for total in sums])
    assert exchange_test(mean, pairs, names) == pytest.approx(wanted, abs=0.01)


def test_five_documents_that_are_all_read_better_prove_nothing():
    pairs = [(0.0, 1.0)] * 100
    assert exchange_test(mean, pairs, [f"c{row % 5}" for row in range(100)]) == pytest.approx(2 / 2**5, abs=0.01)
    assert exchange_test(mean, pairs) <= 1e-3


def test_macro_f1_is_drawn_and_exchanged_by_cluster():
    generator = np.random.default_rng(3)
    gold = [str(row // 3 % 3) for row in range(120)]
    said = [[g if generator.random() < skill else "0" for g in gold] for skill in (0.5, 0.7)]
    pairs = [((g, a), (g, b)) for g, a, b in zip(gold, *said, strict=True)]
    doubled, names = pairs * 2, [f"r{row}" for row in range(120)] * 2
    # Every row twice, as one cluster: the same as each once.
    assert exchange_test(macro_f1, doubled, names) == pytest.approx(exchange_test(macro_f1, pairs), abs=0.02)
    assert difference_interval(macro_f1, doubled, names) == pytest.approx(
        difference_interval(macro_f1, pairs), abs=0.012
    )


def test_clusters_are_stored_beside_each_row_and_read_back(run):
    store(run, "sft", [1.0, 0.0] * 10, lambda row: None if row == 3 else f"d{row // 5}")
    stored = list(read_samples(run.eval_samples("sft", "quiz")))
    assert [each.cluster for each in stored[:5]] == ["d0", "d0", "d0", None, "d0"]
    assert "_cluster" not in stored[0].details
    assert load_run(run).scored["sft"]["quiz"].clusters["q001"] == "d0"


def test_a_share_of_clustered_rows_is_less_certain_than_wilson_says(run):
    store(run, "sft", [float(row // 5 % 2) for row in range(100)])
    found = score(load_run(run).scored["sft"]["quiz"], "acc")
    plain = wilson(50, 100)
    assert (found.method, found.n, found.clusters) == ("wilson", 100, 20)
    # Rows of a document are all right or all wrong: 20 rows, and a little for not knowing that they are.
    assert 0.95 * (wilson(10, 20)[1] - wilson(10, 20)[0]) < found.high - found.low < 0.55
    assert found.high - found.low > 2 * (plain[1] - plain[0])


def test_a_gain_on_few_documents_is_not_called_one(run):
    store(run, "base", [0.0] * 100, lambda row: f"d{row % 5}")
    store(run, "sft", [1.0 if row % 5 < 4 else 0.0 for row in range(100)], lambda row: f"d{row % 5}")
    change = build(run_arms(load_run(run))).changes["sft", "quiz", "acc"]
    assert (change.kind, change.gained, change.rows, change.clusters) == ("exchange", 80, 100, 5)
    assert change.verdict == "none"
    assert change.low <= 0 < change.estimate < change.high <= 1
    assert change.errors.clusters > 2 * change.errors.rows
    shown = render_markdown(report_of([run]), "en")
    assert "5 clusters" in shown
    assert "they are drawn, exchanged and summed by cluster" in shown


def test_results_of_before_there_were_clusters_take_those_of_the_other(run):
    store(run, "base", [0.0] * 100, lambda row: None)
    store(run, "sft", [1.0] * 100, lambda row: f"d{row % 5}")
    assert build(run_arms(load_run(run))).changes["sft", "quiz", "acc"].clusters == 5
    store(run, "sft", [1.0] * 100, lambda row: None)
    change = build(run_arms(load_run(run))).changes["sft", "quiz", "acc"]
    assert (change.clusters, change.kind, change.verdict) == (0, "mcnemar", "better")
