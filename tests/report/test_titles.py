"""What a task is called in a report: as its YAML says, stored with its scores; where none is stored, as shipped."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
import report_runs

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.evaluation.tasks.titles import shipped_titles
from alphaf_orch.report.markdown import render_markdown
from alphaf_orch.report.names import task_title
from alphaf_orch.report.run.content import report_of
from alphaf_orch.scores.results import TaskResult, read_result, read_samples, write_result


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
