"""Reading verdicts: one JSON object with the agreed keys and values, or a named reason why there is none."""

import json
import time

import pytest

from alphaf_orch.judging.reply import UnreadableError, Verdict, parse_verdict

WINNERS = ("A", "B", "tie")


def parse(reply: str) -> Verdict:
    return parse_verdict(reply, "winner", WINNERS)


@pytest.mark.parametrize(
    "reply",
    [
        '{"winner": "A", "reason": "더 정확하다"}',
        '판정 결과입니다.\n```json\n{"reason": "더 정확하다",\n "winner": "A"}\n```\n감사합니다.',
        '<think>{"winner": "B", "reason": "초안"} 아니다</think>{"winner": "A", "reason": "더 정확하다"}',
        '생각… </think>\n{"winner": "A", "reason": "더 정확하다"}',
        '집합 {1, 2}를 보면 {"winner": "A", "reason": "더 정확하다"}',
        '{"winner": "A", "reason": "처음"} 다시: {"winner": "A", "reason": "더 정확하다"}',
    ],
)
def test_a_verdict_is_found_in_the_reply(reply):
    assert parse(reply) == Verdict("A", "더 정확하다")


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("", "no JSON object"),
        ("A가 더 낫습니다.", "no JSON object"),
        ("{'winner': 'A', 'winner': 'B', 'reason': '두 번'}", "no JSON object"),
        ("{'winner': 'A', 'reason': open('x')}", "no JSON object"),
        ('{"winner": "A"}', "the keys are winner"),
        ('{"winner": "A", "reason": "x", "score": 3}', "the keys are reason, score, winner"),
        ('{"winner": "A 또는 B 또는 tie", "reason": "판정 이유"}', "winner is 'A 또는 B 또는 tie'"),
        ('{"winner": null, "reason": "x"}', "winner is 'None'"),
        ('{"winner": ["A"], "reason": "x"}', "winner is"),
        ('{"winner": true, "reason": "x"}', "winner is 'True'"),
        ('{"winner": "A", "reason": null}', "the reason is no text"),
        ('{"winner": "A", "winner": "B", "reason": "x"}', "broken or cut off"),
        ('{"winner": "A", "reason": "끊', "broken or cut off"),
        ('{"분석": {"winner": "A", "reason": "초안"}, "결', "broken or cut off"),
        ('{"verdict": {"winner": "A", "reason": "x"}}', "no key 'winner'"),
        ('{"winner": "A", "reason": "x"} {"winner": "B", "reason": "y"}', "several objects"),
        ('<think>{"winner": "A", "reason": "생각만"}', "inside <think>"),
        ('[{"winner": "A"}]', "the keys are winner"),
        ("{" * 19_000, "no JSON object"),
        ('{"a":' * 3_900, "broken or cut off"),
        ("[" * 10 + '{"x":' + "[" * 15_000, "broken or cut off"),
        ('{"winner": "A", "reason": "' + "가" * 20_000 + '"}', "characters long"),
    ],
)
def test_nothing_is_guessed(reply, why):
    started = time.monotonic()
    with pytest.raises(UnreadableError, match=why):
        parse(reply)
    assert time.monotonic() - started < 1


def test_votes_are_read_the_same_way():
    assert parse_verdict('{"vote": "O", "reason": "맞다"}', "vote", ("O", "X")) == Verdict("O", "맞다")
    with pytest.raises(UnreadableError, match="vote is '0'"):
        parse_verdict('{"vote": "0", "reason": "숫자 영"}', "vote", ("O", "X"))


@pytest.mark.parametrize(
    ("spelt", "value"),
    [
        ("a", "A"), ("Ｂ", "B"), ("[[A]]", "A"), ("[B]", "B"), ("**A**", "A"), ("답변 A", "A"), ("Answer B", "B"),
        ("A입니다.", "A"), ("B 답변", "B"), ("A가 더 우수함", "A"), ("Model A", "A"), ("A wins", "A"), ("B 승", "B"),
        ("Tie", "tie"), ("TIE.", "tie"), ("[[C]]", "tie"), ("무승부", "tie"), ("무승부입니다.", "tie"), ("동점", "tie"),
        ("무승부로 판정합니다", "tie"), ("비김", "tie"), ("비겼습니다", "tie"), ("동률", "tie"), ("A와 B 모두", "tie"),
        ("둘 다", "tie"), ("both", "tie"), ("Equal", "tie"), ("equally good", "tie"), ("draw", "tie"), ("a tie", "tie"),
        ("무승부 (tie)", "tie"), ("Tie(무승부)", "tie"), ("양쪽 모두 동등함", "tie"), ("A and B are equal", "tie"),
        ("차이 없음", "tie"), ("‘무승부’", "tie"), ("대등합니다", "tie"), ("A = B", "tie"),
    ],
)  # fmt: skip
def test_a_verdict_is_read_as_models_spell_it(spelt, value):
    assert parse(json.dumps({"winner": spelt, "reason": "r"}, ensure_ascii=False)).value == value


