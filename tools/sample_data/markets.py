"""Securities, currency and risk arithmetic, each answer computed with Decimal."""

from __future__ import annotations

from decimal import Decimal
from random import Random

from sample_data.interest import EOK, MAN, RATES
from sample_data.korean import Figure, Problem, percent, pick, plain, problem, span, won
from sample_data.ratios import BANKS, FIRMS


def coupon(rng: Random) -> Problem:
    """Return a question on one coupon payment of a bond."""
    face, rate = span(rng, 1_000, 20_000, 500) * MAN, pick(rng, RATES)
    label, times = pick(rng, (("3개월", 4), ("6개월", 2)))
    answer = Figure(face * rate / 100 / times, "원")
    question = (
        f"액면 {won(face)}, 표면금리 연 {percent(rate)}인 채권이 {label}마다 이자를 준다면 한 번에 "
        "받는 세전 이자는 얼마인가요?"
    )
    reply = f"이자는 1년에 {times}번 나눠 받습니다. {won(face)} × {percent(rate)} ÷ {times} = {answer.result}."
    return problem("이표 이자", question, reply, answer, Figure(face * rate / 100, "원"))


def discount_bond(rng: Random) -> Problem:
    """Return a question on the price of a zero-coupon bond."""
    face, rate, years = span(rng, 1_000, 10_000, 1_000) * MAN, pick(rng, RATES), pick(rng, (2, 3))
    answer = Figure(face / (1 + rate / 100) ** years, "원")
    question = (
        f"{years}년 뒤 {won(face):을} 주는 무이표채의 만기수익률이 연 {percent(rate)}라면 현재 가격은 얼마인가요?"
    )
    reply = (
        f"무이표채 가격은 액면을 (1 + 수익률)^연수로 할인한 값입니다. "
        f"{won(face)} ÷ {1 + rate / 100}^{years} = {answer.result}."
    )
    return problem("할인채 가격", question, reply, answer, Figure(face * (1 - rate / 100 * years), "원"))


def current_yield(rng: Random) -> Problem:
    """Return a question on the current yield of a bond priced per 10,000 won of face value."""
    rate, price = pick(rng, RATES), span(rng, 9_200, 10_400, 50)
    answer = Figure(rate * MAN / price, "%")
    question = f"액면 10,000원, 표면금리 연 {percent(rate)}인 채권을 {won(price)}에 샀습니다. 경상수익률은 얼마인가요?"
    interest = Figure(rate * 100, "원").text
    reply = f"경상수익률은 연 이자를 매입가격으로 나눈 값입니다. {interest} ÷ {won(price)} × 100 = {answer.result}."
    return problem("경상수익률", question, reply, answer, Figure(rate * price / MAN, "%"))


def duration_change(rng: Random) -> Problem:
    """Return a question on the price change of a bond by modified duration: -D x dy."""
    duration, points = Decimal(span(rng, 18, 85)) / 10, pick(rng, (10, 20, 40, 50))
    direction, sign, moved = pick(rng, (("오르면", "하락", "상승"), ("내리면", "상승", "하락")))
    answer = Figure(duration * points / 100, "%")
    question = f"수정듀레이션이 {plain(duration)}인 채권은 금리가 {points}bp {direction} 가격이 대략 몇 % {sign}하나요?"
    reply = (
        "가격 변화율은 −수정듀레이션 × 금리 변화로 어림합니다. 금리가 "
        f"{percent(Decimal(points) / 100)}p {moved}하므로 "
        f"가격은 약 {{answer}} {sign}합니다."
    )
    return problem("듀레이션", question, reply, answer, Figure(duration * points / 10, "%"))


def holding_return(rng: Random) -> Problem:
    """Return a question on the return of a share with its dividend."""
    bought, dividend = span(rng, 20_000, 80_000, 2_000), span(rng, 200, 1_800, 100)
    sold = bought + span(rng, -6_000, 12_000, 500)
    answer = Figure(Decimal(sold - bought + dividend) * 100 / bought, "%")
    question = (
        f"주식을 {bought:,}원에 사서 배당금 {dividend:,}원을 받고 {sold:,}원에 팔았습니다. "
        "세금과 비용이 없다면 수익률은 얼마인가요?"
    )
    reply = (
        f"수익률은 매매차익과 배당을 매입가로 나눈 값입니다. "
        f"({sold:,} − {bought:,} + {dividend:,}) ÷ {bought:,} × 100 = {answer.result}."
    )
    return problem("보유 수익률", question, reply, answer, Figure(Decimal(sold - bought) * 100 / bought, "%"))


