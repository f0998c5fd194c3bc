"""A task's `cluster`: from its YAML to every stored row, told where it is wrong, and never a reason to ask again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from eval_run import write_rows

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import template_folders
from alphaf_orch.evaluation.tasks.clusters import cluster_of, local_clusters
from alphaf_orch.evaluation.tasks.suites import find_tasks

TASK = """\
task: bank_faq
tag: mine
dataset_path: json
dataset_kwargs: {data_files: {test: faq.jsonl}}
test_split: test
doc_to_text: "{{question}}"
doc_to_target: "{{answer}}"
metric_list:
  - metric: exact_match
metadata:
  version: 1
"""
DOCUMENTS = [["약관", f"공시 {row // 2}"] for row in range(6)]
ROWS = [
    {"id": f"f{row}", "question": f"질문 {row}", "answer": "답", "documents": documents[:: (-1) ** row]}
    for row, documents in enumerate(DOCUMENTS)
]


@pytest.fixture
def user(tmp_path: Path) -> Path:
    folder = tmp_path / "내 템플릿"
    (folder / "eval").mkdir(parents=True)
    write_rows(folder / "eval" / "faq.jsonl", ROWS)
    (folder / "eval" / "faq.yaml").write_text(TASK, encoding="utf-8")
    return folder


def task_of(user: Path, line: str = ""):
    (user / "eval" / "faq.yaml").write_text(TASK + line, encoding="utf-8")
    return find_tasks((user,), sys.executable)["bank_faq"]


def test_a_user_names_the_column_and_equal_documents_are_one_cluster_in_any_order(user):
    task = task_of(user, "  cluster: documents\n")
    assert task.cluster == ("documents",)
    found = local_clusters(task.config, task.cluster)
    assert [found[f"f{row}"] == found["f0"] for row in range(6)] == [True, True, False, False, False, False]
    assert len(set(found.values())) == 3
    assert task_of(user, "  cluster: [documents, answer]\n").cluster == ("documents", "answer")


def test_a_row_without_the_value_is_its_own():
    assert cluster_of({"a": None}, ["a"]) is cluster_of({}, ["a"]) is cluster_of({"a": ""}, ["a"]) is None
    assert cluster_of({"a": "x"}, []) is None
    assert cluster_of({"a": 0}, ["a"]) is not None


def test_a_cluster_changes_no_key_and_another_line_does(user):
    plain = task_of(user).content
    assert task_of(user, "  cluster: documents # they share them\n").content == plain
    assert task_of(user, "  suite_title_ko: 우리 은행\n").content == plain
    assert task_of(user, "  other: 1\n").content != plain


@pytest.mark.parametrize(
    ("line", "what", "fix"),
    [
        ("  cluster: document\n", "the rows have no column document, did you mean documents", "use one of id"),
        ("  cluster: 3\n", "cluster is 3, not the name of a column", "write `cluster: COLUMN`"),
        ("cluster: documents\n", "cluster: it stands under metadata", ""),
    ],
)
def test_a_wrong_cluster_is_told_before_anything_is_asked(user, line, what, fix):
    with pytest.raises(ConfigError) as caught:
        task_of(user, line)
    assert what.split(",")[0] in caught.value.what
    assert fix in caught.value.fix
    assert "faq.yaml" in caught.value.where


def test_the_shipped_rows_stand_on_so_many_documents_and_templates():
    found = find_tasks(template_folders(), sys.executable)
    for name, rows, clusters in (("finance_ko_rag", 150, 120), ("finance_ko_numeric", 148, 37)):
        task = found[name]
        assert task.rows == rows
        assert len(set(local_clusters(task.config, task.cluster).values())) == clusters
    assert found["finance_ko_mcq"].cluster == ()
    assert found["kobest_boolq"].cluster == ("paragraph",)
    assert found["allganize_rag_ko"].cluster == ("system",)
    assert found["allganize_rag_ko"].suite_titles["allganize"]["en"] == "Allganize's public finance benchmarks"
    assert found["kobest_boolq"].suite_titles["korean"]["ko"] == "한국어 지식과 이해"
