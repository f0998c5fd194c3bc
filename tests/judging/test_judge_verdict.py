"""Reading verdicts: one JSON object with the agreed keys and values, or a named reason why there is none."""

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
        ("{'winner': 'A', 'reason': '작은따옴표'}", "no JSON object"),
        ('{"winner": "A"}', "the keys are winner"),
        ('{"winner": "A", "reason": "x", "score": 3}', "the keys are reason, score, winner"),
        ('{"winner": "a", "reason": "x"}', "winner is 'a'"),
        ('{"winner": "Tie", "reason": "x"}', "winner is 'Tie'"),
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