def buy_dollars(rng: Random) -> Problem:
    """Return a question on the won needed to buy dollars."""
    rate, dollars = Decimal(span(rng, 13_200, 14_400, 15)) / 10, span(rng, 500, 12_000, 500)
    answer = Figure(rate * dollars, "원")
    question = pick(
        rng,
        (
            f"적용 환율이 1달러당 {plain(rate)}원일 때 {dollars:,}달러를 사려면 원화로 얼마가 필요한가요?",
            f"{dollars:,}달러를 송금하려고 합니다. 환율이 {plain(rate)}원이면 수수료 말고 원화가 얼마 드나요?",
        ),
    )
    reply = f"필요한 원화는 달러 금액 × 환율입니다. {dollars:,}달러 × {plain(rate)}원 = {answer.result}."
    return problem("환전 금액", question, reply, answer, Figure(rate * dollars / 10, "원"))


def currency_gain(rng: Random) -> Problem:
    """Return a question on the gain or loss of holding dollars."""
    dollars, start = span(rng, 1_000, 50_000, 1_000), span(rng, 1_320, 1_420, 5)
    change = pick(rng, (-45, -30, -20, 15, 25, 40, 60))
    answer = Figure(Decimal(dollars * abs(change)), "원")
    kind = "환차익" if change > 0 else "환차손"
    question = f"{start:,}원에 산 {dollars:,}달러를 환율 {start + change:,}원에 원화로 바꾸면 {kind}은 얼마인가요?"
    high, low = max(start, start + change), min(start, start + change)
    reply = (
        f"달러당 차이는 {high:,}원 − {low:,}원 = {abs(change)}원입니다. {dollars:,}달러를 곱하면 "
        f"{kind}은 {answer.result}."
    )
    return problem("환차손익", question, reply, answer, Figure(Decimal(dollars * abs(change)) * 10, "원"))


def portfolio_return(rng: Random) -> Problem:
    """Return a question on the weighted return of two assets."""
    stock = span(rng, 20, 80, 5)
    high, low = Decimal(span(rng, 50, 140, 5)) / 10, Decimal(span(rng, 20, 45)) / 10
    answer = Figure((stock * high + (100 - stock) * low) / 100, "%")
    question = (
        f"주식 {stock}%, 채권 {100 - stock}%로 나눠 투자했고 수익률이 각각 {percent(high)}, "
        f"{percent(low)}라면 전체 수익률은 얼마인가요?"
    )
    reply = f"비중으로 가중평균합니다. {stock}% × {percent(high)} + {100 - stock}% × {percent(low)} = {answer.result}."
    return problem("포트폴리오 수익률", question, reply, answer, Figure((high + low) / 2, "%"))


def expected_loss(rng: Random) -> Problem:
    """Return a question on expected loss: PD x LGD x EAD."""
    pd, lgd, ead = Decimal(span(rng, 5, 40, 5)) / 10, span(rng, 25, 60, 5), span(rng, 20, 200, 10) * EOK
    answer = Figure(pd * lgd * ead / 10_000, "원")
    question = f"PD {percent(pd)}, LGD {lgd}%, EAD {won(ead)}인 여신의 예상손실(EL)을 구해 주세요."
    reply = (
        "예상손실은 부도율 × 부도시손실률 × 부도시익스포저입니다. "
        f"{percent(pd)} × {lgd}% × {won(ead)} = {answer.result}."
    )
    return problem("예상손실", question, reply, answer, Figure(pd * ead / 100, "원"))


def var_scaling(rng: Random) -> Problem:
    """Return a question on scaling a one-day VaR by the square root of time."""
    daily, days = span(rng, 2, 30), pick(rng, (4, 9, 16, 25))
    root = int(Decimal(days).sqrt())
    answer = Figure(Decimal(daily * root * EOK), "원")
    question = f"1일 VaR이 {won(daily * EOK)}일 때 제곱근 법칙을 쓰면 {days}일 VaR은 얼마인가요?"
    reply = f"기간의 제곱근을 곱합니다. √{days} = {root}이므로 {won(daily * EOK)} × {root} = {answer.result}."
    return problem("VaR 환산", question, reply, answer, Figure(Decimal(daily * days * EOK), "원"))


def capm(rng: Random) -> Problem:
    """Return a question on the required return by the capital asset pricing model."""
    free, premium = Decimal(span(rng, 24, 36)) / 10, Decimal(span(rng, 45, 75, 5)) / 10
    beta = Decimal(span(rng, 6, 16)) / 10
    answer = Figure(free + beta * premium, "%")
    question = (
        f"무위험수익률 {percent(free)}, 시장위험프리미엄 {percent(premium)}, 베타 {beta}인 주식의 "
        "기대수익률을 CAPM으로 구해 주세요."
    )
    reply = (
        f"CAPM은 무위험수익률 + 베타 × 시장위험프리미엄입니다. {percent(free)} + {beta} × "
        f"{percent(premium)} = {answer.result}."
    )
    return problem("CAPM", question, reply, answer, Figure(beta * premium, "%"))


