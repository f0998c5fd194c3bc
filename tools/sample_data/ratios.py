"""Ratio questions: one amount divided by another, with the definition, the calculation and a short reading."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from sample_data.korean import Figure, Problem, Word, pick, problem, span, won

FIRMS = ("한빛전자", "가온건설", "누리화학", "다솜식품", "라온제약", "마루물산", "바른물류", "새솔에너지", "아람기계")
BANKS = ("한결은행", "두리은행", "참빛은행", "너른은행", "새길저축은행")
INSURERS = ("늘봄손해보험", "미리내손해보험", "가람화재")
PEOPLE = ("김민서 씨", "이도윤 씨", "박하린 씨", "최지호 씨")
EOK = 10**8


@dataclass(frozen=True)
class Ratio:
    """One ratio: numerator / denominator, drawn as low, high, step times scale won; comment reads the result."""

    name: str
    numerator: str
    denominator: str
    top: tuple[int, int, int]
    bottom: tuple[int, int, int]
    definition: str
    unit: str = "%"
    scale: int = EOK
    subjects: tuple[str, ...] = FIRMS
    comment: Callable[[Decimal], str] | None = None


def _than_100(above: str, below: str) -> Callable[[Decimal], str]:
    return lambda value: above if value >= 100 else below


RATIOS = (
    Ratio(
        "ROE",
        "당기순이익",
        "자기자본",
        (36, 180, 6),
        (400, 1500, 50),
        "ROE는 당기순이익을 자기자본으로 나눈 비율입니다.",
    ),
    Ratio(
        "ROA", "당기순이익", "총자산", (20, 120, 4), (1000, 4000, 100), "ROA는 당기순이익을 총자산으로 나눈 비율입니다."
    ),
    Ratio(
        "부채비율",
        "부채총계",
        "자기자본",
        (300, 1800, 60),
        (400, 1200, 50),
        "부채비율은 부채총계를 자기자본으로 나눈 비율입니다.",
        comment=_than_100("부채가 자기자본보다 많습니다.", "부채가 자기자본보다 적습니다."),
    ),
    Ratio(
        "유동비율",
        "유동자산",
        "유동부채",
        (180, 900, 30),
        (150, 500, 25),
        "유동비율은 유동자산을 유동부채로 나눈 비율입니다.",
        comment=_than_100(
            "1년 안에 갚을 부채를 유동자산으로 감당할 수 있습니다.",
            "유동자산만으로는 1년 안에 갚을 부채를 다 감당하지 못합니다.",
        ),
    ),
    Ratio(
        "당좌비율",
        "당좌자산",
        "유동부채",
        (120, 500, 20),
        (150, 400, 25),
        "당좌비율은 재고자산을 뺀 당좌자산을 유동부채로 나눈 비율입니다.",
    ),
    Ratio(
        "영업이익률",
        "영업이익",
        "매출액",
        (24, 240, 8),
        (600, 2400, 100),
        "영업이익률은 영업이익을 매출액으로 나눈 비율입니다.",
    ),
    Ratio(
        "순이익률",
        "당기순이익",
        "매출액",
        (15, 150, 5),
        (600, 2400, 100),
        "순이익률은 당기순이익을 매출액으로 나눈 비율입니다.",
    ),
    Ratio(
        "매출총이익률",
        "매출총이익",
        "매출액",
        (150, 800, 25),
        (900, 2400, 100),
        "매출총이익률은 매출총이익을 매출액으로 나눈 비율입니다.",
    ),
    Ratio(
        "이자보상배율",
        "영업이익",
        "이자비용",
        (30, 360, 10),
        (20, 120, 5),
        "이자보상배율은 영업이익을 이자비용으로 나눈 값입니다.",
        unit="배",
        comment=lambda value: (
            "영업이익으로 이자비용을 감당할 수 있습니다."
            if value >= 1
            else "1배에 못 미치므로 영업이익으로 이자도 다 내지 못합니다."
        ),
    ),
    Ratio(
        "배당성향",
        "배당금 총액",
        "당기순이익",
        (12, 60, 3),
        (80, 240, 10),
        "배당성향은 배당금 총액을 당기순이익으로 나눈 비율입니다.",
    ),
    Ratio(
        "총자산회전율",
        "매출액",
        "총자산",
        (600, 3000, 100),
        (800, 2400, 100),
        "총자산회전율은 매출액을 총자산으로 나눈 값입니다.",
        unit="회",
    ),
    Ratio(
        "자기자본비율",
        "자기자본",
        "총자산",
        (300, 1200, 50),
        (1500, 4000, 100),
        "자기자본비율은 총자산 가운데 자기자본이 차지하는 비율입니다.",
    ),
    Ratio(
        "고정이하여신비율",
        "고정이하여신",
        "총여신",
        (300, 1500, 50),
        (80_000, 200_000, 10_000),
        "고정이하여신비율은 고정이하여신을 총여신으로 나눈 비율입니다.",
        subjects=BANKS,
    ),
    Ratio(
        "대손충당금 적립비율",
        "대손충당금 적립액",
        "고정이하여신",
        (600, 3000, 100),
        (500, 1500, 50),
        "대손충당금 적립비율은 대손충당금 적립액을 고정이하여신으로 나눈 비율입니다.",
        subjects=BANKS,
        comment=_than_100("부실채권을 충당금으로 모두 덮을 수 있습니다.", "충당금이 부실채권보다 적습니다."),
    ),
    Ratio(
        "연체율",
        "연체 채권",
        "총채권",
        (120, 900, 30),
        (30_000, 90_000, 5_000),
        "연체율은 연체 채권을 총채권으로 나눈 비율입니다.",
        subjects=BANKS,
    ),
    Ratio(
        "BIS 총자본비율",
        "총자본",
        "위험가중자산",
        (18_000, 28_000, 500),
        (130_000, 180_000, 10_000),
        "BIS 총자본비율은 총자본을 위험가중자산으로 나눈 비율입니다.",
        subjects=BANKS,
    ),
    Ratio(
        "유동성커버리지비율(LCR)",
        "고유동성자산",
        "30일 순현금유출액",
        (9_000, 30_000, 1_000),
        (8_000, 20_000, 1_000),
        "LCR은 고유동성자산을 앞으로 30일간의 순현금유출액으로 나눈 비율입니다.",
        subjects=BANKS,
        comment=_than_100("기준인 100%를 충족합니다.", "기준인 100%에 못 미칩니다."),
    ),
    Ratio(
        "예대율",
        "원화대출금",
        "원화예수금",
        (120_000, 170_000, 5_000),
        (140_000, 180_000, 5_000),
        "예대율은 원화대출금을 원화예수금으로 나눈 비율입니다.",
        subjects=BANKS,
    ),
    Ratio(
        "손해율",
        "발생손해액",
        "경과보험료",
        (700, 1400, 50),
        (900, 1600, 100),
        "손해율은 발생손해액을 경과보험료로 나눈 비율입니다.",
        subjects=INSURERS,
        comment=_than_100("받은 보험료보다 나간 손해액이 큽니다.", "보험료 안에서 손해액을 감당했습니다."),
    ),
    Ratio(
        "LTV",
        "대출금",
        "주택 담보가치",
        (12_000, 36_000, 1_500),
        (40_000, 90_000, 5_000),
        "LTV는 대출금을 담보가치로 나눈 비율입니다.",
        scale=10_000,
        subjects=PEOPLE,
    ),
    Ratio(
        "DSR",
        "연간 원리금 상환액",
        "연소득",
        (900, 2600, 100),
        (4_000, 9_000, 500),
        "DSR은 모든 대출의 연간 원리금 상환액을 연소득으로 나눈 비율입니다.",
        scale=10_000,
        subjects=PEOPLE,
    ),
    Ratio(
        "PER",
        "주가",
        "주당순이익(EPS)",
        (12_000, 96_000, 3_000),
        (1_500, 8_000, 500),
        "PER은 주가를 주당순이익으로 나눈 값입니다.",
        unit="배",
        scale=1,
    ),
    Ratio(
        "PBR",
        "주가",
        "주당순자산(BPS)",
        (9_000, 72_000, 3_000),
        (15_000, 60_000, 2_500),
        "PBR은 주가를 주당순자산으로 나눈 값입니다.",
        unit="배",
        scale=1,
        comment=lambda value: "" if value >= 1 else "1배 미만이므로 주가가 장부상 순자산보다 낮습니다.",
    ),
    Ratio(
        "배당수익률",
        "주당배당금",
        "주가",
        (300, 2_400, 100),
        (12_000, 60_000, 2_000),
        "배당수익률은 주당배당금을 주가로 나눈 비율입니다.",
        scale=1,
    ),
)


def ratio_problem(ratio: Ratio, rng: Random) -> Problem:
    """Return one question about a ratio; the wrong answer swaps the two amounts or shifts the point."""
    top, bottom = (span(rng, *limits) * ratio.scale for limits in (ratio.top, ratio.bottom))
    while top == bottom:
        top = span(rng, *ratio.top) * ratio.scale
    factor, times = (100, " × 100") if ratio.unit == "%" else (1, "")
    answer = Figure(Decimal(top * factor) / bottom, ratio.unit)
    # Prices per share stay in digits; 3만원 beside 25,500원 reads badly.
    a, b = (Word(f"{side:,}원") if ratio.scale == 1 else won(side) for side in (top, bottom))
    name, num, den = Word(ratio.name), Word(ratio.numerator), Word(ratio.denominator)
    subject = pick(rng, ratio.subjects)
    question = pick(
        rng,
        (
            f"{subject}의 {num:은} {a}, {den:은} {b}입니다. {name:은} 얼마인가요?",
            f"{num} {a}, {den} {b}일 때 {name:을} 구해 주세요.",
            f"{subject}의 {name:을} 계산해 주세요. {num:은} {a}, {den:은} {b}입니다.",
        ),
    )
    comment = ratio.comment(answer.value) if ratio.comment else ""
    reply = f"{ratio.definition} {a} ÷ {b}{times} = {answer.result}. {comment}".strip()
    swapped = Decimal(bottom * factor) / top
    # A swapped ratio of thousands of percent would be no plausible slip; a misplaced decimal point is.
    wrong = swapped if swapped < 20 * answer.exact else answer.exact * 10
    return problem(ratio.name, question, reply, answer, Figure(wrong, ratio.unit))
