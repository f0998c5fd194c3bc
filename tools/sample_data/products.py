"""Invented products and results: for each family a document, questions on its facts, and a comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from sample_data.interest import MAN
from sample_data.korean import Word, percent, pick, span, won
from sample_data.ratios import EOK

Facts = dict[str, Word]


@dataclass(frozen=True)
class Fact:
    """One question on one document, its answer ({a} = citation) and the answer in English; keys are Facts."""

    question: str
    answer: str
    english: str


@dataclass(frozen=True)
class Family:
    """Documents of one kind: names, a draw of facts, the text, questions, a follow-up, and what to compare."""

    names: tuple[str, ...]
    draw: Callable[[Random], Facts]
    document: str
    facts: tuple[Fact, ...]
    follow_up: Fact
    compared: str
    compare_question: str
    compare_end: str


def _percent(rng: Random, low: int, high: int, step: int) -> Word:
    return percent(Decimal(span(rng, low, high, step)) / 100)


def _deposit(rng: Random) -> Facts:
    base, extra = Decimal(span(rng, 210, 330, 5)) / 100, Decimal(span(rng, 20, 80, 10)) / 100
    return {
        "months": Word(pick(rng, (6, 12, 18, 24, 36))),
        "base": percent(base),
        "extra": percent(extra),
        "best": percent(base + extra),
        "limit": won(span(rng, 1_000, 9_000, 1_000) * MAN),
    }


def _loan(rng: Random) -> Facts:
    index = pick(rng, ("CD금리", "코픽스", "금융채 6개월 금리"))
    return {
        "limit": won(span(rng, 3_000, 20_000, 1_000) * MAN),
        "index": Word(index),
        "spread": _percent(rng, 110, 290, 5),
        "fee": _percent(rng, 40, 120, 10),
    }


def _fund(rng: Random) -> Facts:
    return {
        "grade": Word(pick(rng, (1, 2, 3, 4, 5))),
        "cost": _percent(rng, 15, 160, 5),
        "days": Word(pick(rng, (3, 4, 5, 8))),
        "share": Word(f"{span(rng, 20, 95, 5)}%"),
    }


def _earnings(rng: Random) -> Facts:
    reason, english = pick(
        rng,
        (
            ("원재료 가격이 내려", "lower raw material prices"),
            ("수출이 늘어", "higher exports"),
            ("판매단가가 올라", "higher selling prices"),
            ("고정비를 줄여", "lower fixed costs"),
            ("환율이 올라", "a weaker won"),
            ("신규 수주가 늘어", "new orders"),
        ),
    )
    return {
        "sales": won(span(rng, 900, 4_800, 20) * EOK),
        "profit": won(span(rng, 60, 480, 4) * EOK),
        "growth": Word(f"{span(rng, 3, 38)}%"),
        "reason": Word(reason),
        "reason_en": Word(english),
    }


def _insurance(rng: Random) -> Facts:
    return {
        "daily": won(span(rng, 2, 9) * MAN),
        "wait": Word(pick(rng, (30, 60, 90, 180))),
        "own": Word(f"{pick(rng, (5, 10, 15, 20, 30))}%"),
        "age": Word(span(rng, 55, 80, 5)),
    }


def _card(rng: Random) -> Facts:
    return {
        "fee": won(span(rng, 5_000, 45_000, 1_000)),
        "back": _percent(rng, 50, 190, 5),
        "abroad": _percent(rng, 15, 120, 5),
        "monthly": won(span(rng, 20, 60, 5) * MAN),
    }


FAMILIES = (
    Family(
        ("든든예금", "새봄예금", "큰나무예금", "첫걸음예금", "햇살예금", "물결예금", "노을예금", "바다예금"),
        _deposit,
        "{name}: 만기 {months}개월, 기본금리 연 {base}, 우대금리 최고 {extra}p, 가입 한도 {limit}.",
        (
            Fact(
                "{name}의 기본금리는 얼마인가요?",
                "{name}의 기본금리는 연 {base}입니다 {a}.",
                "The base rate of this deposit is {base} per year.",
            ),
            Fact(
                "{name}의 가입 한도를 알려 주세요.",
                "{name}의 가입 한도는 {limit}입니다 {a}.",
                "You can find the maximum amount in the product notice above.",
            ),
            Fact(
                "{name}에서 우대금리를 모두 받으면 몇 %인가요?",
                "기본금리 연 {base}에 우대금리 {extra}p를 더해 최고 연 {best}입니다 {a}.",
                "Adding the base rate and the bonus rate gives {best} per year.",
            ),
        ),
        Fact(
            "그럼 {name:은} 만기가 몇 개월인가요?",
            "{name}의 만기는 {months}개월입니다 {a}.",
            "The term is {months} months.",
        ),
        "base",
        "{x:과} {y} 가운데 기본금리가 높은 상품은 무엇인가요?",
        "따라서 {w}의 기본금리가 더 높습니다.",
    ),
    Family(
        ("직장인대출", "새출발대출", "비상금대출", "사장님대출", "모아대출", "다온대출", "우리집대출", "청년대출"),
        _loan,
        "{name}: 한도 {limit}, 금리는 {index} + {spread}p, 중도상환수수료 {fee}.",
        (
            Fact(
                "{name}의 금리는 어떻게 정하나요?",
                "{name}의 금리는 {index}에 {spread}p를 더해 정합니다 {a}.",
                "The loan rate is the benchmark rate plus a spread of {spread}p.",
            ),
            Fact(
                "{name}의 중도상환수수료율은 얼마인가요?",
                "{name}의 중도상환수수료율은 {fee}입니다 {a}.",
                "The early repayment fee of this loan is {fee}.",
            ),
            Fact(
                "{name}의 한도는 얼마인가요?",
                "{name:은} 최대 {limit}까지 받을 수 있습니다 {a}.",
                "Please refer to the loan notice for the maximum amount you can borrow.",
            ),
        ),
        Fact(
            "{name}의 중도상환수수료도 알려 주세요.",
            "{name}의 중도상환수수료는 {fee}입니다 {a}.",
            "The early repayment fee is {fee}.",
        ),
        "fee",
        "{x:과} {y} 중 중도상환수수료율이 높은 대출은 무엇인가요?",
        "따라서 {w}의 수수료율이 더 높습니다.",
    ),
    Family(
        (
            "가람국채펀드",
            "누리배당펀드",
            "다솜성장펀드",
            "라온글로벌펀드",
            "마루혼합펀드",
            "보람인덱스펀드",
            "온새미채권펀드",
        ),
        _fund,
        "{name}: 위험등급 {grade}등급, 총보수 연 {cost}, 환매대금은 제{days}영업일 지급, 해외자산 비중 {share}.",
        (
            Fact(
                "{name}의 총보수는 얼마인가요?",
                "{name}의 총보수는 연 {cost}입니다 {a}.",
                "The total expense ratio of the fund is {cost} per year.",
            ),
            Fact(
                "{name:을} 환매하면 대금은 언제 받나요?",
                "환매대금은 제{days}영업일에 받습니다 {a}.",
                "The redemption money is paid on business day {days}.",
            ),
            Fact(
                "{name}의 위험등급은 몇 등급인가요?",
                "{name}의 위험등급은 {grade}등급입니다 {a}.",
                "The risk grade of this fund is {grade}.",
            ),
        ),
        Fact(
            "{name}의 해외자산 비중은 얼마인가요?",
            "{name}의 해외자산 비중은 {share}입니다 {a}.",
            "Overseas assets make up {share} of the fund.",
        ),
        "cost",
        "{x:과} {y} 가운데 총보수가 비싼 펀드는 무엇인가요?",
        "따라서 {w}의 총보수가 더 비쌉니다.",
    ),
    Family(
        ("한빛전자", "가온건설", "다솜식품", "마루물산", "바른물류", "해든철강", "푸른해운", "온새미통신"),
        _earnings,
        "{name} 2분기: 매출액 {sales}, 영업이익 {profit}. {reason} 영업이익이 {growth} 증가.",
        (
            Fact(
                "{name}의 2분기 영업이익은 얼마인가요?",
                "{name}의 2분기 영업이익은 {profit}입니다 {a}.",
                "Operating profit for the second quarter is stated in the earnings release.",
            ),
            Fact(
                "{name}의 영업이익이 늘어난 이유는 무엇인가요?",
                "{reason} 영업이익이 {growth} 늘었습니다 {a}.",
                "Operating profit rose {growth} because of {reason_en}.",
            ),
            Fact(
                "{name}의 2분기 매출액을 알려 주세요.",
                "{name}의 2분기 매출액은 {sales}입니다 {a}.",
                "Sales for the second quarter are stated in the earnings release.",
            ),
        ),
        Fact(
            "{name}의 영업이익 증가율은 얼마인가요?",
            "{name}의 영업이익은 {growth} 늘었습니다 {a}.",
            "Operating profit grew by {growth}.",
        ),
        "growth",
        "{x:과} {y} 중 영업이익이 더 많이 늘어난 곳은 어디인가요?",
        "따라서 {w}의 증가율이 더 높습니다.",
    ),
    Family(
        ("튼튼건강보험", "안심입원보험", "온가족보험", "실버케어보험", "늘봄상해보험", "다정보험", "참좋은암보험"),
        _insurance,
        "{name}: 입원 하루당 {daily} 지급, 가입 {wait}일 뒤부터 보장, 자기부담률 {own}, {age}세까지 가입.",
        (
            Fact(
                "{name:은} 입원하면 하루에 얼마를 주나요?",
                "{name:은} 입원 하루당 {daily:을} 지급합니다 {a}.",
                "The policy pays a fixed amount for each day you stay in the hospital.",
            ),
            Fact(
                "{name}의 보장은 언제 시작되나요?",
                "{name}의 보장은 가입 {wait}일 뒤부터 시작됩니다 {a}.",
                "Coverage begins {wait} days after you sign up.",
            ),
            Fact(
                "{name:은} 몇 세까지 가입할 수 있나요?",
                "{name:은} {age}세까지 가입할 수 있습니다 {a}.",
                "You can sign up until the age of {age}.",
            ),
        ),
        Fact(
            "{name}의 자기부담률도 알려 주세요.",
            "{name}의 자기부담률은 {own}입니다 {a}.",
            "The deductible rate is {own}.",
        ),
        "own",
        "{x:과} {y} 가운데 자기부담률이 높은 상품은 무엇인가요?",
        "따라서 {w}의 자기부담률이 더 높습니다.",
    ),
    Family(
        ("하늘카드", "여행카드", "출근카드", "장보기카드", "모두카드", "한울플러스", "초록카드", "별빛카드"),
        _card,
        "{name}: 연회비 {fee}, 국내 이용액의 {back} 적립, 해외 이용 수수료 {abroad}, 전월 실적 {monthly} 이상.",
        (
            Fact(
                "{name}의 연회비는 얼마인가요?",
                "{name}의 연회비는 {fee}입니다 {a}.",
                "The annual fee of this card is listed in the notice.",
            ),
            Fact(
                "{name}의 국내 적립률은 얼마인가요?",
                "{name:은} 국내 이용액의 {back:을} 적립합니다 {a}.",
                "The card gives back {back} of domestic spending as points.",
            ),
            Fact(
                "{name:을} 해외에서 쓰면 수수료가 얼마인가요?",
                "{name}의 해외 이용 수수료는 {abroad}입니다 {a}.",
                "The overseas transaction fee is {abroad}.",
            ),
        ),
        Fact(
            "{name:은} 전월 실적이 얼마여야 하나요?",
            "{name:은} 전월 실적이 {monthly} 이상이어야 합니다 {a}.",
            "You must meet the minimum spending of the previous month.",
        ),
        "back",
        "{x:과} {y} 중 국내 적립률이 높은 카드는 무엇인가요?",
        "따라서 {w}의 적립률이 더 높습니다.",
    ),
)
