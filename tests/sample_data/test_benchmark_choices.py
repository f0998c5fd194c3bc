"""The benchmark rows with given answers: form, balance, right numbers, and nothing that training has shown."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from benchmark_texts import RUN, bare, compute, runs, share, shown, training_texts
from sample_data.benchmark_choices import LABELS, TOPICS, Row, mcq_rows, sentiment_rows
from sample_data.sources import blocks

from alphaf_orch.inputs.samples import FILES, sample_path

TASKS = Path(__file__).parents[2] / "templates" / "eval" / "finance_ko"
ROWS = {"mcq": mcq_rows, "sentiment": sentiment_rows}


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (TASKS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def texts(row: dict[str, Any]) -> list[str]:
    return [row["question"], *row["choices"]] if "question" in row else [row["text"]]


# ---- files and form


@pytest.mark.parametrize("name", ROWS)
def test_committed_file_is_what_its_source_gives(name: str) -> None:
    built: list[Row] = ROWS[name]()
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in built]
    assert (TASKS / f"{name}.jsonl").read_bytes() == "".join(lines).encode("utf-8")


def test_questions_have_the_documented_form() -> None:
    rows = read("mcq")
    assert len(rows) >= 220
    assert [row["id"] for row in rows] == [f"mcq-{number:03}" for number in range(1, len(rows) + 1)]
    for row in rows:
        assert list(row) == ["id", "topic", "question", "choices", "answer"]
        assert len(row["choices"]) == 4 and len(set(map(bare_option, row["choices"]))) == 4, row["id"]
        assert type(row["answer"]) is int and 0 <= row["answer"] <= 3
        assert row["question"].rstrip(")").endswith(("?", ".", "다", "한다")), row["question"]
    counts = Counter(row["topic"] for row in rows)
    assert set(counts) == set(TOPICS) and min(counts.values()) >= 15
    # A run with --limit 14 meets every topic.
    assert [row["topic"] for row in rows[: len(TOPICS)]] == list(TOPICS)


def bare_option(option: str) -> str:
    return re.sub(r"\s", "", option)


def test_sentences_have_the_documented_form() -> None:
    rows = read("sentiment")
    assert len(rows) >= 120
    assert [row["id"] for row in rows] == [f"sent-{number:03}" for number in range(1, len(rows) + 1)]
    for row in rows:
        assert list(row) == ["id", "text", "label"]
        assert 15 <= len(row["text"]) <= 80 and row["text"].endswith("다."), row["text"]
    counts = Counter(row["label"] for row in rows)
    assert list(counts) == list(LABELS) and min(counts.values()) >= 40 and len(set(counts.values())) == 1


@pytest.mark.parametrize("name", ROWS)
def test_text_is_clean_nfc(name: str) -> None:
    text = (TASKS / f"{name}.jsonl").read_bytes().decode("utf-8")
    assert text == unicodedata.normalize("NFC", text)
    assert text.endswith("}\n") and "\r" not in text and "\\u" not in text and "\ufffd" not in text
    for row in read(name):
        for part in texts(row):
            assert part == part.strip() and "  " not in part, part
            # A particle never stands after a space, and won and per cent take the one that fits their final sound.
            assert not re.search(
                r"원(를|는|와)(?![가-힣])|(%|%p|bp|배)(을|은|과|으로)(?![가-힣])|\d [을를은는] ", part
            ), part


def test_nothing_goes_out_of_date() -> None:
    # Rates, limits and dates of today turn a right answer wrong; the base dates of stock indices never change.
    for name in ROWS:
        for row in read(name):
            for part in texts(row):
                assert not re.search(r"20\d\d년|올해 기준|현행|현재 (기준)?금리", part), part


# ---- no row twice, and none known from training


@pytest.mark.parametrize("name", ROWS)
def test_no_row_occurs_twice(name: str) -> None:
    seen = Counter(bare(texts(row)[0]) for row in read(name))
    assert [text for text, count in seen.items() if count > 1] == []
    # No sentence is another with one word changed: they share less than a run of 20 letters.
    shared = Counter(run for text in seen for run in {text[i : i + 20] for i in range(len(text) - 19)})
    assert [run for run, count in shared.items() if count > 1] == []


def test_no_row_is_known_from_training() -> None:
    known = set(training_texts())
    known_runs = {run for text in known for run in runs(text)}
    assert len(known) > 500
    for name in ROWS:
        for row in read(name):
            question, *options = map(bare, texts(row))
            assert question not in known and not runs(question) & known_runs, row
            assert not any(runs(option) & known_runs for option in options if len(option) >= RUN), row


def test_a_reworded_number_is_still_known_from_training() -> None:
    text = json.loads(sample_path(FILES[0]).read_text(encoding="utf-8").splitlines()[0])["messages"][-2]["content"]
    copied = f"다음 물음에 답하시오. {re.sub(r'[0-9]', '7', text)}  (단, 세금은 무시한다)"
    assert runs(bare(copied)) & {run for known in training_texts() for run in runs(known)}


# ---- nothing but knowledge gives the right option away


def test_right_options_are_spread_over_the_positions() -> None:
    rows = read("mcq")
    for part in (rows, rows[:100]):
        counts = Counter(row["answer"] for row in part)
        assert all(0.22 <= counts[place] / len(part) <= 0.28 for place in range(4)), counts


def test_length_does_not_give_the_right_option_away() -> None:
    rows = read("mcq")
    assert share(rows, max) <= 0.35
    assert share(rows, min) <= 0.35
    right = [len(row["choices"][row["answer"]]) for row in rows]
    wrong = [len(option) for row in rows for i, option in enumerate(row["choices"]) if i != row["answer"]]
    assert 0.9 <= (sum(right) / len(right)) / (sum(wrong) / len(wrong)) <= 1.1


def test_size_does_not_give_the_right_number_away() -> None:
    ranks: Counter[int] = Counter()
    for row in read("mcq"):
        numbers = [shown(option)[0] for option in row["choices"]]
        if all(number is not None for number in numbers) and len({shown(o)[1] for o in row["choices"]}) == 1:
            ranks[sorted(numbers).index(numbers[row["answer"]])] += 1  # type: ignore[type-var]
    assert ranks.total() >= 60
    assert max(ranks.values()) <= 0.35 * ranks.total() and min(ranks.values()) >= 0.15 * ranks.total(), ranks


def test_few_questions_ask_for_the_wrong_statement() -> None:
    negated = re.compile(r"(않는|않은|아닌|없는|않아야 하는) 것은\?$")
    rows = read("mcq")
    count = sum(bool(negated.search(row["question"])) for row in rows)
    assert 15 <= count <= 0.25 * len(rows)


def test_single_words_do_not_give_the_sentiment_away() -> None:
    up = re.compile("늘|증가|올랐|올라|높|상승|최대|흑자|회복|이익")
    down = re.compile("줄|감소|내렸|내려|낮|하락|적자|손실|취소|우려|부담|떨어")
    rows = read("sentiment")
    hits = 0
    for row in rows:
        score = len(up.findall(row["text"])) - len(down.findall(row["text"]))
        hits += row["label"] == ("긍정" if score > 0 else "부정" if score < 0 else "중립")
    assert hits / len(rows) < 0.6


def test_company_names_do_not_give_the_sentiment_away() -> None:
    labels: dict[str, Counter[str]] = {}
    for row in read("sentiment"):
        (name,) = [name for name in COMPANIES if name in row["text"]]
        labels.setdefault(name, Counter())[row["label"]] += 1
    assert set(labels) == set(COMPANIES)
    for name, counts in labels.items():
        assert len(counts) == 3 and counts.total() <= 10, (name, counts)


COMPANIES = (
    "윤슬전자",
    "벼리소재",
    "해오름케미칼",
    "은마루제지",
    "참나루조선",
    "너울해운",
    "마루솔은행",
    "가온누리건설",
    "나린반도체",
    "물빛화장품",
    "한들제약",
    "큰솔증권",
    "별하게임즈",
    "은하수통신",
    "소담외식",
    "든든손해보험",
    "여울에너지",
    "이음캐피탈",
    "아람터카드",
    "온들백화점",
    "햇귀태양광",
    "초록들유업",
    "새벽물류",
    "미르항공정비",
    "돌담건재",
    "늘봄의료기기",
    "푸른결여행",
    "솔개로봇",
)


# ---- right numbers, computed from the source

# Numbers that are known or compared, not computed.
KNOWN = {
    "1980년 1월 4일, 100",
    "7년",
    "290",
    "−0.8",
    "3개",
}


def source_questions() -> list[dict[str, list[str]]]:
    found = []
    for topic in TOPICS:
        for lines in blocks("mcq.txt", topic):
            row: dict[str, list[str]] = {}
            for key, text in lines:
                row.setdefault(key, []).append(text)
            assert set(row) <= set("Q+-=") and [len(row[key]) for key in "Q+-"] == [1, 1, 3], row
            found.append(row)
    return found


def test_every_computed_answer_is_right() -> None:
    computed = 0
    for row in source_questions():
        (right,) = row["+"]
        value, rest = shown(right)
        if "=" not in row:
            alike = {shown(option)[1] for option in [right, *row["-"]]}
            assert value is None or len(alike) > 1 or right in KNOWN, (row, "a number needs its computation")
            continue
        (expression,) = row["="]
        exact = compute(expression)
        assert value is not None
        rounded = "가까운" in row["Q"][0]
        places = len(right.split(".")[1].split("%")[0]) if "." in right and rounded else 0
        assert abs(value - exact) <= (Fraction(1, 2 * 10**places) if rounded else 0), (row, float(exact))
        for option in row["-"]:
            other, around = shown(option)
            assert other is None or around != rest or abs(other - exact) > 2 * abs(value - exact), (row, option)
        computed += 1
    assert computed >= 70


@pytest.mark.parametrize(
    ("option", "number", "rest"),
    [
        ("1,102만 5,000원", 11_025_000, ""),
        ("2억 5,000만원", 250_000_000, ""),
        ("1,650조원", 1_650 * 10**12, ""),
        ("200만원 이익", 2_000_000, " 이익"),
        ("약 3% 하락", 3, "약 % 하락"),
        ("−4%", -4, "%"),
        ("매출원가가 작다", None, "매출원가가 작다"),
    ],
)
def test_numbers_of_options_are_read(option: str, number: int | None, rest: str) -> None:
    assert shown(option) == (number, rest)


def test_expressions_are_worked_out_exactly() -> None:
    assert compute("0.1 + 0.2") == Fraction(3, 10)
    assert compute("10000000 * 1.05 ** 2") == 11_025_000
    assert compute("0.2 * -10") == -2
    assert compute("(3 ** 2 + 4 ** 2) ** 0.5") == 5