@pytest.mark.parametrize(
    "denied",
    [
        "무승부 아님", "무승부가 아닙니다", "not a tie", "no tie", "tie가 아니다", "not A", "A 아님",
        "A가 더 좋지 않음", "A와 B 모두 아님",
        "둘 다 아님", "둘 다 틀림", "A 또는 B", "A/B", "A or B", "A or tie", "neither", "C",
        "없음", "무승부 (A)", "A (B)", "", "판정 불가", "tie?", "unequal", "동점이 아님", "A is not better",
    ],
)  # fmt: skip
def test_a_denied_or_open_verdict_is_none(denied):
    with pytest.raises(UnreadableError, match="winner is"):
        parse(json.dumps({"winner": denied, "reason": "r"}, ensure_ascii=False))


@pytest.mark.parametrize(
    ("spelt", "value"), [("o", "O"), ("○", "O"), ("O입니다", "O"), ("×", "X"), ("❌", "X"), ("[X]", "X")]
)
def test_votes_are_spelt_too(spelt, value):
    assert parse_verdict(json.dumps({"vote": spelt, "reason": "r"}), "vote", ("O", "X")).value == value


@pytest.mark.parametrize("denied", ["O가 아님", "not X", "O/X", "0", "OX", "정답 아님", "틀리지 않음", "A"])
def test_no_vote_is_guessed(denied):
    with pytest.raises(UnreadableError, match="vote is"):
        parse_verdict(json.dumps({"vote": denied, "reason": "r"}), "vote", ("O", "X"))


SAID = '{"winner": "A", "reason": "더 정확하다"}'
DRAFT = '{"winner": "B", "reason": "초안"} '


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("<think>", "</think>"), ("<thinking>", "</thinking>"), ("<thought>\n", "\n</thought>"), ("", "</think>"),
        ("<reasoning>", "</reasoning>"), ("[THINK]", "[/THINK]"), ("", "[/THINK]"), ("<THINK>", "</THINK>"),
        ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
        ("analysisWe compare. ", "assistantfinal"), ("◁think▷", "◁/think▷"), ("<seed:think>", "</seed:think>"),
        ("<|START_THINKING|>", "<|END_THINKING|>"), ("<|begin_of_thought|>", "<|end_of_thought|>"),
        ("<think>a</think> <think>", "</think>"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("long", [10, 32_000])
def test_thoughts_are_neither_measured_nor_read(begin, end, long):
    assert parse(f"{begin}{DRAFT}{'생각 ' * long}{end}\n{SAID}") == Verdict("A", "더 정확하다")


@pytest.mark.parametrize(
    "begin", ["<think>", "<thinking>", "[THINK]", "<|channel|>analysis<|message|>", "analysisWe see "]
)
def test_thoughts_without_an_end_are_no_answer(begin):
    for filling in ("", "생각 " * 32_000):
        with pytest.raises(UnreadableError, match="ends inside"):
            parse(f"{begin}{DRAFT}{filling}")


def test_marks_inside_the_reason_are_none():
    for reason in ("B는 </think>를 남겼다", "B는 <think>로 시작한다", "[THINK]"):
        said = json.dumps({"winner": "A", "reason": reason}, ensure_ascii=False)
        assert parse(said) == parse(f"```json\n{said}\n```") == Verdict("A", reason)
    assert parse('판정: {"winner": "A", "reason": "<think>로 시작한다"}.').value == "A"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ('{"winner": "A", "reason": "첫째 줄\n둘째 줄"}', "첫째 줄\n둘째 줄"),
        ('{"winner": "A", "reason": "칸\t칸"}', "칸\t칸"),
        ('{"winner": "A", "reason": "\\(3\\%\\)의 이자"}', "\\(3\\%\\)의 이자"),
        ('{"winner": "A", "reason": "\\uXYZ와 \\\\"}', "\\uXYZ와 \\"),
        ('```json\n{"winner": "A",\n\t"reason": "\\[x\\]"}\n```', "\\[x\\]"),
        ('**판정**\n```\n{"winner":"A","reason":"r"}\n```\n끝', "r"),
        ("{'winner': 'A', 'reason': '작은따옴표'}", "작은따옴표"),
        ("```python\n{'winner': 'A', 'reason': \"it's\"}\n```", "it's"),
    ],
)
def test_what_json_does_not_allow_but_judges_write(reply, reason):
    assert parse(reply) == Verdict("A", reason)
