"""Numeric benchmark questions on interest rates, deposits, borrowing and currencies."""

from __future__ import annotations

from decimal import Decimal
from random import Random

from sample_data.benchmark_item import EOK, LENDERS, MAN, Item, grid, hundredths, rounding
from sample_data.korean import Word, pick, shuffled, span, won

TENTH, HUNDREDTH = Decimal("0.1"), Decimal("0.01")


def yield_change(rng: Random) -> Item:
    """Return a question on the change of a yield in basis points."""
    level, rows = span(rng, 2_350, 2_900, 5), []
    for tenor in ("2년", "5년", "10년", "20년")[pick(rng, (0, 1)) :]:
        rows.append((f"국고채 {tenor}", Decimal(level).scaleb(-3), Decimal(level + span(rng, -140, 120, 5)).scaleb(-3)))
        level += span(rng, 40, 190, 5)
    name, before, now = pick(rng, rows)
    question = pick(
        rng,
        (
            f"{name} 금리는 한 주 사이 몇 bp 움직였나요? 내렸으면 음수로 적으세요.",
            f"지난주와 비교해 이번 주 {name} 금리는 몇 bp 변했는지 답하세요. 하락은 음수입니다.",
        ),
    )
    table = grid(("종목", "지난주(%)", "이번 주(%)"), rows)
    return Item("금리 변동", table, question, (now - before) * 100, "bp", TENTH)


def credit_spread(rng: Random) -> Item:
    """Return a question on the spread between a corporate and a government bond."""
    level, good, poor, rows = span(rng, 245, 320), span(rng, 28, 70), span(rng, 240, 420), []
    spreads: dict[str, dict[str, int]] = {}
    for tenor in ("1년", "3년", "5년"):
        yields = (level, level + good + span(rng, 0, 16), level + poor + span(rng, 0, 75))
        rows.append((tenor, *map(hundredths, yields)))
        spreads[tenor] = {"AA- 회사채": yields[1] - level, "BBB+ 회사채": yields[2] - level}
        level += span(rng, 2, 17)
    tenor, name = pick(rng, tuple(spreads)), pick(rng, ("AA- 회사채", "BBB+ 회사채"))
    question = pick(
        rng,
        (
            f"만기 {tenor}에서 {name}의 국고채 대비 스프레드는 몇 bp인가요?",
            f"{tenor} 만기 {name} 금리는 같은 만기 국고채보다 몇 bp 높은가요?",
        ),
    )
    table = grid(("만기", "국고채(%)", "AA- 회사채(%)", "BBB+ 회사채(%)"), rows)
    return Item("신용스프레드", table, question, Decimal(spreads[tenor][name]), "bp")


def spread_change(rng: Random) -> Item:
    """Return a question on how a spread widened or narrowed."""
    level, gap = span(rng, 240, 340), span(rng, 48, 120)
    government = (level, level + span(rng, -32, 28))
    corporate = (level + gap, government[1] + gap + span(rng, -37, 41))
    months = pick(rng, (("3월 말", "6월 말"), ("6월 말", "9월 말"), ("9월 말", "12월 말")))
    rows = [
        (name, *map(hundredths, levels)) for name, levels in (("국고채 3년", government), ("카드채 3년", corporate))
    ]
    question = pick(
        rng,
        (
            f"카드채와 국고채의 금리 차이는 {months[0]}보다 {months[1]}에 몇 bp 벌어졌나요? 좁혀졌으면 음수로 쓰세요.",
            f"{months[0]}에서 {months[1]} 사이 카드채 스프레드(카드채 − 국고채)는 몇 bp 변했나요? 축소는 음수입니다.",
        ),
    )
    change = (corporate[1] - government[1]) - (corporate[0] - government[0])
    return Item("스프레드 변화", grid(("구분(%)", *months), rows), question, Decimal(change), "bp")


