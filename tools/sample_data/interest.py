"""Deposit and loan arithmetic: interest, instalments, fees and spreads, each answer computed with Decimal."""

from __future__ import annotations

from decimal import Decimal
from random import Random

from sample_data.korean import Figure, Problem, percent, pick, problem, span, won

MAN = 10_000
EOK = 10**8
# Income tax on interest 14% plus local income tax of a tenth of it (소득세법 129조, 지방세법 103조의13).
INTEREST_TAX = Decimal("0.154")
RATES = tuple(Decimal(text) for text in ("2.4", "2.7", "3", "3.2", "3.5", "3.6", "4", "4.2", "4.5", "4.8", "5.1"))


def simple_interest(rng: Random) -> Problem:
    """Return a question on simple interest over some months, before tax."""
    principal, rate, months = span(rng, 300, 9_000, 100) * MAN, pick(rng, RATES), pick(rng, (3, 6, 9, 18, 24, 36))
    answer = Figure(principal * rate / 100 * months / 12, "원")
    question = pick(
        rng,
        (
            f"{won(principal):을} 연 {percent(rate)} 단리로 {months}개월 예치하면 세전 이자는 얼마인가요?",
            f"원금 {won(principal)}, 연이율 {percent(rate)}, 기간 {months}개월인 단리 예금의 세전 이자를 구해 주세요.",
        ),
    )
    reply = (
        f"단리 이자는 원금 × 연이율 × 기간입니다. {won(principal)} × {percent(rate)} × {months}/12 = {answer.result}."
    )
    return problem("단리 이자", question, reply, answer, Figure(principal * rate / 100, "원"))


def after_tax(rng: Random) -> Problem:
    """Return a question on interest left after the 15.4% withheld at source."""
    interest = span(rng, 20, 900, 5) * MAN
    answer = Figure(interest * (1 - INTEREST_TAX), "원")
    question = pick(
        rng,
        (
            f"예금 이자가 세전 {won(interest)}입니다. 이자소득세와 지방소득세(합계 15.4%)를 떼면 얼마를 받나요?",
            f"세전 이자 {won(interest)}에서 15.4%를 원천징수하면 세후 이자는 얼마인가요?",
        ),
    )
    reply = (
        f"세금은 {won(interest)} × 15.4% = {Figure(interest * INTEREST_TAX, '원').text}입니다. "
        f"이를 뺀 세후 이자는 {answer.result}."
    )
    return problem("세후 이자", question, reply, answer, Figure(interest * INTEREST_TAX, "원"))


def compound(rng: Random) -> Problem:
    """Return a question on the final amount under yearly compounding."""
    principal, rate, years = span(rng, 500, 6_000, 100) * MAN, pick(rng, RATES), pick(rng, (2, 3, 4, 5))
    answer = Figure(principal * (1 + rate / 100) ** years, "원")
    question = pick(
        rng,
        (
            f"{won(principal):을} 연 {percent(rate)} 연복리로 {years}년 맡기면 만기에 세전으로 모두 얼마를 받나요?",
            f"원금 {won(principal)}에 연 {percent(rate)} 연복리가 붙을 때 {years}년 뒤 원리금은 얼마인가요?",
        ),
    )
    reply = (
        f"복리 원리금은 원금 × (1 + 연이율)^연수입니다. {won(principal)} × {1 + rate / 100}^{years} = {answer.result}."
    )
    return problem("복리 원리금", question, reply, answer, Figure(principal * (1 + rate / 100 * years), "원"))


def instalment_savings(rng: Random) -> Problem:
    """Return a question on the simple interest of monthly savings: payment x n(n+1)/2 x rate/12."""
    payment, rate, months = span(rng, 10, 100, 5) * MAN, pick(rng, RATES), pick(rng, (6, 12, 24, 36))
    weight = months * (months + 1) // 2
    answer = Figure(payment * weight * rate / 1200, "원")
    question = pick(
        rng,
        (
            f"매월 {won(payment)}씩 {months}개월 납입하는 정기적금의 금리가 연 {percent(rate)} 단리라면 세전 "
            "이자는 얼마인가요?",
            f"월 납입액 {won(payment)}, 연 {percent(rate)} 단리, {months}개월 만기 적금의 세전 이자를 계산해 주세요.",
        ),
    )
    reply = (
        f"적금 이자는 월 납입액 × n(n+1)/2 × 월이율로 구합니다. "
        f"{won(payment)} × {weight} × {percent(rate)} ÷ 12 = {answer.result}."
    )
    return problem("적금 이자", question, reply, answer, Figure(payment * months * rate / 100, "원"))


def equal_principal(rng: Random) -> Problem:
    """Return a question on the first payment of a loan repaid in equal parts of principal."""
    months = pick(rng, (60, 120, 240))
    principal, rate = span(rng, 60, 360, 12) * 100 * MAN, pick(rng, RATES)
    part, interest = Decimal(principal) / months, principal * rate / 1200
    answer = Figure(part + interest, "원")
    question = (
        f"대출금 {won(principal)}, 연 {percent(rate)}, {months}개월 원금균등상환이면 첫 달에 갚을 금액은 얼마인가요?"
    )
    reply = (
        f"매달 갚는 원금은 {won(principal)} ÷ {months} = {Figure(part, '원').text}입니다. "
        f"첫 달 이자 {Figure(interest, '원').text:을} 더하면 {answer.result}."
    )
    return problem("원금균등상환", question, reply, answer, Figure(part, "원"))


