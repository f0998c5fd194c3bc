"""Every spelling of a figure scores 1 and every neighbour of it 0: generated, by tables of this file's own."""

from __future__ import annotations

import random
from collections.abc import Iterator

from alphaf_orch.programs.scoring import exact_numeric

SYLLABLES = ["", "일", "이", "삼", "사", "오", "육", "칠", "팔", "구"]
GROUPS = [(10**12, "조"), (10**8, "억"), (10**4, "만"), (1, "")]
ENDS = ["입니다.", "이다.", "으로 나타났습니다.", " 정도입니다.", "", " 수준입니다."]
FALLS = [
    "{} 감소했습니다.", "{} 줄었습니다.", "{}가량"
    " 하락했습니다.", "약 {} 급감했습니다.", "{} 역성장했습니다.", "감소율은 {}입니다.",
    "{} 정도"
    " 떨어졌습니다.", "-{}입니다.", "△{}입니다.", "마이너스 {}입니다.", "{}만큼 낮아졌습니다.", "**{}** 감소했습니다.",
]  # fmt: skip
LOSSES = [
    "{}의 손실을"
    " 기록했습니다.", "{} 적자입니다.", "영업손실은 {}입니다.", "당기순손실 {}", "목표보다 {}"
    " 모자랍니다.", "{}이 부족합니다.",
    "{} 순유출입니다.", "목표에 {} 미달했습니다.", "-{}입니다.", "△{}", "적자가 {} 늘었습니다.", "{}을 잃었습니다.",
]  # fmt: skip
NO_LOSSES = [
    "적자가 {} 줄었습니다.",
    "{}의 손실을 내지 않았습니다.",
    "{} 흑자입니다.",
    "{} 증가했습니다.",
    "손실 {}을 만회했습니다.",
]
MARKS = ["{}", "**{}**", "*{}*", "`{}`", "<b>{}</b>", "정답: {}", "$\\boxed{{{}}}$", "- {}", "| 값 | {} |", "> {}"]


def spelled(number: int) -> str:
    """일억 이천삼백만, as a bank writes it out."""
    words = []
    for size, big in GROUPS:
        group = number // size % 10_000
        places = ((1000, "천"), (100, "백"), (10, "십"), (1, ""))
        word = "".join(SYLLABLES[group // p % 10] + name for p, name in places if group // p % 10)
        if group:
            words.append(word + big)
    return " ".join(words)


def grouped(number: int, comma: bool, space: bool) -> str:
    """3억 2,000만, in digits by groups of four."""
    parts = [
        (f"{number // size % 10_000:,}" if comma else f"{number // size % 10_000}") + big
        for size, big in GROUPS
        if number // size % 10_000
    ]
    return (" " if space else "").join(parts)


def won(number: int) -> Iterator[str]:
    yield f"{number:,}원"
    yield f"{number}원"
    yield f"₩{number:,}"
    yield f"{number:,} KRW"
    yield "".join(chr(ord(c) + 0xFEE0) for c in f"{number}") + "원"
    for comma in (True, False):
        for space in (True, False):
            yield grouped(number, comma, space) + " 원"
            yield grouped(number, comma, space) + "원"
    yield spelled(number) + " 원"
    for size, name in ((1000, "천원"), (10**6, "백만원"), (10**8, "억원")):
        if number % (size // 1000 or 1) == 0 and number >= size:
            amount = f"{number // size:,}" + (f".{number % size * 1000 // size:03}" if number % size else "")
            yield f"{amount}{name}"
            yield f"{amount}({name})"
            yield f"{amount} (단위: {name})"


def amounts(rng: random.Random) -> Iterator[int]:
    for _ in range(100):
        yield rng.randint(1, 9999) * 10 ** rng.randint(3, 9)


def test_every_spelling_of_an_amount_is_right_and_every_neighbour_wrong() -> None:
    rng = random.Random(20)
    wrong, tried = [], 0
    for number in amounts(rng):
        for text in won(number):
            answer = f"매출액은 {text}{rng.choice(ENDS)}"
            neighbours = [number * 10, number * 1000, number + 10 ** (len(str(number)) - 1), -number]
            neighbours += [number // 10] if number % 10 == 0 else []
            expected = [
                (number, "원", 1),
                *((other, "원", 0) for other in neighbours),
                (number, "달러", 0),
                (number, "%", 0),
            ]
            tried += len(expected)
            wrong += [(answer, *e) for e in expected if exact_numeric(answer, e[0], e[1], 0) != e[2]]
    assert tried > 5000
    assert wrong == []


def test_every_spelling_of_a_rate_is_right_and_every_neighbour_wrong() -> None:
    rng = random.Random(21)
    wrong, tried = [], 0
    for _ in range(150):
        tenths = rng.randint(1, 999)
        rate = tenths / 10
        whole = spelled(tenths // 10) or "영"
        texts = [f"{rate}%", f"{rate} %", f"{rate}퍼센트", f"{rate} 퍼센트", f"{rate}프로", f"{tenths}‰"]
        if tenths % 10:
            point = SYLLABLES[tenths % 10]
            texts += [f"{whole}점{point} 퍼센트", f"{whole}점 {point} 퍼센트", f"{whole} 점 {point}퍼센트"]
        for text in texts:
            answer = rng.choice(MARKS[:6]).format(text) + rng.choice(("", "입니다.", " 정도입니다."))
            expected = [(rate, "%", 1), (rate * 10, "%", 0), (tenths / 100, "%", 0), (-rate, "%", 0), (rate, "%p", 0)]
            tried += len(expected)
            wrong += [(answer, *e) for e in expected if exact_numeric(answer, e[0], e[1], 1e-9) != e[2]]
    assert tried > 2000
    assert wrong == []


def test_what_falls_or_is_lost_is_negative_and_what_is_made_good_is_not() -> None:
    rng = random.Random(22)
    wrong = []
    for _ in range(60):
        rate, money = rng.randint(1, 400) / 10, rng.randint(1, 9999) * 10**8
        for form in FALLS:
            answer = form.format(f"{rate}%")
            wrong += [answer] if exact_numeric(answer, -rate, "%", 1e-9) != 1 else []
            wrong += [answer] if exact_numeric(answer, -rate * 10, "%", 1e-9) != 0 else []
        for form, score in [*((form, 1) for form in LOSSES), *((form, 0) for form in NO_LOSSES)]:
            answer = form.format(grouped(money, True, True) + " 원")
            wrong += [answer] if exact_numeric(answer, -money, "원", 0) != score else []
    assert wrong == []


def test_marks_around_a_figure_change_nothing() -> None:
    rng = random.Random(23)
    for _ in range(60):
        number = rng.randint(1, 9999) * 10 ** rng.randint(3, 9)
        for mark in MARKS:
            answer = mark.format(grouped(number, True, True) + "원")
            assert exact_numeric(answer, number, "원", 0) == 1, answer
            assert exact_numeric(answer, number * 10, "원", 0) == 0, answer


def test_a_longer_answer_gets_one_try_like_any_other() -> None:
    rng = random.Random(24)
    for _ in range(200):
        rates = rng.sample(range(10, 999), 8)
        joint = rng.choice((", ", "이며 ", "입니다. ", "\n", "% 또는 "))
        answer = joint.join(f"{rate / 10}%" for rate in rates)
        assert sum(exact_numeric(answer, rate / 10, "%", 1e-9) for rate in rates) <= 1, answer
