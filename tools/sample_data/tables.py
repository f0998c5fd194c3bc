"""Table reading: small markdown tables with invented numbers and questions answered from their cells."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random

from sample_data.interest import EOK, MAN
from sample_data.korean import Figure, Problem, Word, percent, pick, plain, problem, shuffled, span, won
from sample_data.ratios import BANKS, FIRMS, INSURERS

Cells = list[tuple[str, ...]]


def markdown(header: tuple[str, ...], rows: Cells) -> str:
    """Return a markdown table: the first column is text, the others are numbers aligned to the right."""
    rule = "|---|" + "---:|" * (len(header) - 1)
    return "\n".join(("| " + " | ".join(header) + " |", rule, *("| " + " | ".join(row) + " |" for row in rows)))


def _draw(rng: Random, names: tuple[str, ...], count: int, *limits: tuple[int, int, int]) -> dict[str, list[int]]:
    """Return count names with one number per limit; no number occurs twice in a column, so a maximum is unique."""
    chosen = sorted(shuffled(rng, names)[:count], key=names.index)
    columns = [shuffled(rng, range(low, high + 1, step))[:count] for low, high, step in limits]
    return {name: [column[index] for column in columns] for index, name in enumerate(chosen)}


def _ask(
    topic: str,
    lead: str,
    header: tuple[str, ...],
    numbers: dict[str, list[int]],
    question: str,
    reply: str,
    answer: Figure,
    wrong: Figure,
) -> Problem:
    table = markdown(header, [(name, *(f"{cell:,}" for cell in cells)) for name, cells in numbers.items()])
    return problem(topic, f"{lead}\n\n{table}\n\n{question}", reply, answer, wrong)


def _sum(cells: list[int]) -> tuple[str, Figure, Figure]:
    """Return the reply, the answer and a wrong answer for the sum of cells in 억원."""
    answer = Figure(Decimal(sum(cells) * EOK), "원")
    return (
        f"{' + '.join(f'{cell:,}' for cell in cells)} = {answer.result}.",
        answer,
        Figure(Decimal(sum(cells[:-1]) * EOK), "원"),
    )


def _top(
    topic: str, lead: str, header: tuple[str, ...], numbers: dict[str, list[int]], column: int, unit: str
) -> Problem:
    """Return the question which row has the largest number in a column."""
    ranked = sorted(numbers, key=lambda name: -numbers[name][column])
    table = markdown(header, [(name, *(f"{cell:,}" for cell in cells)) for name, cells in numbers.items()])
    label = Word(header[column + 1])
    question = f"{label:이} 가장 큰 곳은 어디인가요?"
    reply = f"{{answer}}입니다. {Word(label):이} {numbers[ranked[0]][column]:,}{unit}으로 표에서 가장 큽니다."
    return Problem(topic, f"{lead}\n\n{table}\n\n{question}", reply, ranked[0], ranked[1], "")


def years(rng: Random) -> Problem:
    """Return a question on three years of sales and operating profit."""
    first, sales = pick(rng, (2021, 2022, 2023)), span(rng, 600, 2_000, 20)
    labels = tuple(f"{first + index}년" for index in range(3))
    numbers: dict[str, list[int]] = {}
    for label in labels:
        numbers[label] = [sales, sales * span(rng, 4, 14) // 100]
        sales += pick(rng, (-140, -80, 60, 120, 180, 240, 300))
    lead, header = f"다음은 {pick(rng, FIRMS)}의 실적입니다(단위: 억원).", ("연도", "매출액", "영업이익")
    which = pick(rng, (0, 1, 2))
    year, old = labels[1 + which % 2], numbers[labels[which % 2]][0]
    now, profit = numbers[year]
    if which == 0:
        answer, wrong = Figure(Decimal(now - old) * 100 / old, "%"), Figure(Decimal(now - old) * 100 / now, "%")
        reply = f"전년 매출액은 {old:,}억원입니다. ({now:,} − {old:,}) ÷ {old:,} × 100 = {answer.result}."
        question = f"{year} 매출액의 전년 대비 증감률은 몇 %인가요?"
        return _ask("증감률", lead, header, numbers, question, reply, answer, wrong)
    if which == 1:
        answer, wrong = Figure(Decimal(profit) * 100 / now, "%"), Figure(Decimal(profit) * 100 / old, "%")
        reply = f"{year} 영업이익 {profit:,}억원을 매출액 {now:,}억원으로 나누면 {answer.result}."
        return _ask("이익률", lead, header, numbers, f"{year} 영업이익률을 구해 주세요.", reply, answer, wrong)
    cells = [row[1] for row in numbers.values()]
    return _ask("합계", lead, header, numbers, "3년간 영업이익 합계는 얼마인가요?", *_sum(cells))


def branches(rng: Random) -> Problem:
    """Return a question on deposits and loans of branches."""
    names = ("본점", "강남지점", "여의도지점", "부산지점", "대전지점", "광주지점", "수원지점")
    numbers = _draw(rng, names, pick(rng, (3, 4)), (800, 3600, 100), (700, 3200, 100))
    lead = f"{pick(rng, BANKS)} 영업점의 잔액입니다(단위: 억원)."
    header, which = ("영업점", "예수금", "대출금"), pick(rng, (0, 1, 2))
    if which == 0:
        return _top("최댓값", lead, header, numbers, pick(rng, (0, 1)), "억원")
    if which == 1:
        cells = [row[0] for row in numbers.values()]
        return _ask("합계", lead, header, numbers, "예수금 합계는 얼마인가요?", *_sum(cells))
    name = pick(rng, tuple(numbers))
    deposit, loan = numbers[name]
    answer, wrong = Figure(Decimal(loan) * 100 / deposit, "%"), Figure(Decimal(deposit) * 100 / loan, "%")
    reply = f"예대율은 대출금을 예수금으로 나눈 값입니다. {loan:,} ÷ {deposit:,} × 100 = {answer.result}."
    return _ask("예대율", lead, header, numbers, f"{name}의 예대율은 얼마인가요?", reply, answer, wrong)


def deposits(rng: Random) -> Problem:
    """Return a question on the interest of one of several deposits."""
    names = ("든든정기예금", "새봄예금", "이음예금", "큰나무예금", "첫걸음예금")
    numbers = _draw(rng, names, 3, (240, 380, 5))
    rows: Cells = [(name, percent(Decimal(cells[0]) / 100)) for name, cells in numbers.items()]
    table = markdown(("상품(1년 만기)", "연 금리"), rows)
    by_rate = sorted(numbers, key=lambda key: numbers[key][0])
    best, principal = pick(rng, (True, False)), span(rng, 500, 8_000, 500) * MAN
    name = by_rate[-1] if best else pick(rng, by_rate)
    rate, other = (Decimal(numbers[key][0]) / 100 for key in (name, by_rate[0] if name != by_rate[0] else by_rate[1]))
    asked = "금리가 가장 높은 예금" if best else name
    known = (
        f"금리가 가장 높은 상품은 연 {percent(rate)}인 {name}입니다"
        if best
        else f"{name}의 금리는 연 {percent(rate)}입니다"
    )
    question = f"{asked}에 {won(principal):을} 1년 맡기면 세전 이자는 얼마인가요?"
    answer = Figure(principal * rate / 100, "원")
    return problem(
        "예금 이자",
        f"{pick(rng, BANKS)}의 예금 금리표입니다.\n\n{table}\n\n{question}",
        f"{known}. {won(principal)} × {percent(rate)} = {answer.result}.",
        answer,
        Figure(principal * other / 100, "원"),
    )


def currencies(rng: Random) -> Problem:
    """Return a question on cash exchange rates."""
    lists = (
        ("미국 USD", 13_300, 14_300),
        ("유로 EUR", 14_500, 15_600),
        ("호주 AUD", 8_800, 9_400),
        ("캐나다 CAD", 9_700, 10_300),
    )
    rates = {}
    for name, low, high in shuffled(rng, lists)[:3]:
        middle = Decimal(span(rng, low, high, 10)) / 10
        gap = (middle * Decimal("0.0175")).quantize(Decimal("0.01"))
        rates[name] = (middle + gap, middle - gap)
    table = markdown(
        ("통화", "현찰 살 때", "현찰 팔 때"), [(name, plain(buy), plain(sell)) for name, (buy, sell) in rates.items()]
    )
    name = pick(rng, tuple(rates))
    buy, sell = rates[name]
    code, amount = Word(name.split()[1]), span(rng, 200, 3_000, 100)
    if pick(rng, (True, False)):
        question, rate, other = f"{amount:,} {code:을} 현찰로 사려면 원화로 얼마가 필요한가요?", buy, sell
        label = "현찰 살 때"
    else:
        question, rate, other = f"현찰 {amount:,} {code:을} 팔면 원화로 얼마를 받나요?", sell, buy
        label = "현찰 팔 때"
    answer = Figure(rate * amount, "원")
    reply = f"'{label}' 환율 {plain(rate)}원을 씁니다. {plain(rate)} × {amount:,} = {answer.result}."
    return problem(
        "환전", f"오늘의 환율표입니다(단위: 원).\n\n{table}\n\n{question}", reply, answer, Figure(other * amount, "원")
    )


def funds(rng: Random) -> Problem:
    """Return a question on fund returns against their benchmarks."""
    names = ("가람가치주", "누리성장주", "다온배당주", "라온중소형주", "마루인덱스")
    numbers = {
        name: [Decimal(cell) / 10 for cell in cells]
        for name, cells in _draw(rng, names, 3, (20, 160, 3), (20, 140, 4)).items()
    }
    table = markdown(
        ("펀드", "1년 수익률(%)", "벤치마크(%)"),
        [(name, *(plain(cell) for cell in cells)) for name, cells in numbers.items()],
    )
    lead = "펀드 운용 성과입니다."
    best = sorted(numbers, key=lambda key: numbers[key][0])
    if pick(rng, (True, False)):
        answer, wrong = (Figure(numbers[best[-1]][0] - numbers[name][0], "%p") for name in (best[0], best[1]))
        question = "1년 수익률이 가장 높은 펀드와 가장 낮은 펀드의 차이는 몇 %p인가요?"
        reply = (
            f"최고는 {best[-1]} {percent(numbers[best[-1]][0])}, 최저는 {best[0]} "
            f"{percent(numbers[best[0]][0])}입니다. 차이는 {answer.result}."
        )
    else:
        name = pick(rng, tuple(numbers))
        earned, mark = numbers[name]
        answer, wrong = Figure(earned - mark, "%p"), Figure(earned + mark, "%p")
        question = f"{name} 펀드의 벤치마크 대비 초과수익률은 몇 %p인가요?"
        reply = f"초과수익률은 수익률에서 벤치마크를 뺀 값입니다. {plain(earned)} − {plain(mark)} = {answer.result}."
    return problem("펀드", f"{lead}\n\n{table}\n\n{question}", reply, answer, wrong)


def balance_sheet(rng: Random) -> Problem:
    """Return a question on a ratio of a small balance sheet."""
    short, long, equity = span(rng, 160, 400, 20), span(rng, 100, 400, 20), span(rng, 300, 900, 20)
    total = short + long + equity
    current = total * span(rng, 30, 60, 5) // 2000 * 20
    numbers = {
        "유동자산": [current],
        "비유동자산": [total - current],
        "유동부채": [short],
        "비유동부채": [long],
        "자기자본": [equity],
    }
    lead, header = f"{pick(rng, FIRMS)}의 요약 재무상태표입니다(단위: 억원).", ("계정", "금액")
    if pick(rng, (True, False)):
        answer, wrong = Figure(Decimal(current) * 100 / short, "%"), Figure(Decimal(short) * 100 / current, "%")
        reply = f"유동비율은 유동자산을 유동부채로 나눈 값입니다. {current:,} ÷ {short:,} × 100 = {answer.result}."
        return _ask("유동비율", lead, header, numbers, "유동비율은 몇 %인가요?", reply, answer, wrong)
    debt = short + long
    answer, wrong = Figure(Decimal(debt) * 100 / equity, "%"), Figure(Decimal(short) * 100 / equity, "%")
    reply = (
        f"부채총계는 {short:,} + {long:,} = {debt:,}억원입니다. "
        f"이를 자기자본 {equity:,}억원으로 나누면 {answer.result}."
    )
    return _ask("부채비율", lead, header, numbers, "부채비율은 몇 %인가요?", reply, answer, wrong)


def portfolio(rng: Random) -> Problem:
    """Return a question on the weighted return of three assets."""
    first, second = span(rng, 20, 50, 10), span(rng, 20, 40, 10)
    weights = (first, second, 100 - first - second)
    # Low and high yearly return in tenths of a percent, so that no bond beats a share by far.
    assets = pick(
        rng,
        (
            (("국내주식", 40, 120), ("해외주식", 50, 130), ("채권", 22, 45)),
            (("주식", 40, 120), ("채권", 22, 45), ("대체투자", 35, 80)),
            (("국내채권", 22, 42), ("해외채권", 26, 50), ("현금성자산", 18, 30)),
        ),
    )
    returns = [Decimal(span(rng, low, high)) / 10 for _, low, high in assets]
    held = list(zip(weights, returns, strict=True))
    table = markdown(
        ("자산", "비중(%)", "수익률(%)"),
        [(name, str(w), plain(r)) for (name, _, _), (w, r) in zip(assets, held, strict=True)],
    )
    answer = Figure(sum((w * r for w, r in held), Decimal(0)) / 100, "%")
    reply = f"비중을 곱해 더합니다. {' + '.join(f'{w}% × {percent(r)}' for w, r in held)} = {answer.result}."
    return problem(
        "가중평균",
        f"포트폴리오 구성입니다.\n\n{table}\n\n전체 수익률은 얼마인가요?",
        reply,
        answer,
        Figure(sum(returns, Decimal(0)) / 3, "%"),
    )


def arrears(rng: Random) -> Problem:
    """Return a question on the arrears ratio of a loan book."""
    names = ("대기업", "중소기업", "가계", "신용카드")
    numbers = _draw(rng, names, 3, (20_000, 90_000, 5_000), (100, 900, 20))
    lead, header = f"{pick(rng, BANKS)}의 부문별 대출입니다(단위: 억원).", ("부문", "대출잔액", "연체액")
    name = pick(rng, tuple(numbers))
    book, late = numbers[name]
    total_book, total_late = (sum(cells[index] for cells in numbers.values()) for index in (0, 1))
    part, whole = Figure(Decimal(late) * 100 / book, "%"), Figure(Decimal(total_late) * 100 / total_book, "%")
    if pick(rng, (True, False)):
        reply = f"{name} 연체액 {won(late * EOK):을} 대출잔액 {won(book * EOK):으로} 나누면 {part.result}."
        return _ask("연체율", lead, header, numbers, f"{name} 부문의 연체율은 얼마인가요?", reply, part, whole)
    reply = f"연체액 합계 {won(total_late * EOK):을} 대출잔액 합계 {won(total_book * EOK):으로} 나누면 {whole.result}."
    return _ask("전체 연체율", lead, header, numbers, "전체 연체율은 얼마인가요?", reply, whole, part)


def insurance(rng: Random) -> Problem:
    """Return a question on the loss ratio of insurance lines."""
    names = ("자동차보험", "장기보험", "화재보험", "상해보험")
    numbers = {
        name: [premium, premium * ratio // 100]
        for name, (premium, ratio) in _draw(rng, names, 3, (400, 2_000, 50), (58, 112, 1)).items()
    }
    lead, header = f"{pick(rng, INSURERS)}의 종목별 실적입니다(단위: 억원).", ("종목", "경과보험료", "발생손해액")
    if pick(rng, (True, False)):
        name = pick(rng, tuple(numbers))
        premium, loss = numbers[name]
        answer, wrong = Figure(Decimal(loss) * 100 / premium, "%"), Figure(Decimal(premium) * 100 / loss, "%")
        reply = f"{name}의 발생손해액 {loss:,}억원을 경과보험료 {premium:,}억원으로 나누면 {answer.result}."
        return _ask("손해율", lead, header, numbers, f"{name}의 손해율은 얼마인가요?", reply, answer, wrong)
    cells = [row[0] for row in numbers.values()]
    answer, wrong = Figure(Decimal((max(cells) - min(cells)) * EOK), "원"), Figure(Decimal(max(cells) * EOK), "원")
    reply = f"최대 {max(cells):,}억원에서 최소 {min(cells):,}억원을 빼면 {answer.result}."
    question = "경과보험료가 가장 큰 종목과 가장 작은 종목의 차이는 얼마인가요?"
    return _ask("차이", lead, header, numbers, question, reply, answer, wrong)


def budgets(rng: Random) -> Problem:
    """Return a question on budget and spending of departments."""
    names = ("여신부", "수신부", "IT본부", "리스크관리부", "준법지원부", "마케팅부")
    numbers = {
        name: [budget, budget * used // 100]
        for name, (budget, used) in _draw(rng, names, 3, (4_000, 12_000, 500), (40, 95, 1)).items()
    }
    lead, header, which = "부서별 예산 집행 현황입니다(단위: 만원).", ("부서", "예산", "집행액"), pick(rng, (0, 1, 2))
    name = pick(rng, tuple(numbers))
    budget, used = numbers[name]
    if which == 0:
        return _top("최댓값", lead, header, numbers, 1, "만원")
    if which == 1:
        answer, wrong = Figure(Decimal(used) * 100 / budget, "%"), Figure(Decimal(budget - used) * 100 / budget, "%")
        reply = f"{name}는 예산 {won(budget * MAN)} 가운데 {won(used * MAN):을} 썼습니다. 집행률은 {answer.result}."
        return _ask("집행률", lead, header, numbers, f"{name}의 예산 집행률은 몇 %인가요?", reply, answer, wrong)
    answer, wrong = Figure(Decimal((budget - used) * MAN), "원"), Figure(Decimal(used * MAN), "원")
    reply = f"{name}의 남은 예산은 {budget:,} − {used:,} = {answer.result}."
    return _ask("남은 예산", lead, header, numbers, f"{name}의 남은 예산은 얼마인가요?", reply, answer, wrong)


TABLES: tuple[Callable[[Random], Problem], ...] = (
    years,
    branches,
    deposits,
    currencies,
    funds,
    balance_sheet,
    portfolio,
    arrears,
    insurance,
    budgets,
)
