"""The real lm-eval runs the tasks: its figures are the hand-computed ones, and the prompts are what they should be."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from scripted_finance import CLEAN, EXPECTED, ROOT, SUITE, TASKS, _Loader, config

from alphaf_orch.core.paths import CHILD

_Loader.add_constructor("!function", lambda loader, node: f"!function {node.value}")


def test_every_yaml_is_a_task_of_the_suite_with_its_main_metric() -> None:
    assert sorted(path.stem for path in SUITE.glob("*.yaml")) == sorted(TASKS)
    for name, main in TASKS.items():
        task = config(name)
        assert (task["task"], task["tag"]) == (f"finance_ko_{name}", "finance-ko")
        assert task["dataset_kwargs"] == {"data_files": {"test": f"{name}.jsonl"}}
        assert task["metadata"]["main_metric"] == main
        assert main == task["metric_list"][0]["metric"]
        assert set(EXPECTED[name]) == {metric["metric"] for metric in task["metric_list"]}
        assert task["metadata"]["title_ko"] and task["metadata"]["title_en"]


def test_every_metric_has_its_line_in_the_documentation() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    for name in TASKS:
        settings = config(name).get("generation_kwargs")
        assert settings is None or f"{settings['max_gen_toks']} ({name})" in page
        for metric in config(name)["metric_list"]:
            (line,) = [line for line in page.splitlines() if line.startswith(f"| `{metric['metric']}` |")]
            _, tasks, _, better = line.strip("| ").split(" | ")
            assert name in tasks.split(", ")
            assert better == {True: "higher", False: "lower", None: "neither"}[metric["higher_is_better"]]


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("py3langid")
    monkeypatch.syspath_prepend(str(CHILD))
    monkeypatch.syspath_prepend(str(SUITE))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # templates/ is what users copy
    import finance_ko

    return finance_ko


def shipped(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SUITE / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_reference_answer_of_every_numeric_row_is_right_and_its_table_is_not(hooks: Any) -> None:
    for row in shipped("numeric"):
        answer = row["answer"]
        for text in (answer, f"정답은 {answer}입니다.", f"10 × 2 = {answer}", f"따라서 {answer}이며 높은 수준입니다."):
            scores = hooks.process_numeric(row, [text])
            assert scores == {"exact_numeric": 1, **CLEAN, "length_chars": len(text)}, (row["id"], text)
        assert hooks.process_numeric(row, [row["table"]])["exact_numeric"] == 0, row["id"]


def test_the_reference_answer_of_every_rag_row_is_right_and_a_copy_of_its_prompt_is_not(hooks: Any) -> None:
    for row in shipped("rag"):
        right = {"citation_format": 1, "citation_precision": 1, "citation_recall": 1, "containment": 1}
        text = row["answer"]
        assert hooks.process_rag(row, [text]) == {**right, **CLEAN, "length_chars": len(text)}, row["id"]
        copied = hooks.process_rag(row, [hooks.rag_prompt(row)])
        assert (copied["citation_format"], copied["citation_precision"], copied["citation_recall"]) == (0, 0, 0), row[
            "id"
        ]
        one_line = hooks.process_rag(row, [hooks.rag_prompt(row).replace("\n", " ")])
        assert (one_line["citation_format"], one_line["citation_recall"]) == (0, 0), row["id"]


def test_the_labels_are_those_of_the_yaml_and_the_rows(hooks: Any) -> None:
    assert list(hooks.LABELS) == config("sentiment")["doc_to_choice"]
    assert {row["label"] for row in shipped("sentiment")} == set(hooks.LABELS)
