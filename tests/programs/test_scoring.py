"""Known answers: hand-written generations with hand-computed scores, for every metric and its edges."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from alphaf_orch.programs.scoring.figures import (
    citation_format,
    citation_precision,
    citation_recall,
    containment,
    empty,
    exact_numeric,
    length_chars,
    looping,
    numeric_scores,
    rag_scores,
    wrong_language,
)
from alphaf_orch.programs.scoring.numbers import normalised, quantities

ROOT = Path(__file__).resolve().parents[2]


EOK, JO = 10**8, 10**12


def read(text: str) -> list[tuple[str, str]]:
    return [(format(number.value.normalize(), "f"), number.unit) for number in quantities(normalised(text))]


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("1,234,567원", "1234567", "원"),
        ("１２．４％", "12.4", "%"),
        ("1조 2,340억원", "1234000000000", "원"),
        ("1조2,340억 5,600만 원", "1234056000000", "원"),
        ("3천만 원", "30000000", "원"),
        ("3,250백만원", "3250000000", "원"),
        ("5,000 천원", "5000000", "원"),
        ("1.2조 원", "1200000000000", "원"),
        ("1억2천3백만원", "123000000", "원"),
        ("12억5,000만원", "1250000000", "원"),
        ("일억 이천만원", "120000000", "원"),
        ("만 오천 원", "15000", "원"),
        ("백만 원", "1000000", "원"),
        ("삼십이 퍼센트", "32", "%"),
        ("삼점오 퍼센트", "3.5", "%"),
        ("두 배", "2", "배"),
        ("매출은 2조 3,000억", "2300000000000", ""),
        ("0.5%p", "0.5", "%p"),
        ("0.5%포인트", "0.5", "%p"),
        ("0.5퍼센트 포인트", "0.5", "%p"),
        ("25bp", "25", "bp"),
        ("25베이시스포인트", "25", "bp"),
        ("7프로", "7", "%"),
        ("1.5x", "1.5", "배"),
        ("5회전", "5", "회"),
        ("100주", "100", "주"),
        ("30일", "30", "일"),
        ("$1,200", "1200", "달러"),
        ("US$3억", "300000000", "달러"),
        ("1,500 달러", "1500", "달러"),
        ("₩500", "500", "원"),
        ("-3.2%", "-3.2", "%"),
        ("−3.2%", "-3.2", "%"),
        ("△1,200만원", "-12000000", "원"),
        ("▲3.2%", "-3.2", "%"),
        ("(-)5%", "-5", "%"),
        ("마이너스 3%", "-3", "%"),
        ("-$5.5", "-5.5", "달러"),
        ("**1.68**%", "1.68", "%"),
        (r"\boxed{1.68\%}", "1.68", "%"),
        ("3년", "3", "?"),
        ("2024년", "2024", "?"),
        ("3주간", "3", "?"),
        ("제15조", "15000000000000", "?"),
        ("M2", "2", "?"),
    ],
)
def test_a_number_with_its_unit(text: str, value: str, unit: str) -> None:
    assert read(text) == [(value, unit)]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("2억 30억", [("200000000", ""), ("3000000000", "")]),
        ("5만 20,000원", [("50000", ""), ("20000", "원")]),
        ("3-5%", [("3", ""), ("5", "%")]),
        ("25,500 − 30,000", [("25500", ""), ("30000", "")]),
        ("5만이 넘는", [("50000", "")]),
        ("공장 5 천안 이전", [("5", "")]),
        ("7월 1일부터 30일간", [("7", "?"), ("1", "?"), ("30", "일")]),
        ("1. 매출은 3억원", [("300000000", "원")]),
        ("근거는 [1] 3%", [("3", "%")]),
        ("이 회사의 일 단위 조사에서 이 배당은 천천히", []),
        ("(단위: 백만원)", []),
        ("백만 원 단위로", []),
        ("수백만 원, 몇 천 원", []),
    ],
)
def test_the_numbers_of_a_text(text: str, numbers: list[tuple[str, str]]) -> None:
    assert read(text) == numbers


def test_every_whole_amount_of_won_is_read_back_as_it_was_written() -> None:
    from sample_data.korean import won

    for exponent in range(14):
        for digits in (1, 2, 7, 12, 305, 4096, 12345, 90807):
            amount = digits * 10**exponent
            assert read(f"금액은 {won(amount)}입니다.") == [(str(amount), "원")], amount


def test_korean_numerals_are_read_back_as_they_are_spelled() -> None:
    names = ("", "일", "이", "삼", "사", "오", "육", "칠", "팔", "구")

    def spelled(number: int) -> str:
        parts = []
        for power, big in ((12, "조"), (8, "억"), (4, "만"), (0, "")):
            group = number // 10**power % 10**4
            small = [
                f"{names[group // 10**p % 10]}{s}"
                for p, s in ((3, "천"), (2, "백"), (1, "십"), (0, ""))
                if group // 10**p % 10
            ]
            parts.append("".join(small) + big if group else "")
        return " ".join(filter(None, parts))

    assert spelled(120_000_000) == "일억 이천만"
    for number in (10, 15, 99, 111, 2024, 10_000, 34_500, 305_000, 120_000_000, 1_234_056_000_000, 9_999_999_999_999):
        assert read(f"총 {spelled(number)} 원입니다") == [(str(number), "원")], spelled(number)


@pytest.mark.parametrize(
    ("answer", "value", "unit", "tolerance", "score"),
    [
        # the value
        (
            "이익을 총자산으로 나눕니다. 52억원 ÷ 3,100억원 × 100 = 약 1.68%입니다(소수점 셋째 자리에서 반올림).",
            1.68,
            "%",
            0.01,
            1,
        ),
        ("약 1.7%입니다.", 1.68, "%", 0.01, 0),
        ("약 1.7%입니다.", 1.68, "%", 0.05, 1),
        ("1.69%", 1.68, "%", 0.01, 1),  # the bound itself is inside, floats or not
        ("12.4%", 12.4, "%", 0, 1),
        ("이자는 일억 이천만 원입니다.", 1.2 * EOK, "원", 0, 1),
        ("3,250억원", 3250 * EOK, "원", 0, 1),
        ("영업이익은 대략 3,250억 원 정도입니다.", 3250 * EOK, "원", 0, 1),
        ("매출은 2조 3,000억입니다.", 2.3 * JO, "원", 0, 1),
        ("", 0, "%", 1, 0),
        ("모르겠습니다.", 0, "%", 1, 0),
        ("[1]", 1, "", 0, 0),
        # units
        ("1.68", 1.68, "%", 0, 1),  # no unit at all: read in the asked one
        ("1.68입니다.", 1.68, "%", 0, 1),
        ("0.5%", 0.5, "%p", 0.01, 0),
        ("0.5%p", 0.5, "%", 0.01, 0),
        ("25bp 올랐습니다.", 0.25, "%p", 0.001, 1),
        ("0.25%포인트 올랐습니다.", 25, "bp", 0.1, 1),
        ("150%입니다.", 1.5, "배", 0.01, 0),
        ("12.5배입니다.", 12.5, "", 0.01, 1),
        ("12.5%입니다.", 12.5, "", 0.01, 0),
        ("3,250억원", 3250, "", 0, 0),
        ("3년입니다.", 3, "%", 0, 0),
        ("32만원", 320000, "원", 0, 1),
        ("32만원", 32, "원", 0, 0),
        ("1,200달러입니다.", 1200, "원", 0, 0),
        ("$1,200", 1200, "달러", 0, 1),
        ("45일", 45, "일", 0, 1),
        ("1,000주를 살 수 있습니다.", 1000, "주", 0, 1),
        # signs
        ("-9.6%p입니다.", -9.6, "%p", 0.01, 1),
        ("9.6%p입니다.", -9.6, "%p", 0.01, 0),
        ("△30억원입니다.", -30 * EOK, "원", 0, 1),
        ("영업손실 30억원입니다.", -30 * EOK, "원", 0, 1),
        ("3.2% 감소했습니다.", -3.2, "%", 0.01, 1),
        ("3.2% 증가했습니다.", -3.2, "%", 0.01, 0),
        ("3.2% 감소했습니다.", 3.2, "%", 0.01, 1),
        ("-3.2%", 3.2, "%", 0.01, 0),
        # which number is the final one
        ("정답은 167,500원입니다. 500만원을 3.35%로 1년 맡긴 이자입니다.", 167500, "원", 0, 1),
        ("정답: 500만원 × 3.35% = 167,500원", 167500, "원", 0, 1),
        ("답: 3.5%, 업종 평균은 3.1%", 3.5, "%", 0, 1),
        ("답은 3.5%, 업종 평균은 3.1%", 3.5, "%", 0, 1),
        ("답은 500만원 × 3.35%로 계산한 167,500원", 167500, "원", 0, 1),
        ("원금은 500만원입니다. 이자: 500만원 × 3.35% = 167,500원", 167500, "원", 0, 1),
        ("먼저 8%입니다. 따라서 부채비율은 56.41%로 100%보다 낮습니다.", 56.41, "%", 0, 1),
        ("부채비율은 56.41%입니다. 100%를 밑돌아 안정적입니다.", 56.41, "%", 0, 1),
        ("영업이익률은 8%(= 24억원 ÷ 300억원 × 100%)입니다.", 8, "%", 0, 1),
        ("최고는 14.9%, 최저는 4.7%입니다. 차이는 10.2%p입니다.", 10.2, "%p", 0.01, 1),
        ("응답은 3% 또는 5%", 5, "%", 0, 1),
        # many numbers do not win by chance: one is compared
        ("1%, 2%, 3%, 4%, 5%", 3, "%", 0, 0),
        ("1.5%입니다. 1.6%입니다. 1.68%입니다. 1.7%입니다.", 1.68, "%", 0.01, 0),
        ("정답은 2%입니다. 아니면 1.68%입니다.", 1.68, "%", 0.01, 0),
        # leaked marks of the format
        ("**정답: 1.68%**<|im_end|>", 1.68, "%", 0, 1),
    ],
)
def test_exact_numeric(answer: str, value: float, unit: str, tolerance: float, score: int) -> None:
    assert exact_numeric(answer, value, unit, tolerance) == score


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="no known unit: '엔'"):
        exact_numeric("3엔", 3, "엔", 0)


def test_only_one_number_of_a_list_is_compared() -> None:
    numbers = [Decimal(n) / 7 for n in range(1, 40)]
    for separator in (", ", "\n", "입니다. ", " 또는 "):
        listed = separator.join(f"{number:.2f}%" for number in numbers)
        won = sum(exact_numeric(listed, float(f"{number:.2f}"), "%", 0.001) for number in numbers)
        assert won <= 1, separator


@pytest.mark.parametrize(
    ("answer", "form", "precision", "recall"),  # three contexts, [2] is golden
    [
        ("수수료는 1.2%입니다 [2].", 1, 1, 1),
        ("수수료는 1.2%입니다[2].", 1, 1, 1),
        ("수수료는 1.2%입니다. [2]", 1, 1, 1),
        ("수수료는 1.2%입니다 [2]", 1, 1, 1),
        ("수수료는 1.2%입니다. [2].", 1, 1, 1),
        ("수수료는 [2].5배입니다.", 0, 1, 1),
        ("한도는 1억원입니다 [1]. 수수료는 1.2%입니다 [2].", 1, 0.5, 1),
        ("한도는 1억원입니다. [1] 수수료는 1.2%입니다. [2]", 1, 0.5, 1),
        ("수수료는 1.2%입니다 [1][2].", 1, 0.5, 1),
        ("수수료는 1.2%입니다 [2] [2].", 1, 1, 1),
        ("수수료는 1.1% [1], 한도는 1억원입니다 [2]. 따라서 유리합니다.", 1, 0.5, 1),
        ("- 수수료: 1.2% [2]\n- 한도: 1억원 [3]", 1, 0.5, 1),
        # no citation, or none at the end of a sentence
        ("수수료는 1.2%입니다.", 0, 0, 0),
        ("", 0, 0, 0),
        (" \n", 0, 0, 0),
        ("[2]", 0, 1, 1),
        ("[2].", 0, 1, 1),
        ("자료 [2]에 따르면 수수료는 1.2%입니다.", 0, 1, 1),
        ("[2]에 따르면 수수료는 1.2%입니다.", 0, 1, 1),
        ("[2]에 따르면 수수료는 1.2%입니다 [2].", 1, 1, 1),
        ("근거 번호를 [1]처럼 적으세요.", 0, 0, 0),
        # a wrong index
        ("수수료는 1.2%입니다 [1].", 1, 0, 0),
        ("수수료는 1.2%입니다 [4].", 0, 0, 0),
        ("수수료는 1.2%입니다 [0].", 0, 0, 0),
        ("수수료는 1.2%입니다 [2]. 한도는 1억원입니다 [7].", 0, 0.5, 1),
        # another form: wrong as a format, right as content
        ("수수료는 1.2%입니다 ［2］.", 0, 1, 1),
        ("수수료는 1.2%입니다 [２].", 0, 1, 1),
        ("수수료는 1.2%입니다 【2】.", 0, 1, 1),
        ("수수료는 1.2%입니다 [1, 2].", 0, 0.5, 1),
        ("수수료는 1.2%입니다 [1-3].", 0, 1 / 3, 1),
        ("수수료는 1.2%입니다 [ 2 ].", 0, 1, 1),
        ("수수료는 1.2%입니다 [[2]].", 0, 1, 1),
        ("수수료는 1.2%입니다 [^2].", 0, 1, 1),
        ("수수료는 1.2%입니다 [출처 2].", 0, 1, 1),
        ("수수료는 1.2%입니다 [문서2].", 0, 1, 1),
        ("수수료는 1.2%입니다 (출처: 2).", 0, 1, 1),
        ("수수료는 1.2%입니다 (2).", 0, 1, 1),
        ("수수료는 1.2%입니다 2).", 0, 0, 0),
        ("수수료는 1.2%입니다 [번호].", 0, 0, 0),
        ("수수료는 1.2%입니다 [2]. 한도는 1억원입니다 [출처 1].", 0, 0.5, 1),
        # a copy of the contexts cites nothing
        ("[1] 한도 1억원.\n[2] 수수료 1.2%.\n[3] 만기 1년.", 0, 0, 0),
        ("[1] 한도 1억원. [2] 수수료 1.2%. [3] 만기 1년.", 0, 0, 0),
        ("[1] 한도 1억원\n[2] 수수료 1.2%\n\n질문: 수수료는?", 0, 0, 0),
        ("- [2]: 수수료 1.2%", 0, 0, 0),
        ("[1] 은행 예금은 연 3%.\n[2] 에너지 펀드.\n[3] 의료비", 0, 0, 0),
        ("[2]수수료는 1.2%입니다.", 0, 0, 0),
        ("[2]", 0, 1, 1),
        ("[1] 한도 1억원.\n[2] 수수료 1.2%.\n수수료는 1.2%입니다 [2].", 1, 1, 1),
        # square brackets that cite nothing
        ("수수료는 [표 참조] 1.2%입니다 [2].", 1, 1, 1),
        ("[2024] 수수료는 1.2%입니다 [2].", 1, 1, 1),
    ],
)
def test_citations(answer: str, form: int, precision: float, recall: int) -> None:
    assert citation_format(answer, 3) == form
    assert citation_precision(answer, 2) == pytest.approx(precision)
    assert citation_recall(answer, 2) == recall


def test_every_sentence_of_the_training_samples_keeps_the_form() -> None:
    import json

    samples = ROOT / "templates" / "samples"
    rows = [json.loads(line) for line in (samples / "finance_ko_sft.jsonl").read_text(encoding="utf-8").splitlines()]
    answers = [row["messages"][-1]["content"] for row in rows if row["kind"] == "citation"]
    prompts = [row["messages"][-2]["content"] for row in rows if row["kind"] == "citation"]
    assert len(answers) > 50
    assert [answer for answer in answers if not citation_format(answer, 3)] == []
    assert [prompt for prompt in prompts if citation_format(prompt, 3) or citation_recall(prompt, 1)] == []


@pytest.mark.parametrize(
    ("answer", "keywords", "score"),
    [
        ("한도는 1억 4,000만원입니다 [1].", [["1억4천만원", "1억 4,000만 원"]], 1),
        ("한도는 １억 4000만 원입니다.", [["1억 4,000만원"]], 1),
        ("수수료는 15%입니다.", [["5%"]], 0),
        ("수수료는 1.5%입니다.", [["5%"]], 0),
        ("수수료는 5%입니다.", [["5%"]], 1),
        ("금리는 5%p 올랐습니다.", [["5%"]], 0),
        ("금리는 -5%입니다.", [["5%"]], 0),
        ("금리는 △ 5%입니다.", [["5%"]], 0),
        ("금리는 −5%입니다.", [["-5%"]], 1),
        ("금리는 5%입니다.", [["-5%"]], 0),
        ("만기는 3-5년입니다.", [["5년"]], 1),
        ("한도는 3억 2,000만원입니다.", [["2,000만원"]], 0),
        ("한도는 3억 2,000만원입니다.", [["3억"]], 0),
        ("한도는 3억원, 2,000만원은 별도입니다.", [["3억"], ["2,000만원"]], 1),
        ("5억원입니다.", [["5"]], 0),
        ("2024 12%", [["12%"]], 1),
        ("roe가 높습니다.", [["ROE"]], 1),
        ("HEROES", [["ROE"]], 0),
        ("환매는 제8 영업일", [["제8영업일"]], 1),
        ("매도자", [["매수자"]], 0),
        ("갑과 을", [["갑"], ["을", "병"]], 1),
        ("갑과 을", [["갑"], ["정", "병"]], 0),
        ("답은 [2]", [["2"]], 0),  # the citation is no content
        ("", [["갑"]], 0),
        ("갑", [], 0),
    ],
)
def test_containment(answer: str, keywords: list[list[str]], score: int) -> None:
    assert containment(answer, keywords) == score


KOREAN = [
    "12.4%",
    "",
    "!!!",
    "A",
    "bp",
    "AAPL",
    "Tesla",
    "Goldman Sachs Asset Management",
    "Korea Investment Holdings",
    "금리가 rise 하면 채권 price 가 fall 하므로 조심해야 합니다.",
    "Bank of Korea",
    "ROE는 10.15%이고 EV/EBITDA는 7.2배입니다.",
    "S&P 500 ETF와 KOSPI 200 ETF의 LTV, DSR, bp를 비교합니다.",
    "주가수익비율(Price to Earnings Ratio)은 PER이라고 합니다.",
    "Price to Earnings Ratio는 주가수익비율입니다.",
    "net interest margin(NIM)은 2.1%입니다.",
    "가중평균자본비용(weighted average cost of capital)입니다.",
    "이자(利子)는 3%입니다.",
    "美 연준이 금리를 올렸습니다.",
    "β는 1.2이고 α는 0.3입니다.",
    "i = 4% ÷ 12, n = 60일 때 원금 × i(1+i)^n입니다.",
    "https://www.example.com/what/is/the/rate 에서 확인하세요.",
    r"\frac{66}{650} \times 100 = 10.15\%",
    "Goldman Sachs Asset Management의 보고서입니다.",
    "㈜가온 ①매출 3㎡",
    "네",
]
FOREIGN = [
    "I don't know.",
    "Not sure.",
    "Die Zinsen Steigen",
    "Net Interest Income Increased Strongly Last Year",
    "The answer is 12.4%.",
    "12.4 million won",
    "Revenue grew strongly last quarter.",
    "THE RATE IS 3%.",
    "영업이익률은 10%입니다. The operating margin is 10%.",
    "The Federal Reserve raised rates, 그래서 금리가 오릅니다.",
    "우리는 the company announced that profits rose 했다.",
    "회사 company 는 profit 이 increased 했습니다.",
    "정답은 10%입니다. Please let me know if you need more help.",
    "答案是12%",
    "금리는 上升했습니다.",
    "利率が上がる",
    "キャッシュ 비율입니다.",
    "Tôi không biết",
    "Ставка выросла",
    "금리는 повышение 되었습니다.",
    "อัตราดอกเบี้ย",
]


@pytest.mark.parametrize(("answers", "score"), [(KOREAN, 0), (FOREIGN, 1)])
def test_wrong_language(answers: list[str], score: int) -> None:
    pytest.importorskip("py3langid")
    assert [answer for answer in answers if wrong_language(answer) != score] == []


@pytest.mark.parametrize(
    ("answer", "prompt"),
    [
        (
            "'total return swap agreement'이란 자산의 총수익을 바꾸는 계약입니다.",
            "total return swap agreement는 무엇인가요?",
        ),
        ("the rate is fixed", "조항: The rate is fixed. 그대로 옮기세요."),
        ("金融 위기입니다.", "金融 위기란?"),
        ("トヨタ의 매출입니다.", "トヨタ 매출은?"),
    ],
)
def test_what_the_prompt_says_is_no_wrong_language(answer: str, prompt: str) -> None:
    pytest.importorskip("py3langid")
    assert wrong_language(answer, prompt) == 0
    if not answer.startswith("'"):  # three small words may be a term of finance
        assert wrong_language(answer, "무엇인가요?") == 1


@pytest.mark.parametrize(
    ("answer", "is_empty", "length"),
    [
        ("", 1, 0),
        (" \n\t　", 1, 0),
        ("...!?", 1, 5),
        ("<|im_end|>", 1, 0),
        ("</s><|im_start|> \ufffd", 1, 0),
        ("**", 1, 2),
        ("\u200b", 1, 1),
        ("0", 0, 1),
        ("네", 0, 1),
        ("네.<|im_end|>\n", 0, 2),
        ("가 나", 0, 3),
        ("각", 0, 1),  # two jamo of NFD are one syllable
    ],
)
def test_empty_and_length(answer: str, is_empty: int, length: int) -> None:
    assert (empty(answer), length_chars(answer)) == (is_empty, length)


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("금리는 오릅니다. " * 4, 1),
        ("금리는 오릅니다. " * 3, 0),
        ("새봄예금의 기본금리는 오르는 " * 3 + "새봄", 1),
        ("새봄예금의 기본금리는 오르는 " * 2, 0),
        ("앞에 다른 말이 제법 길게 있습니다. " + "새봄예금의 기본금리는 오르는 " * 3, 0),
        ("입니다" * 4, 1),
        ("입니다" * 3, 0),
        ("처음에는 옳은 말을 하다가 금리가 " + "오르고 " * 9, 1),
        ("긴 설명이 앞에 있고 그 뒤에 몇 번 되풀이되지만 절반에는 못 미치는 경우입니다 네네네 네네네 네네네 네네네", 0),
        ("|---|---|---|---|---|\n| 가 | 나 | 다 | 라 | 마 |", 0),
        ("1,000,000,000,000원", 0),
        ("12 " * 12, 1),
        ("3% 3% 3% 3%", 0),
        ("1년차 3%, 2년차 3%, 3년차 3%, 4년차 3%, 5년차 3%", 0),
        (
            "매출이 늘었고 비용은 줄었습니다. 금리가 올랐습니다. 매출이 늘었고 비용은 줄었습니다. 환율이 내렸습니다. "
            * 2,
            0,
        ),
        (
            "".join(
                ("매출이 늘었습니다. ", "비용이 줄었습니다. ", "금리가 올랐습니다. ")[i * i // 7 % 3] for i in range(60)
            ),
            1,
        ),
        ("", 0),
    ],
)
def test_looping(answer: str, score: int) -> None:
    assert looping(answer) == score


def test_no_answer_of_the_samples_loops_is_empty_or_leaves_korean() -> None:
    import json

    pytest.importorskip("py3langid")
    for path in sorted((ROOT / "templates" / "samples").glob("finance_ko_sft*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            for message in json.loads(line)["messages"]:
                text = message["content"]
                assert (looping(text), empty(text), wrong_language(text)) == (0, 0, 0), text


def test_the_scores_of_an_answer_by_name() -> None:
    pytest.importorskip("py3langid")
    assert numeric_scores("약 1.68%입니다.", "ROA는?", 1.68, "%", 0.01) == {
        "exact_numeric": 1,
        "wrong_language": 0,
        "empty": 0,
        "looping": 0,
        "length_chars": 11,
    }
    assert rag_scores("The limit is 3억원 [1][2].", "한도는?", 3, 2, [["3억원"]]) == {
        "citation_format": 1,
        "citation_precision": 0.5,
        "citation_recall": 1,
        "containment": 1,
        "wrong_language": 1,
        "empty": 0,
        "looping": 0,
        "length_chars": 24,
    }