def sharpe(rng: Random) -> Problem:
    """Return a question on the Sharpe ratio."""
    earned, free = Decimal(span(rng, 60, 140, 4)) / 10, Decimal(span(rng, 25, 35)) / 10
    risk = span(rng, 6, 20)
    answer = Figure((earned - free) / risk, "")
    question = (
        f"펀드 수익률 {percent(earned)}, 무위험수익률 {percent(free)}, 표준편차 {risk}%일 때 샤프비율은 얼마인가요?"
    )
    reply = (
        f"샤프비율은 초과수익률을 표준편차로 나눈 값입니다. ({percent(earned)} − {percent(free)}) ÷ "
        f"{risk}% = {answer.result}."
    )
    return problem("샤프비율", question, reply, answer, Figure(earned / risk, ""))


def earnings_per_share(rng: Random) -> Problem:
    """Return a question on earnings per share."""
    profit, shares = span(rng, 40, 480, 20) * EOK, span(rng, 200, 1_600, 100) * MAN
    answer = Figure(Decimal(profit) / shares, "원")
    firm, count = pick(rng, FIRMS), f"{shares // MAN:,}만주"
    question = f"{firm}의 당기순이익은 {won(profit)}, 유통 주식 수는 {count}입니다. 주당순이익(EPS)은 얼마인가요?"
    reply = f"EPS는 당기순이익을 주식 수로 나눈 값입니다. {won(profit)} ÷ {count} = {answer.result}."
    return problem("EPS", question, reply, answer, Figure(Decimal(profit) / shares / 10, "원"))


def real_rate(rng: Random) -> Problem:
    """Return a question on the real rate as nominal rate less inflation."""
    prices = Decimal(span(rng, 12, 29)) / 10
    nominal = prices + Decimal(span(rng, 3, 24)) / 10
    answer = Figure(nominal - prices, "%")
    question = f"예금 금리가 연 {percent(nominal)}이고 물가상승률이 {percent(prices)}라면 실질금리는 대략 얼마인가요?"
    reply = (
        f"실질금리는 명목금리에서 물가상승률을 뺀 값으로 어림합니다. {percent(nominal)} − "
        f"{percent(prices)} = {answer.result}."
    )
    return problem("실질금리", question, reply, answer, Figure(nominal + prices, "%"))


def doubling_time(rng: Random) -> Problem:
    """Return a question on the years to double money by the rule of 72."""
    rate = pick(rng, tuple(map(Decimal, ("2", "2.4", "3", "3.6", "4", "4.5", "4.8", "6", "8", "9"))))
    answer = Figure(72 / rate, "년")
    question = f"연 {percent(rate)} 복리로 굴리면 원금이 두 배가 되는 데 몇 년쯤 걸리나요? 72의 법칙으로 알려 주세요."
    reply = f"72를 연수익률로 나누면 됩니다. 72 ÷ {plain(rate)} = {plain(72 / rate)}이므로 약 {{answer}}이 걸립니다."
    return problem("72의 법칙", question, reply, answer, Figure(100 / rate, "년"))


def net_interest_margin(rng: Random) -> Problem:
    """Return a question on a bank's net interest margin."""
    assets, income = span(rng, 100_000, 300_000, 20_000), span(rng, 5_000, 14_000, 500)
    cost = income - span(rng, 1_600, 4_800, 400)
    answer = Figure(Decimal(income - cost) * 100 / assets, "%")
    a, i, c = won(assets * EOK), won(income * EOK), won(cost * EOK)
    question = (
        f"{pick(rng, BANKS)}의 이자수익은 {i}, 이자비용은 {c}, 이자수익자산은 {a}입니다. 순이자마진(NIM)은 얼마인가요?"
    )
    reply = f"NIM은 순이자이익을 이자수익자산으로 나눈 값입니다. ({i} − {c}) ÷ {a} × 100 = {answer.result}."
    return problem("NIM", question, reply, answer, Figure(Decimal(income) * 100 / assets, "%"))


MARKETS = (
    coupon,
    discount_bond,
    current_yield,
    duration_change,
    holding_return,
    buy_dollars,
    currency_gain,
    portfolio_return,
    expected_loss,
    var_scaling,
    capm,
    sharpe,
    earnings_per_share,
    real_rate,
    doubling_time,
    net_interest_margin,
)
