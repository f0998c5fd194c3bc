"""Numeric benchmark questions on sums, shares, averages, units and targets of invented lenders and insurers."""

from __future__ import annotations

from decimal import Decimal
from random import Random

from sample_data.benchmark_item import BANKS, EOK, FIRMS, Item, grid, near, rounding
from sample_data.korean import Word, pick, shuffled, span

TENTH, HUNDREDTH = Decimal("0.1"), Decimal("0.01")


def share_of_total(rng: Random) -> Item:
    """Return a question on the share of one row in the total."""
    names, label = pick(
        rng,
        (
            (("북미", "유럽", "동남아", "중국", "국내", "중동"), "지역별 매출(억원)"),
            (("제조업", "건설업", "도소매업", "음식숙박업", "운수업", "부동산업"), "업종별 대출잔액(억원)"),
            (("국내주식", "해외주식", "국내채권", "해외채권", "부동산", "단기자금"), "운용 금액(억원)"),
        ),
    )
    rows = [(name, span(rng, 120, 4_600, 10)) for name in shuffled(rng, names)[: span(rng, 3, 6)]]
    name, part = pick(rng, rows)
    table = grid(("구분", label), rows)
    question = pick(
        rng,
        (
            f"{Word(name):이} 표의 전체 금액에서 차지하는 비중은 몇 %인가요? {rounding(rng, 1)}",
            f"표의 금액을 모두 더한 값 가운데 {Word(name):은} 몇 %에 해당하나요? {rounding(rng, 1)}",
        ),
    )
    return Item("구성비", table, question, Decimal(part) * 100 / sum(row[1] for row in rows), "%", TENTH)


def total(rng: Random) -> Item:
    """Return a question on the sum of four quarters."""
    bank = pick(rng, BANKS)
    lines = {"이자이익": span(rng, 2_900, 6_500), "수수료이익": span(rng, 340, 960)}
    quarters = {name: [near(rng, base, 9, 10) for _ in range(4)] for name, base in lines.items()}
    name = pick(rng, tuple(lines))
    table = grid(
        ("구분(억원)", "1분기", "2분기", "3분기", "4분기"), [(label, *cells) for label, cells in quarters.items()]
    )
    question = pick(
        rng,
        (
            f"{bank}의 네 분기 {Word(name):을} 모두 더하면 얼마인가요?",
            f"{Word(bank):이} 한 해 동안 거둔 {Word(name):은} 모두 얼마인가요?",
        ),
    )
    return Item("합계", table, question, Decimal(sum(quarters[name]) * EOK), "원")


def average(rng: Random) -> Item:
    """Return a question on a monthly average, rounded to 억원."""
    start, count = span(rng, 1, 6), span(rng, 3, 6)
    label = pick(rng, ("신규 대출(억원)", "퇴직연금 적립액(억원)", "파생상품 거래대금(억원)", "외화예금 잔액(억원)"))
    base = span(rng, 1_040, 9_960)
    rows = [(f"{start + index}월", near(rng, base, 18) + span(rng, 0, 9)) for index in range(count)]
    name = Word(label.removesuffix("(억원)"))
    question = pick(
        rng,
        (
            f"표에 나온 {count}개월의 {name:은} 월평균 얼마인가요? 억원 단위로 반올림하세요.",
            f"{start}월부터 {start + count - 1}월까지 {name}의 산술평균을 억원 단위로 반올림해 구하세요.",
        ),
    )
    exact = Decimal(sum(row[1] for row in rows) * EOK) / count
    return Item("평균", grid(("월", label), rows), question, exact, "원", Decimal(EOK))


def compound_growth(rng: Random) -> Item:
    """Return a question on the compound annual growth rate."""
    first, periods = span(rng, 2018, 2021), span(rng, 2, 4)
    label = pick(rng, ("운용자산(억원)", "수입보험료(억원)", "대출채권(억원)", "고객예탁금(억원)"))
    amount, rows = span(rng, 1_500, 9_000, 25), []
    for index in range(periods + 1):
        rows.append((f"{first + index}년", amount))
        amount = amount * pick(rng, (88, 95, 104, 109, 116, 124)) // 100
    name, start, end = Word(label.removesuffix("(억원)")), rows[0][1], rows[-1][1]
    question = pick(
        rng,
        (
            f"{first}년부터 {first + periods}년까지 {periods}년 동안 {name}의 연평균 성장률(CAGR)은 몇 %인가요? "
            f"줄었으면 음수로 쓰고 {rounding(rng, 1)}",
            f"{name:이} 처음 해에서 마지막 해까지 해마다 같은 비율로 변했다면 그 비율(CAGR)은 몇 %인가요? "
            f"감소면 음수로 적고 {rounding(rng, 1)}",
        ),
    )
    exact = ((Decimal(end) / start) ** (Decimal(1) / periods) - 1) * 100
    return Item("CAGR", grid(("연도", label), rows), question, exact, "%", TENTH)