def annuity(rng: Random) -> Problem:
    """Return a question on the level payment of a loan: P i (1+i)^n / ((1+i)^n - 1)."""
    months, rate = pick(rng, (12, 24, 36, 60)), pick(rng, RATES)
    principal = span(rng, 10, 90, 5) * 100 * MAN
    monthly = rate / 1200
    growth = (1 + monthly) ** months
    answer = Figure(principal * monthly * growth / (growth - 1), "원")
    question = f"{won(principal):을} 연 {percent(rate)}, {months}개월 원리금균등상환으로 빌리면 매달 얼마를 갚나요?"
    reply = (
        f"월이율 i = {percent(rate)} ÷ 12, 횟수 n = {months}일 때 매달 갚는 돈은 원금 × i(1+i)^n ÷ "
        "((1+i)^n − 1)입니다. "
        f"계산하면 매달 {answer.result}."
    )
    return problem("원리금균등상환", question, reply, answer, Figure(Decimal(principal) / months, "원"))


def bullet_interest(rng: Random) -> Problem:
    """Return a question on the monthly interest of a loan repaid at maturity."""
    principal, rate = span(rng, 1_000, 30_000, 500) * MAN, pick(rng, RATES)
    answer = Figure(principal * rate / 1200, "원")
    question = pick(
        rng,
        (
            f"만기일시상환 대출 {won(principal)}의 금리가 연 {percent(rate)}입니다. 한 달 이자는 얼마인가요?",
            f"연 {percent(rate)}로 {won(principal):을} 빌리고 이자만 낸다면 매달 얼마를 내나요?",
        ),
    )
    reply = f"한 달 이자는 대출금 × 연이율 ÷ 12입니다. {won(principal)} × {percent(rate)} ÷ 12 = {answer.result}."
    return problem("만기일시 이자", question, reply, answer, Figure(principal * rate / 100, "원"))


def prepayment_fee(rng: Random) -> Problem:
    """Return a question on an early repayment fee, pro rata over the days left of three years."""
    repaid, fee = span(rng, 1_000, 20_000, 500) * MAN, pick(rng, tuple(map(Decimal, ("0.5", "0.6", "0.7", "1.2"))))
    left = pick(rng, (219, 365, 438, 730))
    answer = Figure(repaid * fee / 100 * left / 1095, "원")
    question = (
        f"중도상환수수료율이 {percent(fee)}이고 3년(1,095일) 중 {left}일이 남았습니다. "
        f"{won(repaid):을} 미리 갚으면 수수료는 얼마인가요?"
    )
    reply = (
        f"수수료는 상환액 × 수수료율 × 잔여일수 ÷ 전체일수입니다. "
        f"{won(repaid)} × {percent(fee)} × {left}/1,095 = {answer.result}."
    )
    return problem("중도상환수수료", question, reply, answer, Figure(repaid * fee / 100, "원"))


def rate_rise(rng: Random) -> Problem:
    """Return a question on the extra yearly interest when a rate rises by some basis points."""
    principal, points = span(rng, 5_000, 50_000, 1_000) * MAN, pick(rng, (15, 20, 25, 50, 75, 100))
    answer = Figure(Decimal(principal * points) / MAN, "원")
    question = pick(
        rng,
        (
            f"변동금리 대출 잔액이 {won(principal)}입니다. 금리가 {points}bp 오르면 연간 이자는 얼마나 늘어나나요?",
            f"대출 {won(principal)}의 금리가 {points}bp 인상될 때 1년 이자 증가액을 구해 주세요.",
        ),
    )
    rise = percent(Decimal(points) / 100)
    reply = f"{points}bp는 {rise}p입니다. {won(principal)} × {rise} = {answer.result}."
    return problem("bp와 이자", question, reply, answer, Figure(Decimal(principal * points) / 1000, "원"))


def loan_deposit_spread(rng: Random) -> Problem:
    """Return a question on the gap between a lending and a deposit rate, in percentage points."""
    deposit = Decimal(span(rng, 205, 340, 3)) / 100
    loan = deposit + Decimal(span(rng, 110, 240, 7)) / 100
    answer = Figure(loan - deposit, "%p")
    question = pick(
        rng,
        (
            f"평균 대출금리가 연 {percent(loan)}, 평균 수신금리가 연 {percent(deposit)}인 은행의 예대금리차는 얼마인가요?",  # noqa: E501
            f"대출금리 {percent(loan)}, 수신금리 {percent(deposit)}일 때 예대마진을 %p로 구해 주세요.",
        ),
    )
    reply = f"예대금리차는 대출금리에서 수신금리를 뺀 값입니다. {percent(loan)} − {percent(deposit)} = {answer.result}."
    return problem("예대금리차", question, reply, answer, Figure(loan + deposit, "%p"))


def basis_points(rng: Random) -> Problem:
    """Return a question turning a change of rate into basis points."""
    start, change = Decimal(span(rng, 200, 420, 5)) / 100, span(rng, 5, 95, 5)
    end = start + Decimal(change) / 100
    answer = Figure(Decimal(change), "bp")
    question = pick(
        rng,
        (
            f"국고채 3년물 금리가 {percent(start)}에서 {percent(end)}로 올랐습니다. 몇 bp 상승했나요?",
            f"회사채 금리가 {percent(start)}에서 {percent(end)}로 바뀌었다면 상승 폭은 몇 bp인가요?",
        ),
    )
    reply = (
        f"1bp는 0.01%p입니다. {percent(end)} − {percent(start)} = {percent(Decimal(change) / 100)}p이므로 "
        f"{answer.result}."
    )
    return problem("bp 환산", question, reply, answer, Figure(Decimal(change) / 10, "bp"))


INTEREST = (
    simple_interest,
    after_tax,
    compound,
    instalment_savings,
    equal_principal,
    annuity,
    bullet_interest,
    prepayment_fee,
    rate_rise,
    loan_deposit_spread,
    basis_points,
)
