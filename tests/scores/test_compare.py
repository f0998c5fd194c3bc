"""The score table: which figures get which interval, what is compared, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from math import comb

import pytest
import report_runs

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.report.run.content import run_arms
from alphaf_orch.scores.compare import score
from alphaf_orch.scores.loaded import load_run
from alphaf_orch.scores.results import Metric, read_result, read_samples, write_result
from alphaf_orch.scores.rows import is_share
from alphaf_orch.scores.table import build


@pytest.fixture
def run(tmp_path) -> RunPaths:
    return report_runs.make_run(tmp_path / "실행" / "한글-run")


def answered(rights: list[int]) -> list:
    return [report_runs.sample(f"q{i:03}", float(right)) for i, right in enumerate(rights)]


def change_of(run: RunPaths, metric: str = "acc", task: str = "quiz"):
    return build(run_arms(load_run(run))).changes["sft", task, metric]


def two_results(run: RunPaths, base: list[int], sft: list[int], **settings) -> None:
    report_runs.add_result(run, "base", "quiz", answered(base))
    report_runs.add_result(run, "sft", "quiz", answered(sft), **settings)


def test_a_clear_gain_is_called_better(run):
    two_results(run, [0] * 30 + [1] * 30, [1] * 25 + [0] * 5 + [0] * 3 + [1] * 27)
    change = change_of(run)
    assert (change.gained, change.lost, change.rows) == (25, 3, 60)
    assert change.estimate == pytest.approx(22 / 60)
    assert change.kind == "mcnemar"
    assert change.p == pytest.approx(2 * sum(comb(28, k) for k in range(4)) / 2**28)
    assert change.low < change.estimate < change.high
    assert change.verdict == "better"


def test_no_difference_is_said_when_none_is_shown(run):
    two_results(run, [0, 1] * 20, [1, 0] * 3 + [0, 1] * 17)
    assert change_of(run).verdict == "none"


def test_a_gain_in_what_should_be_low_is_worse(run):
    for stage, share in (("base", 0), ("sft", 1)):
        samples = [replace(each, scores={"looping": float(share)}) for each in answered([0] * 40)]
        report_runs.add_result(run, stage, "quiz", samples)
    assert change_of(run, "looping").verdict == "worse"


def test_a_small_p_is_corrected_for_the_family(run):
    two_results(run, [0] * 6 + [1] * 34, [1] * 40)
    alone = change_of(run)
    assert alone.p == alone.p_holm == pytest.approx(2 / 64)
    assert alone.verdict == "better"
    for task in ("other", "third"):
        report_runs.add_result(run, "base", task, answered([0, 1] * 20))
        report_runs.add_result(run, "sft", task, answered([0, 1] * 20))
    among_three = change_of(run)
    assert among_three.p_holm == pytest.approx(3 * 2 / 64)
    assert among_three.verdict == "none"


@pytest.mark.parametrize(
    ("base", "sft", "settings", "reason"),
    [
        ([0, 1] * 20, [0, 1] * 20, {"limit": 40}, "other settings: limit None ≠ 40"),
        ([0, 1] * 20, [0, 1] * 20, {"num_fewshot": 5}, "other settings: num_fewshot 0 ≠ 5"),
        ([0, 1] * 20, [0, 1] * 10, {}, "other numbers of rows: 40 ≠ 20"),
    ],
)
def test_unlike_results_are_never_compared(run, base, sft, settings, reason):
    two_results(run, base, sft, **settings)
    change = change_of(run)
    assert (change.verdict, change.reason.en) == ("refused", reason)


def test_how_fast_a_model_was_asked_does_not_matter(run):
    two_results(run, [0, 1] * 20, [0, 1] * 20, batch_size=64, device="cuda:0", command="python -m lm_eval")
    assert change_of(run).verdict == "none"


def test_other_rows_and_other_golds_are_refused(run):
    report_runs.add_result(run, "base", "quiz", answered([1] * 5))
    report_runs.add_result(run, "sft", "quiz", [report_runs.sample(f"x{i}", 1.0) for i in range(5)])
    assert change_of(run).reason.en == "the rows have other ids"
    report_runs.add_result(run, "sft", "quiz", [report_runs.sample(f"q{i:03}", 1.0, gold="딴 답") for i in range(5)])
    assert change_of(run).reason.en == "other gold answers"
    report_runs.add_result(run, "sft", "quiz", [report_runs.sample("q000", 1.0)] * 5)
    assert change_of(run).reason.en == "several rows have the same id"


def test_intervals_are_named_for_what_they_are(run):
    report_runs.add_scores(run, ("sft",), n=90)
    tasks = load_run(run).scored["sft"]
    methods = {
        (task.removeprefix("finance_ko_"), metric): score(scored, metric).method
        for task, scored in tasks.items()
        for metric in scored.result.metrics
    }
    assert methods["mcq", "acc"] == "wilson"
    assert methods["sentiment", "macro_f1"] == "bootstrap"
    assert methods["rag", "citation_precision"] == "bootstrap"
    assert methods["rag", "length_chars"] == "bootstrap"


def test_a_figure_that_its_samples_do_not_give_keeps_its_own_error(run):
    report_runs.add_result(run, "sft", "quiz", answered([0, 1] * 20))
    stored = read_result(run.eval_result("sft", "quiz"))
    samples = list(read_samples(run.eval_samples("sft", "quiz")))
    write_result(run, replace(stored, metrics={"acc": Metric(0.9, 0.01, 40, True)}), samples)
    found = score(load_run(run).scored["sft"]["quiz"], "acc")
    assert found.method == "stderr"
    assert (found.low, found.high) == pytest.approx((0.9 - 0.0196, 0.9 + 0.0196), abs=1e-4)
    write_result(run, replace(stored, metrics={"acc": Metric(0.9, None, 40, True)}), samples)
    assert score(load_run(run).scored["sft"]["quiz"], "acc").method == ""


def test_only_shares_are_percentages(run):
    report_runs.add_scores(run, ("sft",), n=30)
    rag = load_run(run).scored["sft"]["finance_ko_rag"]
    assert is_share([rag], "citation_recall")
    assert not is_share([rag], "length_chars")


def test_a_length_has_no_better_side_and_no_test(run):
    report_runs.add_scores(run, ("base", "sft"), n=60)
    change = change_of(run, "length_chars", "finance_ko_rag")
    assert (change.verdict, change.p) == ("untested", None)
    assert change.low < change.estimate < change.high


def test_a_stage_is_compared_with_the_scored_one_before_it(run):
    report_runs.add_scores(run, ("dpo", "base"), n=30)
    arms = run_arms(load_run(run))
    assert [(arm.name, arm.against) for arm in arms] == [("base", None), ("dpo", "base")]


def test_ten_thousand_rows_a_task_are_no_burden(run):
    import time

    report_runs.add_scores(run, ("base", "sft"), n=10_000)
    started = time.monotonic()
    build(run_arms(load_run(run)))
    assert time.monotonic() - started < 15