def point_change(rng: Random) -> Item:
    """Return a question on the change of a market share in percentage points."""
    names = ("아라자산운용", "해솔자산운용", "이든자산운용", "온빛자산운용", "버들자산운용")
    first = span(rng, 2021, 2024)
    rows = []
    for name in shuffled(rng, names)[: span(rng, 3, 5)]:
        share = span(rng, 62, 284)
        rows.append((name, Decimal(share).scaleb(-1), Decimal(share + span(rng, -47, 52)).scaleb(-1)))
    name, before, now = pick(rng, rows)
    question = pick(
        rng,
        (
            f"{name}의 점유율은 {first}년보다 {first + 1}년에 몇 %p 달라졌나요? 낮아졌으면 음수로 적으세요.",
            f"{first + 1}년 {name}의 점유율에서 전년 점유율을 빼면 몇 %p인가요? 하락은 음수로 답하세요.",
        ),
    )
    table = grid(("운용사", f"{first}년 점유율(%)", f"{first + 1}년 점유율(%)"), rows)
    return Item("점유율 변화", table, question, now - before, "%p", TENTH)


def deposit_interest(rng: Random) -> Item:
    """Return a question on simple interest of one deposit in a table, before tax."""
    names = ("알짜예금", "자라는예금", "디딤예금", "한마음예금", "회전예금")
    rows = [
        (f"{lender} {name}", pick(rng, (3, 6, 9, 18)), hundredths(span(rng, 205, 395, 5)))
        for lender, name in zip(shuffled(rng, LENDERS)[:3], shuffled(rng, names), strict=False)
    ]
    (name, months, rate), principal = pick(rng, rows), span(rng, 3, 64) * 100 * MAN
    question = pick(
        rng,
        (
            f"{name}에 {won(principal):을} 넣으면 만기에 세전 이자가 얼마 붙나요? 이자는 단리로 계산합니다.",
            f"{won(principal):을} {name}에 만기까지 두었을 때 단리 이자는 세금을 떼기 전 얼마인가요?",
        ),
    )
    table = grid(("상품", "만기(개월)", "이율(연 %)"), rows)
    return Item("예금 이자", table, question, principal * rate / 100 * months / 12, "원")


def deposit_after_tax(rng: Random) -> Item:
    """Return a question on one year's interest after the tax named in the question."""
    rows = [
        (name, span(rng, 400, 9_000, 100), hundredths(span(rng, 210, 380, 5)))
        for name in shuffled(rng, ("정우진", "한소율", "오태경", "배다인", "남궁솔"))[: pick(rng, (2, 3))]
    ]
    name, held, rate = pick(rng, rows)
    principal = held * MAN
    question = pick(
        rng,
        (
            f"{name} 씨가 1년 뒤 받는 이자에서 세금 15.4%를 빼면 손에 쥐는 이자는 얼마인가요?",
            f"이자에 15.4%의 세금이 붙을 때 {name} 씨의 1년치 세후 이자를 구하세요.",
        ),
    )
    table = grid(("예금주", "예치금(만원)", "이율(연 %)"), rows)
    return Item("세후 이자", table, question, principal * rate / 100 * Decimal("0.846"), "원")


