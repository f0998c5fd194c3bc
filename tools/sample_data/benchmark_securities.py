"""Numeric benchmark questions on shares, funds and bonds of invented issuers."""

from __future__ import annotations

from decimal import Decimal
from random import Random

from sample_data.benchmark_item import EOK, FIRMS, MAN, Item, grid, hundredths, rounding
from sample_data.korean import Word, pick, shuffled, span

TENTH, HUNDREDTH = Decimal("0.1"), Decimal("0.01")
FUNDS = ("벼리 친환경", "윤슬 중소형", "단비 배당성장", "너울 글로벌", "산들 신흥국", "여울 기술주")


def per_share(rng: Random) -> Item:
    """Return a question on earnings per share, negative for a loss."""
    rows = [
        (name, span(rng, -240, 860, 7), span(rng, 480, 4_900, 20)) for name in shuffled(rng, FIRMS)[: span(rng, 2, 4)]
    ]
    firm, net, shares = pick(rng, rows)
    question = pick(
        rng,
        (
            f"{firm}의 EPS(당기순손익 ÷ 발행주식수)는 얼마인가요? 손실이면 음수로 쓰고 원 미만은 반올림하세요.",
            f"당기순손익을 발행주식수로 나누면 {Word(firm):은} 주당 얼마인가요? 순손실은 음수로 적고 1원 단위로 "
            "반올림하세요.",
        ),
    )
    table = grid(("종목", "당기순손익(억원)", "발행주식수(만주)"), rows)
    return Item("EPS", table, question, Decimal(net * EOK) / (shares * MAN), "원")