def conversion(rng: Random) -> Item:
    """Return a question that reads a cell in another unit of account."""
    unit, scale, low, high, step = pick(
        rng,
        (
            ("백만원", 10**6, 310_000, 6_400_000, 100),
            ("천원", 10**3, 120_000_000, 970_000_000, 100_000),
            ("십억원", 10**9, 210, 9_800, 1),
        ),
    )
    accounts = ("현금성자산", "투자부동산", "유형자산", "차입금", "사채", "이익잉여금")
    rows = [(name, span(rng, low, high, step)) for name in shuffled(rng, accounts)[: span(rng, 2, 4)]]
    name, amount = pick(rng, rows)
    form = "○조 ○억원" if amount * scale >= 10**12 else "○억원"
    question = pick(
        rng,
        (
            f"{pick(rng, FIRMS)}의 {Word(name):은} 얼마인가요? 표의 단위를 바꾸어 '{form}' 꼴로 적으세요.",
            f"표의 {Word(name):을} 조·억 단위의 원화 금액으로 고쳐 쓰면 얼마인가요? '{form}'처럼 답하세요.",
        ),
    )
    return Item("단위 환산", grid(("계정", f"금액({unit})"), rows), question, Decimal(amount * scale), "원")


def gap_to_target(rng: Random) -> Item:
    """Return a question on the amount over or under a target."""
    names = ("제주센터", "춘천센터", "전주센터", "울산센터", "청주센터", "포항센터")
    rows = []
    for name in shuffled(rng, names)[: span(rng, 3, 5)]:
        target = span(rng, 350, 1_900, 10)
        rows.append((name, target, near(rng, target, 26) + span(rng, 1, 9)))
    name, target, done = pick(rng, rows)
    question = pick(
        rng,
        (
            f"{name}의 유치 실적은 목표보다 얼마나 많거나 적은가요? 모자라면 음수로 적으세요.",
            f"실적에서 목표를 빼면 {name}는 얼마인가요? 목표에 못 미쳤으면 음수로 답하세요.",
        ),
    )
    table = grid(("센터", "유치 목표(억원)", "유치 실적(억원)"), rows)
    return Item("목표 과부족", table, question, Decimal((done - target) * EOK), "원")


def bad_loans_change(rng: Random) -> Item:
    """Return a question on the change of a ratio between two year ends, in percentage points."""
    first_book = span(rng, 62_000, 128_000, 1_000)
    books = (first_book, first_book * span(rng, 101, 116) // 100)
    base = span(rng, 420, 1_900)
    bad = (near(rng, base, 30, 10), near(rng, base, 30, 10))
    first = span(rng, 2021, 2024)
    header = ("구분(억원)", f"{first}년 말", f"{first + 1}년 말")
    question = pick(
        rng,
        (
            f"{pick(rng, BANKS)}의 부실여신비율(부실여신 ÷ 총여신)은 1년 사이 몇 %p 변했나요? "
            f"낮아졌으면 음수로 쓰고 {rounding(rng, 2)}",
            f"총여신에 대한 부실여신의 비율이 {first}년 말보다 {first + 1}년 말에 몇 %p 높은지 구하세요. "
            f"더 낮으면 음수로 적고 {rounding(rng, 2)}",
        ),
    )
    exact = Decimal(bad[1]) * 100 / books[1] - Decimal(bad[0]) * 100 / books[0]
    return Item("비율 변화", grid(header, [("총여신", *books), ("부실여신", *bad)]), question, exact, "%p", HUNDREDTH)


def combined_ratio(rng: Random) -> Item:
    """Return a question on the combined ratio of an insurance line."""
    rows = []
    for name in shuffled(rng, ("운전자보험", "여행자보험", "펫보험", "해상보험", "배상책임보험"))[: pick(rng, (2, 3))]:
        earned = span(rng, 420, 2_600, 20)
        rows.append((name, earned, earned * span(rng, 55, 93) // 100, earned * span(rng, 14, 33) // 100))
    name, earned, losses, costs = pick(rng, rows)
    question = pick(
        rng,
        (
            f"{name}의 합산비율((손해액 + 사업비) ÷ 경과보험료)은 몇 %인가요? {rounding(rng, 1)}",
            f"손해액과 사업비를 더해 경과보험료로 나누면 {Word(name):은} 몇 %가 되나요? {rounding(rng, 1)}",
        ),
    )
    table = grid(("보험종목", "경과보험료(억원)", "손해액(억원)", "사업비(억원)"), rows)
    return Item("합산비율", table, question, Decimal(losses + costs) * 100 / earned, "%", TENTH)


BUSINESS = (
    share_of_total,
    total,
    average,
    compound_growth,
    conversion,
    gap_to_target,
    bad_loans_change,
    combined_ratio,
)
