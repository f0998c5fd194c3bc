"""Numeric benchmark questions on the results and balance sheets of invented firms."""

from __future__ import annotations

from decimal import Decimal
from random import Random

from sample_data.benchmark_item import FIRMS, Item, grid, near, rounding
from sample_data.korean import Word, pick, shuffled, span

TENTH, HUNDREDTH = Decimal("0.1"), Decimal("0.01")


def growth(rng: Random) -> Item:
    """Return a question on the growth of a line over the year before."""
    first, firm = span(rng, 2020, 2023), pick(rng, FIRMS)
    columns: list[tuple[int, int, int]] = []
    sales = span(rng, 2_000, 9_000, 10)
    for _ in range(3):
        profit = sales * span(rng, 4, 13) // 100
        columns.append((sales, profit, profit * span(rng, 58, 86) // 100))
        sales = sales * pick(rng, (79, 86, 92, 97, 103, 108, 114, 121, 133)) // 100
    names = ("매출", "영업이익", "당기순이익")
    header = ("구분(억원)", *(f"{first + index}년" for index in range(3)))
    table = grid(header, [(name, *(column[line] for column in columns)) for line, name in enumerate(names)])
    line, later = pick(rng, (0, 1, 2)), pick(rng, (1, 2))
    old, new, name, year = columns[later - 1][line], columns[later][line], Word(names[line]), first + later
    question = pick(
        rng,
        (
            f"{firm}의 {year}년 {name:은} 한 해 전보다 몇 % 변했나요? 줄었으면 음수로 쓰고 {rounding(rng, 1)}",
            f"{firm}의 {name:이} {year - 1}년에서 {year}년 사이 몇 % 늘거나 줄었는지 구하세요. "
            f"감소는 음수로 적고 {rounding(rng, 1)}",
        ),
    )
    return Item("증감률", table, question, Decimal(new - old) * 100 / old, "%", TENTH)


def return_on_equity(rng: Random) -> Item:
    """Return a question on ROE, negative for a firm with a loss."""
    names = shuffled(rng, FIRMS)[:3]
    rows = [(name, span(rng, 1_250, 8_900, 50), span(rng, -330, 990, 12)) for name in names]
    firm, equity, net = pick(rng, rows)
    table = grid(("회사", "자본총계(억원)", "당기순손익(억원)"), rows)
    question = pick(
        rng,
        (
            f"당기순손익을 자본총계로 나누어 {firm}의 ROE를 구하면 몇 %인가요? 손실이면 음수로 쓰고 {rounding(rng, 1)}",
            f"{firm}의 ROE(당기순손익 ÷ 자본총계)는 몇 %인가요? 순손실이면 음수로 적고 {rounding(rng, 1)}",
        ),
    )
    return Item("ROE", table, question, Decimal(net) * 100 / equity, "%", TENTH)


def debt_ratio(rng: Random) -> Item:
    """Return a question on the debt ratio where equity is assets less liabilities."""
    rows = []
    for name in shuffled(rng, FIRMS)[: pick(rng, (2, 3, 4))]:
        assets = span(rng, 2_400, 18_000, 40)
        rows.append((name, assets, assets * span(rng, 27, 76) // 100))
    firm, assets, debt = pick(rng, rows)
    table = grid(("회사", "자산총계(억원)", "부채총계(억원)"), rows)
    question = pick(
        rng,
        (
            f"{firm}의 부채비율(부채총계 ÷ 자본총계)은 몇 %인가요? 자본총계는 자산에서 부채를 뺀 값입니다. "
            f"{rounding(rng, 1)}",
            f"자본총계가 자산총계 − 부채총계일 때 {firm}의 자본 대비 부채비율을 %로 구하세요. {rounding(rng, 1)}",
        ),
    )
    return Item("부채비율", table, question, Decimal(debt) * 100 / (assets - debt), "%", TENTH)


def operating_margin(rng: Random) -> Item:
    """Return a question on the operating margin of a division after costs and expenses."""
    rows = []
    for name in shuffled(rng, ("전장", "가전", "의료기기", "배터리", "로봇", "콘텐츠"))[: pick(rng, (2, 3, 4))]:
        sales = span(rng, 24_000, 186_000, 200)
        cost = sales * span(rng, 61, 84) // 100
        rows.append((f"{name} 사업부", sales, cost, sales * span(rng, 9, 23) // 100))
    name, sales, cost, expenses = pick(rng, rows)
    table = grid(("사업부", "매출(백만원)", "매출원가(백만원)", "판매관리비(백만원)"), rows)
    question = pick(
        rng,
        (
            f"{name}의 영업이익률은 몇 %인가요? 영업손실이면 음수로 쓰고 {rounding(rng, 1)}",
            f"매출원가와 판매관리비를 뺀 영업이익이 매출에서 차지하는 비율은 {name}의 경우 몇 %인가요? "
            f"손실은 음수로 적고 {rounding(rng, 1)}",
        ),
    )
    return Item("영업이익률", table, question, Decimal(sales - cost - expenses) * 100 / sales, "%", TENTH)


def coverage(rng: Random) -> Item:
    """Return a question on how often operating profit covers interest."""
    first = span(rng, 2020, 2023)
    base, owed = span(rng, 84, 960, 4), span(rng, 60, 280, 5)
    rows = [(f"{first + index}년", near(rng, base, 45), near(rng, owed, 20)) for index in range(3)]
    year, profit, interest = pick(rng, rows)
    question = pick(
        rng,
        (
            f"{pick(rng, FIRMS)}의 {year} 영업이익은 이자비용의 몇 배인가요? {rounding(rng, 1)}",
            f"{year}의 이자보상배율은 몇 배로 계산되나요? {rounding(rng, 1)}",
        ),
    )
    table = grid(("연도", "영업이익(억원)", "이자비용(억원)"), rows)
    return Item("이자보상배율", table, question, Decimal(profit) / interest, "배", TENTH)


def turnover(rng: Random) -> Item:
    """Return a question on receivables turnover over the average of two balances."""
    rows = []
    for name in shuffled(rng, FIRMS)[: pick(rng, (2, 3))]:
        owed = span(rng, 320, 1_150, 10)
        rows.append((name, span(rng, 2_100, 9_800, 20), owed, near(rng, owed, 28, 10)))
    firm, sales, opening, closing = pick(rng, rows)
    question = pick(
        rng,
        (
            f"{firm}의 매출채권회전율은 몇 회인가요? 매출채권은 기초와 기말의 평균을 쓰고 {rounding(rng, 2)}",
            f"매출을 기초·기말 평균 매출채권으로 나눈 {firm}의 회전율은 몇 회인가요? {rounding(rng, 2)}",
        ),
    )
    table = grid(("회사", "매출(억원)", "기초 매출채권(억원)", "기말 매출채권(억원)"), rows)
    return Item("매출채권회전율", table, question, Decimal(sales * 2) / (opening + closing), "회", HUNDREDTH)


def collection_days(rng: Random) -> Item:
    """Return a question on the days until receivables are collected, in a year of 365 days."""
    rows = [
        (name, span(rng, 2_100, 9_800, 20), span(rng, 180, 1_900, 10))
        for name in shuffled(rng, FIRMS)[: pick(rng, (3, 4))]
    ]
    firm, sales, owed = pick(rng, rows)
    question = pick(
        rng,
        (
            f"1년을 365일로 볼 때 {firm}의 매출채권 회수에는 평균 며칠이 걸리나요? 소수점 이하는 반올림하세요.",
            f"{firm}의 매출채권 회수기간(365일 × 평균 매출채권 ÷ 매출)은 며칠인가요? 정수로 반올림해 답하세요.",
        ),
    )
    table = grid(("회사", "매출(억원)", "평균 매출채권(억원)"), rows)
    return Item("회수기간", table, question, Decimal(365 * owed) / sales, "일")


STATEMENTS = (
    growth,
    return_on_equity,
    debt_ratio,
    operating_margin,
    coverage,
    turnover,
    collection_days,
)
