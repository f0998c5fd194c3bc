"""The computed benchmark files: shape, gold recomputed from the tables, keywords, balance, apart from the samples."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from sample_data import benchmark, benchmark_rag
from sample_data.benchmark_family import STEMS, satisfied, variants
from sample_data.benchmark_issuers import ISSUERS
from sample_data.benchmark_item import BANKS as LENDERS
from sample_data.benchmark_item import FIRMS as COMPANIES
from sample_data.benchmark_products import PRODUCTS
from sample_data.products import FAMILIES
from sample_data.ratios import BANKS, FIRMS, INSURERS, PEOPLE

from alphaf_orch.inputs.samples import FILES, sample_path

Row = dict[str, Any]
FOLDER = Path(__file__).parents[2] / "templates" / "eval" / "finance_ko"
UNITS = {"원", "%", "%p", "bp", "배", "회", "주", "달러", "", "일"}
RUN = 30  # letters in a row that two texts may not share


def read(name: str) -> list[Row]:
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


NUMERIC, RAG = read("numeric.jsonl"), read("rag.jsonl")


def prompt(row: Row) -> str:
    if "table" in row:
        return f"{row['table']}\n\n{row['question']}"
    listed = "\n".join(f"[{index}] {text}" for index, text in enumerate(row["contexts"], 1))
    return f"{listed}\n\n질문: {row['question']}"


def texts(row: Row) -> list[str]:
    return [prompt(row), row["answer"], *row.get("contexts", [])]


# ---- files


def test_committed_files_are_what_the_generator_writes() -> None:
    for name, text in benchmark.build().items():
        assert (FOLDER.parent / name).read_bytes() == text.encode("utf-8"), name
    assert benchmark.main(["--check"]) == 0


def test_check_names_a_stale_file_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "FOLDER", tmp_path / "평가")
    assert benchmark.main([]) == 0
    counts = {name: text.count("\n") for name, text in benchmark.build().items()}
    printed = "".join(f"{Path(name).name}: {count} rows\n" for name, count in counts.items())
    assert capsys.readouterr().out == printed
    stale = tmp_path / "평가" / "finance_ko" / "rag.jsonl"
    stale.write_text("{}\n", encoding="utf-8")
    assert benchmark.main(["--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: rag.jsonl is not what the generator writes",
        f"  where: {stale}",
        "  next:  run PYTHONPATH=tools python -m sample_data.benchmark",
    ]
    assert stale.read_text(encoding="utf-8") == "{}\n"
    assert sorted(tmp_path.glob("평가/*/*")) == sorted(tmp_path / "평가" / name for name in counts)


def test_rows_have_the_agreed_shape() -> None:
    assert len(NUMERIC) >= 120
    assert len(RAG) >= 120
    assert [row["id"] for row in NUMERIC] == [f"num-{index:03}" for index in range(1, len(NUMERIC) + 1)]
    assert [row["id"] for row in RAG] == [f"rag-{index:03}" for index in range(1, len(RAG) + 1)]
    for row in NUMERIC:
        assert list(row) == ["id", "topic", "table", "question", "answer", "value", "unit", "tolerance"]
        assert row["unit"] in UNITS
        assert isinstance(row["value"], int | float)
        assert row["tolerance"] > 0
    for row in RAG:
        assert list(row) == ["id", "topic", "question", "contexts", "golden", "answer", "keywords"]
        assert len(row["contexts"]) == 3
        assert row["golden"] in (1, 2, 3)
        assert row["keywords"] and all(ways and all(ways) for ways in row["keywords"])


def test_text_is_clean_korean() -> None:
    for name in ("numeric.jsonl", "rag.jsonl"):
        text = (FOLDER / name).read_bytes().decode("utf-8")
        assert text == unicodedata.normalize("NFC", text)
        assert text.endswith("}\n") and "\r" not in text and "\\u" not in text and "\ufffd" not in text
    for row in NUMERIC + RAG:
        for text in texts(row):
            assert text == text.strip() and "  " not in text and "{" not in text, text
        assert re.search(r"[요오다][.?]$", row["question"]), row["question"]


def test_no_question_occurs_twice() -> None:
    for rows in (NUMERIC, RAG):
        assert [text for text, count in Counter(map(prompt, rows)).items() if count > 1] == []


def test_prompts_are_short_enough_for_a_small_context() -> None:
    assert max(len(prompt(row)) for row in RAG) + len("자료만 보고 답하고 근거 번호를 [1]처럼 적으세요.") < 700
    assert max(len(prompt(row)) for row in NUMERIC) < 500


# ---- apart from the samples


def normal(text: str) -> str:
    return re.sub(r"[\d\s]", "", unicodedata.normalize("NFKC", text).casefold())


def runs(text: str) -> set[str]:
    bare = normal(text)
    return {bare[index : index + RUN] for index in range(len(bare) - RUN + 1)}


def sample_turns() -> list[str]:
    rows = [json.loads(line) for name in FILES for line in sample_path(name).read_text(encoding="utf-8").splitlines()]
    sides = [row[key] for row in rows for key in ("messages", "chosen", "rejected") if key in row]
    return [turn["content"] for side in sides for turn in side]


def test_no_long_run_of_text_is_shared_with_any_sample() -> None:
    turns = sample_turns()
    assert len(turns) > 1000
    known = set().union(*map(runs, turns))
    shared = [(row["id"], text) for row in NUMERIC + RAG for text in texts(row) if runs(text) & known]
    assert shared == []


def test_no_name_is_shared_with_any_sample() -> None:
    samples, ours = "\n".join(sample_turns()), "\n".join(text for row in NUMERIC + RAG for text in texts(row))
    theirs = {*FIRMS, *BANKS, *INSURERS, *PEOPLE, *(name for family in FAMILIES for name in family.names)}
    assert {name for name in theirs if name in ours} == set()
    assert {stem for stem in STEMS if stem in samples} == set()
    named = re.compile(
        r"[가-힣]{2,}(?:은행|저축은행|증권|생명|화재|캐피탈|자산운용|예금|적금|대출|카드|펀드|보험|리츠|페이"
        r"|전자|건설|화학|식품|제약|물산|물류|에너지|기계|철강|해운|통신|바이오|반도체|조선|제지|유통)(?![가-힣])"
    )
    # Kinds of products and lines of business, which are words and no names.
    words = {"정기예금", "외화예금", "국내카드", "주택담보대출"}
    ours_named = {name for name in named.findall(ours) if any(stem in name for stem in STEMS)}
    assert len(ours_named) > 40
    assert (set(named.findall(samples)) - words) & ours_named == set()


# ---- numeric: every gold value again, from the table and the question alone

SCALE = {"십억원": 10**9, "억원": 10**8, "백만원": 10**6, "만원": 10**4, "천원": 10**3, "만주": 10**4}


class Table:
    """A parsed table; amounts and share counts are turned into won and single shares."""

    def __init__(self, row: Row) -> None:
        lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in row["table"].splitlines()]
        self.header, rule, *body = lines
        assert all(re.fullmatch(r":?-+:?", cell) for cell in rule)
        assert {len(line) for line in lines} == {len(self.header)}
        self.question = row["question"]
        self.rows: dict[str, list[Fraction]] = {}
        for name, *cells in body:
            scales = [self.scale(label) * self.scale(self.header[0]) for label in self.header[1:]]
            self.rows[name] = [
                Fraction(cell.replace(",", "")) * scale for cell, scale in zip(cells, scales, strict=True)
            ]
        assert len(self.rows) == len(body)

    @staticmethod
    def scale(label: str) -> int:
        unit = re.search(r"\(([^()]*)\)$", label)
        return SCALE.get(unit.group(1), 1) if unit else 1

    def column(self, index: int) -> list[Fraction]:
        return [cells[index] for cells in self.rows.values()]

    def asked(self) -> list[Fraction]:
        """The cells of the one row that the question names."""
        names = [name for name in self.rows if name in self.question]
        assert len(names) == 1, self.question
        return self.rows[names[0]]

    def number(self, pattern: str) -> Fraction:
        found = re.search(pattern, self.question)
        assert found, self.question
        return Fraction(found.group(1).replace(",", ""))

    def money(self) -> int:
        found = re.search(r"(?:([\d,]+)억 ?)?(?:([\d,]+)만)?원", self.question)
        assert found, self.question
        eok, man = (int((group or "0").replace(",", "")) for group in found.groups())
        assert eok or man
        return eok * 10**8 + man * 10**4


def growth(t: Table) -> Fraction:
    (year,) = {max(map(int, re.findall(r"(\d{4})년", t.question)))}
    old, new = (t.asked()[t.header.index(f"{name}년") - 1] for name in (year - 1, year))
    return (new - old) / old * 100


def compound(t: Table) -> Fraction:
    years = [int(name.removesuffix("년")) for name in t.rows]
    first, *_, last = t.column(0)
    return Fraction((float(last) / float(first)) ** (1 / (years[-1] - years[0])) - 1) * 100


def gain(t: Table) -> Fraction:
    held = list(t.rows.values()) if "모든 종목" in t.question else [t.asked()]
    return sum((count * (now - bought) for count, bought, now in held), Fraction(0))


def flow(t: Table) -> Fraction:
    funds = list(t.rows.values()) if "전체" in t.question else [t.asked()]
    return sum((came - left for came, left in funds), Fraction(0))


def issued(t: Table) -> Fraction:
    rounds = list(t.rows.values()) if "모두 합치면" in t.question else [t.asked()]
    return sum((raised / price for raised, price in rounds), Fraction(0))


def spread(t: Table) -> Fraction:
    (tenor,) = (name for name in t.rows if name in t.question)
    (bond,) = (label for label in t.header[2:] if label.removesuffix("(%)") in t.question)
    return (t.rows[tenor][t.header.index(bond) - 1] - t.rows[tenor][0]) * 100


def won_of(t: Table) -> Fraction:
    units = {"달러": "USD", "유로": "EUR", "엔": "JPY", "파운드": "GBP", "위안": "CNY"}
    found = re.search(rf"([\d,]+)({'|'.join(units)})", t.question)
    assert found and t.header[1:] == ["송금 보낼 때(원)", "송금 받을 때(원)"]
    ((label, (send, receive)),) = ((name, cells) for name, cells in t.rows.items() if units[found.group(2)] in name)
    assert send > receive
    rate = send if "보내려면" in t.question else receive
    return Fraction(found.group(1).replace(",", "")) * rate / (100 if "100" in label else 1)


def dollars_of(t: Table) -> Fraction:
    (day,) = (name for name in t.rows if re.search(rf"(?<!\d){name}", t.question))
    return t.money() / t.rows[day][0]


def weighted(t: Table) -> Fraction:
    return sum(a * b for a, b in t.rows.values()) / sum(t.column(0))


def deposit(t: Table) -> Fraction:
    months, rate = t.asked()
    return t.money() * rate / 100 * months / 12


def ratio_change(t: Table) -> Fraction:
    all_old, all_new = t.rows["총여신"]
    bad_old, bad_new = t.rows["부실여신"]
    return bad_new * 100 / all_new - bad_old * 100 / all_old


def spread_move(t: Table) -> Fraction:
    government, card = t.rows["국고채 3년"], t.rows["카드채 3년"]
    return ((card[1] - government[1]) - (card[0] - government[0])) * 100


FORMULAS: dict[str, Callable[[Table], Fraction]] = {
    "증감률": growth,
    "ROE": lambda t: t.asked()[1] * 100 / t.asked()[0],
    "부채비율": lambda t: t.asked()[1] * 100 / (t.asked()[0] - t.asked()[1]),
    "영업이익률": lambda t: (t.asked()[0] - t.asked()[1] - t.asked()[2]) * 100 / t.asked()[0],
    "구성비": lambda t: t.asked()[0] * 100 / sum(t.column(0)),
    "합계": lambda t: sum(t.asked(), Fraction(0)),
    "평균": lambda t: sum(t.column(0)) / len(t.rows),
    "CAGR": compound,
    "단위 환산": lambda t: t.asked()[0],
    "이자보상배율": lambda t: t.asked()[0] / t.asked()[1],
    "매출채권회전율": lambda t: t.asked()[0] / ((t.asked()[1] + t.asked()[2]) / 2),
    "회수기간": lambda t: 365 / (t.asked()[0] / t.asked()[1]),
    "목표 과부족": lambda t: t.asked()[1] - t.asked()[0],
    "비율 변화": ratio_change,
    "합산비율": lambda t: (t.asked()[1] + t.asked()[2]) * 100 / t.asked()[0],
    "EPS": lambda t: t.asked()[0] / t.asked()[1],
    "PER": lambda t: t.asked()[0] / t.asked()[1],
    "PBR": lambda t: t.asked()[0] / (t.asked()[1] / t.asked()[2]),
    "시가총액": lambda t: t.asked()[0] * t.asked()[1],
    "배당수익률": lambda t: (t.asked()[1] + t.asked()[2]) * 100 / t.asked()[0],
    "신주 수": issued,
    "평균 매입단가": weighted,
    "평가손익": gain,
    "평가수익률": lambda t: (
        sum(n * now for n, _, now in t.rows.values()) * 100 / sum(n * cost for n, cost, _ in t.rows.values()) - 100
    ),
    "샤프지수": lambda t: (t.asked()[0] - t.number(r"무위험수익률이? ([\d.]+)%")) / t.asked()[1],
    "순유입액": flow,
    "이표": lambda t: t.asked()[0] * t.asked()[1] / 100 / t.asked()[2],
    "금리 변동": lambda t: (t.asked()[1] - t.asked()[0]) * 100,
    "신용스프레드": spread,
    "스프레드 변화": spread_move,
    "점유율 변화": lambda t: t.asked()[1] - t.asked()[0],
    "예금 이자": deposit,
    "세후 이자": lambda t: t.asked()[0] * t.asked()[1] / 100 * (1 - t.number(r"([\d.]+)%") / 100),
    "외화 환산": won_of,
    "달러 환산": dollars_of,
    "가중평균 이율": weighted,
    "연간 이자": lambda t: sum((a * b / 100 for a, b in t.rows.values()), Fraction(0)),
}


def test_every_gold_value_follows_from_its_table() -> None:
    used = Counter(row["topic"] for row in NUMERIC)
    assert used.keys() == FORMULAS.keys()
    assert set(used.values()) == {4}
    for row in NUMERIC:
        exact = FORMULAS[row["topic"]](Table(row))
        assert abs(float(exact) - row["value"]) <= 1e-6 * max(1.0, abs(float(exact)) / 10**6), (row["id"], float(exact))


def shown(answer: str, unit: str) -> Fraction:
    """The number that an answer shows, in its unit."""
    text = answer.removeprefix("약 ")
    sign = -1 if text.startswith("-") else 1
    text = text.removeprefix("-")
    if unit == "원":
        found = re.fullmatch(r"(?:([\d,]+)조 ?)?(?:([\d,]+)억 ?)?(?:([\d,]+)만)?([\d,]+)?원", text)
        assert found, answer
        parts = [int((group or "0").replace(",", "")) for group in found.groups()]
        return Fraction(sign * sum(part * scale for part, scale in zip(parts, (10**12, 10**8, 10**4, 1), strict=True)))
    number = text.removesuffix(unit) if unit else text
    scale = 10_000 if number.endswith("만") else 1
    if unit == "주":
        number = number.removesuffix("만")
    return sign * Fraction(number.replace(",", "")) * scale


STEPS = {
    "소수점 첫째 자리까지": Fraction(1, 10),
    "소수점 둘째 자리에서": Fraction(1, 10),
    "소수점 둘째 자리까지": Fraction(1, 100),
    "소수점 셋째 자리에서": Fraction(1, 100),
    "소수점 이하는 반올림": Fraction(1),
    "정수로 반올림": Fraction(1),
    "원 미만은 반올림": Fraction(1),
    "1원 단위로 반올림": Fraction(1),
    "억원 단위로 반올림": Fraction(10**8),
}


def test_answers_show_their_value_rounded_as_the_question_asks() -> None:
    rounded = 0
    for row in NUMERIC:
        exact, off = FORMULAS[row["topic"]](Table(row)), Fraction(str(row["tolerance"]))
        answer, steps = shown(row["answer"], row["unit"]), [STEPS[text] for text in STEPS if text in row["question"]]
        assert len(steps) <= 1, row["question"]
        assert row["answer"].startswith("약 ") == (answer != exact), row["id"]
        if answer == exact:
            # Only floating point is forgiven: the next shorter rounding would be another number.
            assert off <= (Fraction(1, 2) if row["unit"] == "원" else Fraction(1, 10)), row["id"]
        else:
            rounded += 1
            assert off == steps[0] / 2, row["id"]
            assert answer % steps[0] == 0
            assert abs(answer - exact) < off < abs(answer + steps[0] - exact), row["id"]
            assert abs(answer - steps[0] - exact) > off
    assert 50 < rounded < len(NUMERIC)


def test_tables_are_small_and_carry_their_units() -> None:
    for row in NUMERIC:
        table = Table(row)
        assert 2 <= len(table.rows) <= 6 and 2 <= len(table.header) <= 5, row["id"]
        assert re.search(r"\((?:십억원|억원|백만원|천원|만원|원|만주|주|%|연 %|개월|회|원/달러)\)", row["table"]), row[
            "id"
        ]


def test_numbers_vary() -> None:
    assert {row["unit"] for row in NUMERIC} == UNITS
    negative = [row for row in NUMERIC if row["value"] < 0]
    assert len(negative) >= 15
    for row in negative:
        assert re.search(r"음수", row["question"]), row["question"]
    assert len({wording(row["question"]) for row in NUMERIC}) >= 60


def wording(question: str) -> str:
    """A question without names, numbers and particles, to count ways of asking."""
    bare = re.sub("|".join(sorted((*STEMS, *COMPANIES, *LENDERS), key=len, reverse=True)), "", question)
    return re.sub(r"[\d,.]+|[은는이가을를과와]\b", "", bare).split(maxsplit=1)[-1]


# ---- rag


def test_the_golden_context_alone_holds_the_answer() -> None:
    for row in RAG:
        golden = row["contexts"][row["golden"] - 1]
        assert satisfied(row["keywords"], row["answer"]), row["id"]
        assert not satisfied(row["keywords"], row["question"]), row["id"]
        for index, context in enumerate(row["contexts"], 1):
            if index != row["golden"]:
                assert not satisfied(row["keywords"], context), (row["id"], index)
        # A paraphrase like 채무가 없다 may differ; numbers and names have to be there word for word.
        assert satisfied(row["keywords"], golden), row["id"]


def test_answers_cite_the_golden_context_as_the_samples_do() -> None:
    for row in RAG:
        assert re.search(rf"[다요] \[{row['golden']}\]\.$", row["answer"]), row["answer"]
        assert len(re.findall(r"\[\d\]", row["answer"])) == 1
    samples = [
        json.loads(line) for line in sample_path("finance_ko_sft.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    cited = [row["messages"][-1]["content"] for row in samples if row["kind"] == "citation"]
    assert sum(re.search(r"[다요] \[\d\]\.$", text) is not None for text in cited) > len(cited) * 0.7


def test_neither_place_nor_length_gives_the_answer_away() -> None:
    places = Counter(row["golden"] for row in RAG)
    assert max(places.values()) - min(places.values()) <= 1
    ranks = Counter(
        sorted(range(3), key=lambda index, row=row: -len(row["contexts"][index])).index(row["golden"] - 1)  # type: ignore[misc]
        for row in RAG
    )
    assert all(0.2 < count / len(RAG) < 0.45 for count in ranks.values()), ranks
    for topic in {row["topic"] for row in RAG}:
        assert len({row["golden"] for row in RAG if row["topic"] == topic}) >= 2, topic


def test_contexts_are_two_to_four_sentences_on_one_topic() -> None:
    for row in RAG:
        assert len(set(row["contexts"])) == 3
        for context in row["contexts"]:
            assert 2 <= len(re.findall(r"[다요]\.(?: |$)", context)) <= 4, context
            assert 50 <= len(context) <= 190, context


def test_documents_and_questions_vary() -> None:
    topics = Counter(row["topic"] for row in RAG)
    assert len(topics) >= 30
    assert max(topics.values()) <= len(RAG) // 20
    assert len({wording(row["question"]) for row in RAG}) >= 100


def test_names_are_asked_once() -> None:
    for family in (*PRODUCTS, *ISSUERS):
        assert len(set(family.names)) == len(family.names) >= 3 * benchmark_rag.ROUNDS, family.topic


def test_a_written_case_without_citation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    block = [
        ("T", "주제"),
        ("P", "a 글."),
        ("P", "b 글."),
        ("P", "c 글."),
        ("Q", "무엇인가요?"),
        ("A", "글."),
        ("K", "글"),
    ]
    monkeypatch.setattr(benchmark_rag, "blocks", lambda name, split: [block])
    with pytest.raises(ValueError, match=r"no citation at the end of '글\.'"):
        benchmark_rag.written_cases()


@pytest.mark.parametrize(
    ("fact", "wanted", "unwanted"),
    [
        ("1억 5,000만원", {"1억 5000만원", "1억5,000만 원", "1.5억원", "150,000,000원", "1억 5천만원"}, {"5,000만원"}),
        ("8,000만원", {"8000만원", "8천만원", "8천만 원", "80,000,000원"}, {"8억원"}),
        ("1조 3,000억원", {"1조3000억원", "1.3조원", "1.3조 원"}, {"3,000억원"}),
        ("15,000원", {"15000원", "15,000 원"}, {"5,000원"}),
        ("2만원", {"20,000원", "2만 원", "20000원"}, set()),
        ("3.05%", {"3.05 %", "3.05퍼센트", "3.05프로"}, {"3.05%p"}),
        ("0.2%p", {"0.2%p", "0.2%", "0.2%포인트", "20bp"}, {"2%"}),
        ("7.2bp", {"7.2 bp", "7.2베이시스"}, set()),
        ("120만주", {"120만 주", "1,200,000주", "1200000주"}, set()),
        ("18개월", {"18 개월", "1년 6개월", "1년6개월"}, {"1년"}),
        ("24개월", {"2년"}, {"2년 0개월"}),
        ("9개월", {"9 개월"}, {"0년 9개월"}),
        ("하루", {"하루", "1일"}, set()),
        ("공장|플랜트", {"공장", "플랜트"}, {"공장|플랜트"}),
        ("감사실", {"감사실"}, set()),
    ],
)
def test_facts_may_be_written_in_every_usual_way(fact: str, wanted: set[str], unwanted: set[str]) -> None:
    ways = set(variants(fact))
    assert wanted <= ways
    assert not unwanted & ways


# ---- particles


def particle_fits(word: str, particle: str) -> bool:
    last = word[-1]
    final = (ord(last) - 0xAC00) % 28 if "가" <= last <= "힣" else 0
    if particle in ("으로", "로"):
        return (particle == "으로") == (final not in (0, 8))
    return (particle in "은이을과") == (final > 0)


def test_particles_after_names_and_labels_are_right_everywhere() -> None:
    labels = {*COMPANIES, *LENDERS, *(name for family in (*PRODUCTS, *ISSUERS) for name in family.names)}
    for family in (*PRODUCTS, *ISSUERS):
        for choices in family.fields.values():
            labels |= {choice if isinstance(choice, str) else choice[0] for choice in choices}
    labels = {label for label in labels if not label[-1].isdigit() and label[-1] not in "+-%p"}
    pattern = re.compile(
        rf"({'|'.join(sorted(map(re.escape, labels), key=len, reverse=True))})(은|는|이|가|을|를|과|와|으로|로)(?=[ ,])"
    )
    seen: Counter[str] = Counter()
    for row in NUMERIC + RAG:
        for text in texts(row):
            for label, particle in pattern.findall(text):
                assert particle_fits(label, particle), f"{label}{particle}: {text}"
                seen[particle] += 1
    assert set(seen) >= set("은는이가을를과와") | {"으로", "로"}


def test_particles_after_units_are_right_everywhere() -> None:
    wrong = re.compile(
        r"원(를|는|와)(?![가-힣])|(%|%p|bp|배|세|주|회)(을|은|과|으로)(?![가-힣])|개월(를|는|와)|일(를|는|와|으로)(?![가-힣])"
        r"|달러(을|은|과|으로)(?![가-힣])|\d (을|를|은|는)"
    )
    for row in NUMERIC + RAG:
        for text in texts(row):
            assert wrong.search(text) is None, text
