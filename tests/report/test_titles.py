"""What a task is called in a report: as its YAML says, stored with its scores; where none is stored, as shipped."""

from __future__ import annotations

import json
import sys
from dataclasses import fields, replace

import pytest
import report_runs
from rich.console import Console

from alphaf_orch.cli.eval_views import print_results
from alphaf_orch.core.paths import RunPaths, template_folders
from alphaf_orch.core.wording import in_language, join
from alphaf_orch.evaluation.tasks.suites import find_tasks
from alphaf_orch.evaluation.tasks.titles import shipped_titles
from alphaf_orch.experiments.sweep.choice import choose
from alphaf_orch.report.card_text import _scores as card_scores
from alphaf_orch.report.markdown import render_markdown
from alphaf_orch.report.names import METRICS, task_title
from alphaf_orch.report.run.content import report_of
from alphaf_orch.report.score_blocks import error_shown
from alphaf_orch.report.sweep import explained
from alphaf_orch.scores.loaded import load_run
from alphaf_orch.scores.results import Metric, TaskResult, read_result, read_samples, run_results, write_result


@pytest.fixture
def run(tmp_path) -> RunPaths:
    paths = report_runs.make_run(tmp_path / "실행" / "한글-run")
    for stage in ("base", "sft"):
        for task in ("faq", "kmmlu_law"):
            report_runs.add_result(paths, stage, task, [report_runs.sample(f"q{i}", float(i % 2)) for i in range(8)])
    return paths


def store_title(run: RunPaths, **title: str) -> None:
    for stage in ("base", "sft"):
        result = replace(read_result(run.eval_result(stage, "faq")), title=title)
        write_result(run, result, list(read_samples(run.eval_samples(stage, "faq"))))


def test_a_users_own_task_is_called_as_its_yaml_says(run):
    store_title(run, ko="고객 질문", en="Questions of customers")
    assert "**Questions of customers · faq**" in render_markdown(report_of([run]), "en")
    korean = render_markdown(report_of([run]), "ko")
    assert "**고객 질문 · faq**" in korean
    assert "| 고객 질문 · 정확도 |" in korean
    store_title(run, ko="고객 질문")
    assert "**고객 질문 · faq**" in render_markdown(report_of([run]), "en"), "one language stands for both"


def test_scores_of_an_earlier_version_get_the_shipped_title_or_none(run):
    found = render_markdown(report_of([run]), "en")
    assert "**KMMLU law · kmmlu_law**" in found
    assert "**faq**" in found
    assert task_title("faq", {}) == "faq"


def test_every_shipped_task_has_a_title_in_both_languages():
    assert len(shipped_titles()) >= 28
    assert all(title.keys() == {"ko", "en"} for title in shipped_titles().values())


def test_the_stored_title_is_where_earlier_versions_do_not_stumble_over_it(run):
    store_title(run, ko="고객 질문")
    stored = json.loads(run.eval_result("sft", "faq").read_text(encoding="utf-8"))
    known = {field.name for field in fields(TaskResult)} - {"title"}
    assert stored.keys() == known, "a result with another key is one that they cannot read"
    assert read_result(run.eval_result("sft", "faq")).title == {"ko": "고객 질문"}


def test_the_public_suites_are_called_by_their_titles_everywhere(tmp_path):
    run = report_runs.make_run(tmp_path / "실행" / "run")
    for stage in ("base", "sft"):
        for task in ("allganize_rag_ko", "kobest_wic"):
            report_runs.add_result(run, stage, task, [report_runs.sample(f"q{i}", float(i % 2)) for i in range(8)])
    results = run_results(run)
    console = Console(width=200, record=True)
    print_results(console, {stage: dict(tasks) for stage, tasks in results.items()})
    scored = load_run(run).scored
    chosen = in_language(join(explained(choose({"a": scored["sft"]}, {"sft": scored["base"]})), " "), "en")
    card = card_scores(results)
    for shown in (console.export_text(), chosen, card, render_markdown(report_of([run]), "ko")):
        named = ("Answers with sources (Allganize)", "근거 인용 질의응답 (Allganize)")
        assert any(name in shown for name in named), shown
        assert "| kobest_wic |" not in shown
        assert any(name in shown for name in ("KoBEST words in context", "KoBEST 문맥 속 낱말 뜻"))


def test_rows_that_all_came_out_alike_are_shown_with_an_interval_where_others_have_an_error():
    assert error_shown(Metric(0.5, 0.1, 9, True), " ±") == " ±0.100"
    assert error_shown(Metric(1.0, 0.0, 40, True), " ±") == " [0.912, 1.000]"
    assert error_shown(Metric(0.0, 0.0, 40, True), " ±") == " [0.000, 0.088]"
    assert error_shown(Metric(1.0, 0.0, 40, True), " ±", units=5) == " [0.566, 1.000]", "forty rows of five documents"
    assert error_shown(Metric(12.0, 0.0, 40, None), " ±") == error_shown(Metric(0.5, None, 40, True), " ±") == ""


def test_every_metric_of_a_shipped_task_has_a_name():
    tasks = find_tasks(template_folders(), sys.executable)
    shown = {metric for task in tasks.values() if "allganize" in task.suites for metric in task.metrics}
    assert shown <= METRICS.keys()