def to_won(rng: Random) -> Item:
    """Return a question on foreign money sent or received; yen are quoted for a hundred."""
    lists = (
        ("달러(USD)", "달러", 131_000, 145_000, 1),
        ("유로(EUR)", "유로", 143_000, 158_000, 1),
        ("엔(JPY 100)", "엔", 88_500, 97_500, 100),
        ("파운드(GBP)", "파운드", 168_000, 186_000, 1),
        ("위안(CNY)", "위안", 18_400, 20_100, 1),
    )
    rows: list[tuple[str, Decimal, Decimal]] = []
    units: dict[str, tuple[str, int]] = {}
    for label, unit, low, high, per in shuffled(rng, lists)[: span(rng, 3, 4)]:
        middle = span(rng, low, high, 7)
        rows.append((label, hundredths(middle + middle // 103), hundredths(middle - middle // 103)))
        units[label] = (unit, per)
    label, send, receive = pick(rng, rows)
    unit, per = units[label]
    amount = span(rng, 300, 9_800, 100) * per
    if pick(rng, (True, False)):
        question, rate = (
            f"해외로 {amount:,}{Word(unit):을} 보내려면 원화로 얼마가 드나요? 수수료는 없다고 봅니다.",
            send,
        )
    else:
        question, rate = f"해외에서 온 {amount:,}{Word(unit):을} 원화로 바꾸면 얼마를 받나요?", receive
    table = grid(("통화", "송금 보낼 때(원)", "송금 받을 때(원)"), rows)
    return Item("외화 환산", table, question, Decimal(amount) / per * rate, "원")


def to_dollars(rng: Random) -> Item:
    """Return a question on the dollars that an amount of won buys."""
    month, day, base = span(rng, 1, 12), span(rng, 3, 12), span(rng, 13_300, 14_400, 3)
    rows = [
        (f"{month}월 {day + index * 6}일", Decimal(base + span(rng, -180, 180, 3)).scaleb(-1))
        for index in range(span(rng, 2, 4))
    ]
    (when, rate), amount = pick(rng, rows), span(rng, 150, 4_800, 50) * MAN
    question = pick(
        rng,
        (
            f"{when} 환율로 {won(amount):은} 몇 달러인가요? {rounding(rng, 2)}",
            f"{when}에 {won(amount):을} 달러로 바꾸면 몇 달러가 되나요? 수수료는 없고 {rounding(rng, 2)}",
        ),
    )
    table = grid(("날짜", "매매기준율(원/달러)"), rows)
    return Item("달러 환산", table, question, amount / rate, "달러", HUNDREDTH)


def weighted_rate(rng: Random) -> Item:
    """Return a question on the average borrowing rate, weighted by balance."""
    rows = [
        (lender, span(rng, 30, 620, 10), hundredths(span(rng, 365, 690, 5)))
        for lender in shuffled(rng, LENDERS)[: pick(rng, (2, 3, 4))]
    ]
    interest = sum((balance * rate for _, balance, rate in rows), Decimal(0))
    question = pick(
        rng,
        (
            f"차입금 잔액으로 가중평균한 차입 이율은 연 몇 %인가요? {rounding(rng, 2)}",
            f"빌린 금액의 크기를 반영하면 이 회사의 평균 차입 이율은 연 몇 %인가요? {rounding(rng, 2)}",
        ),
    )
    table = grid(("차입처", "차입금 잔액(억원)", "이율(연 %)"), rows)
    exact = interest / sum(row[1] for row in rows)
    return Item("가중평균 이율", table, question, exact, "%", HUNDREDTH)


def interest_cost(rng: Random) -> Item:
    """Return a question on a year's interest on all loans."""
    rows = [
        (name, span(rng, 40, 760, 10), Decimal(span(rng, 33, 64)).scaleb(-1))
        for name in shuffled(rng, ("시설자금", "운영자금", "무역금융", "당좌차월"))[: pick(rng, (2, 3))]
    ]
    question = pick(
        rng,
        (
            "모든 대출의 1년 이자를 더하면 얼마인가요? 잔액은 그대로라고 봅니다.",
            "잔액과 이율이 1년 내내 같다면 한 해에 낼 이자는 모두 얼마인가요?",
        ),
    )
    exact = sum((balance * EOK * rate / 100 for _, balance, rate in rows), Decimal(0))
    return Item("연간 이자", grid(("대출", "잔액(억원)", "이율(연 %)"), rows), question, exact, "원")


RATES = (
    yield_change,
    credit_spread,
    spread_change,
    point_change,
    deposit_interest,
    deposit_after_tax,
    to_won,
    to_dollars,
    weighted_rate,
    interest_cost,
)