def price_earnings(rng: Random) -> Item:
    """Return a question on PER from price and EPS."""
    rows = []
    for name in shuffled(rng, FIRMS)[: pick(rng, (2, 3, 4))]:
        earned = span(rng, 640, 7_400, 10)
        rows.append((name, earned * span(rng, 54, 260) // 500 * 50, earned, earned * span(rng, 5, 14)))
    firm, price, earned, _ = pick(rng, rows)
    question = pick(
        rng,
        (
            f"{firm}의 주가는 주당순이익의 몇 배인가요? {rounding(rng, 1)}",
            f"표를 보고 {firm}의 주가수익비율(PER)이 몇 배인지 답하세요. {rounding(rng, 1)}",
        ),
    )
    table = grid(("종목", "주가(원)", "EPS(원)", "BPS(원)"), rows)
    return Item("PER", table, question, Decimal(price) / earned, "배", TENTH)


def price_to_book(rng: Random) -> Item:
    """Return a question on PBR where book value per share has to be worked out first."""
    rows = [
        (name, span(rng, 4_350, 96_000, 50), span(rng, 900, 8_800, 20), span(rng, 700, 4_200, 20))
        for name in shuffled(rng, FIRMS)[: pick(rng, (2, 3))]
    ]
    firm, price, equity, shares = pick(rng, rows)
    question = pick(
        rng,
        (
            f"자본총계를 발행주식수로 나눈 주당순자산을 쓰면 {firm}의 PBR은 몇 배인가요? {rounding(rng, 2)}",
            f"{firm}의 주가순자산비율(PBR)을 배로 구하세요. 주당순자산은 표에서 계산하고 {rounding(rng, 2)}",
        ),
    )
    table = grid(("종목", "주가(원)", "자본총계(억원)", "발행주식수(만주)"), rows)
    return Item("PBR", table, question, Decimal(price * shares * MAN) / (equity * EOK), "배", HUNDREDTH)


def market_value(rng: Random) -> Item:
    """Return a question on market capitalisation."""
    rows = [
        (name, span(rng, 3_400, 88_000, 100), span(rng, 300, 6_400, 10))
        for name in shuffled(rng, FIRMS)[: span(rng, 2, 4)]
    ]
    firm, price, shares = pick(rng, rows)
    question = pick(
        rng,
        (
            f"{firm}의 시가총액은 얼마인가요?",
            f"주가와 상장주식수로 계산한 {firm}의 시가총액을 원화로 답하세요.",
        ),
    )
    table = grid(("종목", "주가(원)", "상장주식수(만주)"), rows)
    return Item("시가총액", table, question, Decimal(price * shares * MAN), "원")


def dividend_yield(rng: Random) -> Item:
    """Return a question on the yield of two dividends a year."""
    rows = [
        (name, span(rng, 8_400, 76_000, 100), span(rng, 50, 600, 10), span(rng, 120, 1_500, 10))
        for name in shuffled(rng, FIRMS)[: pick(rng, (2, 3))]
    ]
    firm, price, interim, final = pick(rng, rows)
    question = pick(
        rng,
        (
            f"중간배당과 결산배당을 합친 {firm}의 연간 배당수익률은 몇 %인가요? {rounding(rng, 2)}",
            f"{firm} 주식을 표의 주가에 샀다면 한 해 배당금은 주가의 몇 %인가요? {rounding(rng, 2)}",
        ),
    )
    table = grid(("종목", "주가(원)", "중간배당(원)", "결산배당(원)"), rows)
    return Item("배당수익률", table, question, Decimal((interim + final) * 100) / price, "%", HUNDREDTH)


def new_shares(rng: Random) -> Item:
    """Return a question on the shares issued for an amount raised."""
    prices = (2_500, 4_000, 5_000, 6_250, 8_000, 12_500, 16_000, 20_000, 25_000)
    rows = [
        (f"{turn}차", span(rng, 30, 720, 10), price)
        for turn, price in enumerate(shuffled(rng, prices)[: pick(rng, (2, 3, 4))], 1)
    ]
    name, raised, price = pick(rng, rows)
    whole = pick(rng, (True, False))
    question = (
        "표의 유상증자를 모두 합치면 새로 발행되는 주식은 몇 주인가요?"
        if whole
        else f"{pick(rng, FIRMS)}의 {name} 유상증자로 발행되는 신주는 몇 주인가요?"
    )
    table = grid(("유상증자", "조달금액(억원)", "발행가액(원)"), rows)
    issued = sum(row[1] * EOK // row[2] for row in rows) if whole else raised * EOK // price
    return Item("신주 수", table, question, Decimal(issued), "주")


def average_price(rng: Random) -> Item:
    """Return a question on the average price of several purchases."""
    base, day = span(rng, 9_000, 84_000, 50), span(rng, 1, 12)
    rows = [
        (f"{day + 5 * index}일", span(rng, 20, 480, 10), base + span(rng, -900, 900, 50))
        for index in range(pick(rng, (2, 3, 4)))
    ]
    firm = pick(rng, FIRMS)
    question = pick(
        rng,
        (
            f"{firm} 주식을 표와 같이 나누어 샀습니다. 평균 매입단가는 얼마인가요? 원 미만은 반올림하세요.",
            f"수수료가 없을 때 {firm} 주식의 주당 평균 매입가격을 1원 단위로 반올림해 구하세요.",
        ),
    )
    paid = Decimal(sum(count * price for _, count, price in rows))
    exact = paid / sum(count for _, count, _ in rows)
    return Item("평균 매입단가", grid(("매수일", "수량(주)", "단가(원)"), rows), question, exact, "원")


def _holdings(rng: Random) -> list[tuple[str, int, int, int]]:
    rows = []
    for name in shuffled(rng, FIRMS)[: pick(rng, (2, 3, 4))]:
        bought = span(rng, 5_200, 97_000, 100)
        rows.append((name, span(rng, 20, 600, 20), bought, bought * span(rng, 68, 127) // 5_000 * 50))
    return rows


HOLDINGS = ("종목", "수량(주)", "매입단가(원)", "현재가(원)")


def holding_gain(rng: Random) -> Item:
    """Return a question on the gain or loss of holdings not yet sold."""
    rows = _holdings(rng)
    name, count, bought, now = pick(rng, rows)
    if pick(rng, (True, False)):
        question = "계좌에 있는 모든 종목의 평가손익을 더하면 얼마인가요? 손실이면 음수로 답하세요."
        gain = sum(row[1] * (row[3] - row[2]) for row in rows)
    else:
        question = f"지금 {Word(name):을} 모두 판다면 손익은 얼마인가요? 비용은 없다고 보고 손실은 음수로 적으세요."
        gain = count * (now - bought)
    return Item("평가손익", grid(HOLDINGS, rows), question, Decimal(gain), "원")


def holding_return(rng: Random) -> Item:
    """Return a question on the return of all holdings together."""
    rows = _holdings(rng)
    paid, worth = sum(row[1] * row[2] for row in rows), sum(row[1] * row[3] for row in rows)
    question = pick(
        rng,
        (
            f"계좌 전체의 평가수익률(총평가손익 ÷ 총매입금액)은 몇 %인가요? 손실이면 음수로 쓰고 {rounding(rng, 1)}",
            f"총매입금액에 비해 현재 평가금액은 몇 % 늘거나 줄었나요? 줄었으면 음수로 적고 {rounding(rng, 1)}",
        ),
    )
    return Item("평가수익률", grid(HOLDINGS, rows), question, Decimal(worth - paid) * 100 / paid, "%", TENTH)


def sharpe(rng: Random) -> Item:
    """Return a question on a Sharpe ratio, negative under the riskless rate."""
    rows = [
        (f"{name} 펀드", Decimal(span(rng, -38, 164, 3)).scaleb(-1), Decimal(span(rng, 42, 215)).scaleb(-1))
        for name in shuffled(rng, FUNDS)[: pick(rng, (2, 3))]
    ]
    name, earned, risk = pick(rng, rows)
    free = Decimal(span(rng, 24, 34)).scaleb(-1)
    question = pick(
        rng,
        (
            f"무위험수익률이 {free}%라면 {name}의 샤프지수는 얼마인가요? 음수면 부호를 붙이고 {rounding(rng, 2)}",
            f"{name}의 샤프지수((수익률 − 무위험수익률 {free}%) ÷ 표준편차)는 얼마인가요? 음수면 부호를 쓰고 "
            f"{rounding(rng, 2)}",
        ),
    )
    table = grid(("펀드", "연 수익률(%)", "표준편차(%)"), rows)
    return Item("샤프지수", table, question, (earned - free) / risk, "", HUNDREDTH)


def net_flow(rng: Random) -> Item:
    """Return a question on net flows into funds."""
    rows = [
        (f"{name} 펀드", span(rng, 45, 980, 5), span(rng, 45, 980, 5))
        for name in shuffled(rng, FUNDS)[: pick(rng, (3, 4, 5))]
    ]
    name, came, left = pick(rng, rows)
    if pick(rng, (True, False)):
        question = "표에 있는 펀드 전체의 순유입액(설정 − 환매)은 얼마인가요? 순유출이면 음수로 적으세요."
        flow = sum(row[1] - row[2] for row in rows)
    else:
        question = f"{name}에 새로 들어온 돈에서 빠져나간 돈을 빼면 얼마인가요? 빠져나간 돈이 많으면 음수로 답하세요."
        flow = came - left
    return Item("순유입액", grid(("펀드", "설정(억원)", "환매(억원)"), rows), question, Decimal(flow * EOK), "원")


def coupon(rng: Random) -> Item:
    """Return a question on one coupon payment."""
    rows = [
        (
            f"{firm} {span(rng, 11, 68)}회",
            span(rng, 20, 900, 10),
            hundredths(span(rng, 300, 640, 4)),
            pick(rng, (1, 2, 4)),
        )
        for firm in shuffled(rng, FIRMS)[: pick(rng, (2, 3))]
    ]
    name, face, rate, times = pick(rng, rows)
    question = pick(
        rng,
        (
            f"{name} 채권을 전액 들고 있으면 이자 지급일마다 세전으로 얼마를 받나요?",
            f"{name} 채권의 한 번 지급 이자(세전)는 액면금액 전체로 보아 얼마인가요?",
        ),
    )
    table = grid(("채권", "액면금액(억원)", "표면이율(연 %)", "연간 지급 횟수(회)"), rows)
    return Item("이표", table, question, face * EOK * rate / 100 / Decimal(times), "원")


SECURITIES = (
    per_share,
    price_earnings,
    price_to_book,
    market_value,
    dividend_yield,
    new_shares,
    average_price,
    holding_gain,
    holding_return,
    sharpe,
    net_flow,
    coupon,
)
