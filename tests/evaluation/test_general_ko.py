"""The general-ko suite: form, balance, right numbers, nothing about finance, and the figures of the real lm-eval."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from benchmark_texts import bare, compute, runs, share, shown, training_texts
from sample_data.benchmark_general import TOPICS, general_mcq_rows, general_open_rows
from sample_data.sources import blocks
from scripted_finance import CLEAN, _Loader

from alphaf_orch.core.paths import CHILD

ROOT = Path(__file__).resolve().parents[2]
SUITE = ROOT / "templates" / "eval" / "general_ko"
BUILT = {"mcq": general_mcq_rows, "open": general_open_rows}
MAIN = {"mcq": "acc", "open": "containment"}
FINANCE = re.compile(
    "금융|주식|(?<!재)주가|증권|채권|펀드|예금|적금|대출|금리|이자율|보험|세금|세율|과세|환율|투자|배당|자산|부채|매출|영업이익"
    "|회계|경제|물가|은행|신용|카드|연금|법률|헌법|형법|민법|대통령|총리|장관"
)


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SUITE / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def config(name: str) -> dict[str, Any]:
    return yaml.load((SUITE / f"{name}.yaml").read_text(encoding="utf-8"), _Loader)


def texts(row: dict[str, Any]) -> list[str]:
    return [row["question"], *row.get("choices", ()), *([row["answer"]] if "keywords" in row else ())]


ALL = [(name, row) for name in BUILT for row in read(name)]


# ---- rows


@pytest.mark.parametrize("name", BUILT)
def test_committed_file_is_what_its_source_gives(name: str) -> None:
    text = (SUITE / f"{name}.jsonl").read_bytes().decode("utf-8")
    assert text == "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in BUILT[name]())
    assert text == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    ("name", "prefix", "least", "keys"),
    [
        ("mcq", "general", 160, ["id", "topic", "question", "choices", "answer"]),
        ("open", "open", 40, ["id", "topic", "question", "answer", "keywords"]),
    ],
)
def test_rows_have_the_documented_form(name: str, prefix: str, least: int, keys: list[str]) -> None:
    rows = read(name)
    assert len(rows) >= least
    assert [row["id"] for row in rows] == [f"{prefix}-{number:03}" for number in range(1, len(rows) + 1)]
    assert all(list(row) == keys and row["question"].endswith("?") for row in rows)
    # A run with --limit 9 meets every topic, and none is a small one.
    assert [row["topic"] for row in rows[: len(TOPICS)]] == list(TOPICS)
    counts = Counter(row["topic"] for row in rows)
    assert max(counts.values()) <= 1.25 * min(counts.values())


def test_every_question_has_four_options_and_one_place() -> None:
    for row in read("mcq"):
        assert len(row["choices"]) == len(set(row["choices"])) == 4, row
        assert type(row["answer"]) is int and 0 <= row["answer"] <= 3


def test_every_source_block_is_whole() -> None:
    for topic in TOPICS:
        for lines in blocks("general_mcq.txt", topic):
            counts = Counter(key for key, _ in lines)
            assert (counts["Q"], counts["+"], counts["-"]) == (1, 1, 3) and set(counts) <= set("Q+-="), lines
        for lines in blocks("general_open.txt", topic):
            assert [key for key, _ in lines] == ["Q", "A", "K"], lines


def test_nothing_is_about_finance_or_goes_out_of_date() -> None:
    for _, row in ALL:
        for part in texts(row):
            assert not FINANCE.search(part) and not re.search(r"20\d\d년|현재|올해|최근", part), row
            assert part == part.strip() and "  " not in part, row


def test_no_row_occurs_twice_and_none_is_nearly_another() -> None:
    seen = Counter(bare(row["question"]) for _, row in ALL)
    assert [text for text, count in seen.items() if count > 1] == []
    shared = Counter(run for text in seen for run in {text[i : i + 20] for i in range(len(text) - 19)})
    assert [run for run, count in shared.items() if count > 1] == []


def test_no_row_is_known_from_training_or_from_the_finance_benchmark() -> None:
    finance = [
        json.loads(line)
        for path in sorted((ROOT / "templates" / "eval" / "finance_ko").glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    asked = [bare(row["text"] if "text" in row else row["question"]) for row in finance]
    known = {*training_texts(), *asked}
    assert len(known) > 1000
    known_runs = {run for text in known for run in runs(text) if len(run) == 30}
    for _, row in ALL:
        for part in map(bare, texts(row)):
            assert not runs(part) & known_runs, row
        assert bare(row["question"]) not in known, row


# ---- nothing but knowledge gives the right option away


def test_right_options_are_spread_over_the_positions() -> None:
    rows = read("mcq")
    for part in (rows, rows[:40], rows[:80]):
        counts = Counter(row["answer"] for row in part)
        assert max(counts[place] for place in range(4)) - min(counts[place] for place in range(4)) <= 1, counts
    # No order that repeats: what follows a place is each of the others now and then.
    pairs = Counter((first["answer"], second["answer"]) for first, second in pairwise(rows))
    assert all(pairs[first, second] >= 3 for first in range(4) for second in range(4) if first != second), pairs


def test_length_does_not_give_the_right_option_away() -> None:
    rows = read("mcq")
    assert 0.15 <= share(rows, max) <= 0.33
    assert 0.15 <= share(rows, min) <= 0.33


def test_every_computed_answer_is_right_and_no_other_option_is() -> None:
    computed = 0
    for lines in blocks("general_mcq.txt", "생활 수학과 논리"):
        (right,) = (text for key, text in lines if key == "+")
        for expression in (text for key, text in lines if key == "="):
            exact = compute(expression)
            assert shown(right)[0] == exact, lines
            assert all(shown(text)[0] != exact for key, text in lines if key == "-"), lines
            computed += 1
    assert computed >= 10


# ---- tasks


def test_every_yaml_is_a_task_of_the_suite_with_the_titles_of_the_report() -> None:
    assert sorted(path.stem for path in SUITE.glob("*.yaml")) == sorted(MAIN)
    for name, main in MAIN.items():
        task = config(name)
        assert (task["task"], task["tag"]) == (f"general_ko_{name}", "general-ko")
        assert task["dataset_kwargs"] == {"data_files": {"test": f"{name}.jsonl"}}
        about = task["metadata"]
        assert main == about["main_metric"] == task["metric_list"][0]["metric"]
        assert about["title_ko"]
        assert about["title_en"]


def test_every_metric_has_its_line_in_the_documentation() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert f"{config('open')['generation_kwargs']['max_gen_toks']} (open)" in page
    assert f"{len(ALL)} rows" in page
    for name in MAIN:
        assert f"{len(read(name))} " in page
        for metric in config(name)["metric_list"]:
            (line,) = [line for line in page.splitlines() if line.startswith(f"| `{metric['metric']}` |")]
            _, tasks, _, better = line.strip("| ").split(" | ")
            assert name in tasks.split(", ")
            assert better == {True: "higher", False: "lower", None: "neither"}[metric["higher_is_better"]]


def test_the_list_shows_the_suite(alphaf: Any) -> None:
    rows = {row["task"]: row for row in json.loads(alphaf("eval", "--list", "--json").stdout)["tasks"]}
    for name, main in MAIN.items():
        row = rows[f"general_ko_{name}"]
        assert (row["suites"], row["rows"], row["main_metric"], row["here"]) == (
            ["general-ko"],
            len(read(name)),
            main,
            True,
        )


@pytest.fixture
def process_open(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("py3langid")
    monkeypatch.syspath_prepend(str(CHILD))
    monkeypatch.syspath_prepend(str(SUITE))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # templates/ is what users copy
    from general_ko import process_open

    return process_open


def test_the_reference_answer_of_every_open_row_is_right_and_no_other_is(process_open: Any) -> None:
    rows = read("open")
    for row in rows:
        for text in (row["answer"], *row["keywords"][0], f"정답은 {row['keywords'][0][0]}입니다."):
            assert process_open(row, [text]) == {"containment": 1, **CLEAN, "length_chars": len(text)}, (
                row["id"],
                text,
            )
        for wrong in (row["question"], *(other["answer"] for other in rows if other["id"] != row["id"])):
            assert process_open(row, [wrong])["containment"] == 0, (row["id"], wrong)
