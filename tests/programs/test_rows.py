"""Row formats: every accepted form normalises to one shape, every bad one gives its whole reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alphaf_orch.programs.row_keys import RowError, is_metadata
from alphaf_orch.programs.rows import (
    Preference,
    conversation,
    masking_keys,
    passed_over,
    preference,
    read_rows,
    row_format,
)

Q, A, A2 = "기준금리란?", "한국은행이 정하는 금리입니다.", "모르겠습니다."
USER, GOOD, BAD = (
    {"role": "user", "content": Q},
    {"role": "assistant", "content": A},
    {"role": "assistant", "content": A2},
)
SYSTEM = {"role": "system", "content": "금융 상담원입니다."}


def messages(*turns: object, **extra: object) -> dict[str, Any]:
    return {"messages": list(turns), **extra}


@pytest.mark.parametrize(
    ("row", "want", "found"),
    [
        (messages(USER, GOOD), None, "messages"),
        ({"conversations": [1]}, None, "conversations"),
        ({"chosen": "a", "rejected": "b"}, None, "preference"),
        ({"chosen": "a"}, None, "preference"),
        (messages(USER, GOOD, chosen=[GOOD], rejected=[BAD]), None, "preference"),
        (messages(USER, GOOD, chosen=[GOOD], rejected=[BAD]), "chat", "messages"),
        (messages(USER, GOOD, conversations=[1], chosen="a"), "preference", "preference"),
        (messages(USER, GOOD, conversations=None, chosen=None), None, "messages"),
    ],
)
def test_row_format(row: dict[str, Any], want: Any, found: str) -> None:
    assert row_format(row, want) == found


def test_conversation_of_openai_messages() -> None:
    row = messages({**SYSTEM, "name": None}, USER, GOOD, USER, BAD, source="사보", id=3)
    assert conversation(row) == [SYSTEM, USER, GOOD, USER, BAD]


@pytest.mark.parametrize(("user", "assistant"), [("human", "gpt"), ("user", "assistant")])
def test_conversation_of_sharegpt(user: str, assistant: str) -> None:
    turns = [("system", SYSTEM["content"]), (user, Q), (assistant, A)]
    row = {"conversation_id": "가", "conversations": [{"from": who, "value": text} for who, text in turns]}
    assert conversation(row) == [SYSTEM, USER, GOOD]


@pytest.mark.parametrize(
    ("row", "key", "reason"),
    [
        ([], "row", "row is a JSON list, not an object"),
        ("글", "row", "row is a JSON string, not an object"),
        (
            {"instruction": Q, "output": A},
            "row",
            "row has no 'messages', 'conversations' or 'chosen' and 'rejected', only: instruction, output",
        ),
        ({}, "row", "row has no 'messages', 'conversations' or 'chosen' and 'rejected', only: no key at all"),
        (
            messages(USER, GOOD, conversations=[]),
            "row",
            "row has both 'messages' and 'conversations': keep one",
        ),
        ({"messages": {}}, "messages", "messages is a JSON object, not a list of messages"),
        (messages(), "messages", "messages is an empty list"),
        (messages(USER, 7), "messages[1]", "messages[1] is a JSON number, not an object"),
        (messages({"content": Q}), "messages[0].role", "messages[0].role is missing"),
        (
            messages({"role": "human", "content": Q}),
            "messages[0].role",
            "messages[0].role is 'human', not one of system, user, assistant",
        ),
        (
            messages({"role": ["user"], "content": Q}),
            "messages[0].role",
            "messages[0].role is ['user'], not one of system, user, assistant",
        ),
        (
            {"conversations": [{"from": "tool", "value": Q}]},
            "conversations[0].from",
            "conversations[0].from is 'tool', not one of system, user, assistant, human, gpt",
        ),
        (messages(USER, {"role": "assistant"}), "messages[1].content", "messages[1].content is missing"),
        (
            messages(USER, {"role": "assistant", "content": None}),
            "messages[1].content",
            "messages[1].content is missing",
        ),
        (
            messages({"role": "user", "content": [{"type": "text", "text": Q}]}, GOOD),
            "messages[0].content",
            "messages[0].content is a JSON list, not a string",
        ),
        (
            messages(USER, {"role": "assistant", "content": "\u3000\n"}),
            "messages[1].content",
            "messages[1].content is blank",
        ),
        (
            messages(USER, {"role": "assistant", "content": "좋아요\ud83d"}),
            "messages[1].content",
            "messages[1].content holds half a surrogate pair at character 3",
        ),
        (
            messages(USER, {**GOOD, "tool_calls": [{}]}),
            "messages[1].tool_calls",
            "messages[1].tool_calls is set: only the text of a turn can be trained on",
        ),
        (messages(SYSTEM), "messages", "messages holds only a system turn"),
        (
            messages(GOOD, USER),
            "messages[0]",
            "messages[0] has role 'assistant' as the first turn, expected 'user'",
        ),
        (
            messages(SYSTEM, GOOD),
            "messages[1]",
            "messages[1] has role 'assistant' after 'system', expected 'user'",
        ),
        (
            messages(USER, USER, GOOD),
            "messages[1]",
            "messages[1] has role 'user' after 'user', expected 'assistant'",
        ),
        (
            messages(USER, SYSTEM, GOOD),
            "messages[1]",
            "messages[1] has role 'system' after 'user', expected 'assistant'",
        ),
        (
            messages(USER, GOOD, USER),
            "messages[2]",
            "messages[2] is the last turn and has role 'user', expected 'assistant'",
        ),
        (
            messages(USER, GOOD, system=None),
            "system",
            "system is a key beside 'messages': make it the first turn, with role 'system'",
        ),
        (
            messages(USER, GOOD, tools=[{}]),
            "tools",
            "tools is set: only the text of a turn can be trained on",
        ),
        (
            {"prompt": Q, "chosen": A, "rejected": A2},
            "row",
            "row has 'chosen' or 'rejected', but neither 'messages' nor 'conversations'",
        ),
    ],
)
def test_bad_conversation(row: Any, key: str, reason: str) -> None:
    with pytest.raises(RowError) as caught:
        conversation(row)
    assert (str(caught.value), caught.value.key) == (reason, key)


ONE_TURN = Preference([USER], GOOD, BAD)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"chosen": [USER, GOOD], "rejected": [USER, BAD]}, ONE_TURN),
        ({"chosen": [USER, GOOD], "rejected": [USER, BAD], "prompt": f" {Q}\n", "system": None}, ONE_TURN),
        ({"chosen": [USER, GOOD], "rejected": [USER, BAD], "prompt": [USER]}, ONE_TURN),
        (
            {"chosen": [USER, GOOD], "rejected": [USER, BAD], "prompt": [USER], "system": SYSTEM["content"]},
            Preference([SYSTEM, USER], GOOD, BAD),
        ),
        (
            {"chosen": [SYSTEM, USER, GOOD], "rejected": [SYSTEM, USER, BAD], "system": SYSTEM["content"]},
            Preference([SYSTEM, USER], GOOD, BAD),
        ),
        (
            {"chosen": [USER, {**GOOD, "weight": 0}, USER, {**GOOD, "weight": 1}], "rejected": [USER, GOOD, USER, BAD]},
            Preference([USER, GOOD, USER], GOOD, BAD),
        ),
        ({"prompt": Q, "chosen": A, "rejected": A2}, ONE_TURN),
        ({"prompt": [USER], "chosen": A, "rejected": A2, "system": None}, ONE_TURN),
        ({"prompt": Q, "chosen": [GOOD], "rejected": [BAD]}, ONE_TURN),
        (
            {"prompt": Q, "chosen": A, "rejected": A2, "system": SYSTEM["content"]},
            Preference([SYSTEM, USER], GOOD, BAD),
        ),
        (
            {"prompt": [SYSTEM, USER, BAD, USER], "chosen": A, "rejected": A2},
            Preference([SYSTEM, USER, BAD, USER], GOOD, BAD),
        ),
        (
            {"chosen": [SYSTEM, USER, BAD, USER, GOOD], "rejected": [SYSTEM, USER, BAD, USER, BAD]},
            Preference([SYSTEM, USER, BAD, USER], GOOD, BAD),
        ),
    ],
)
def test_preference(row: dict[str, Any], expected: Preference) -> None:
    assert preference(row) == expected


@pytest.mark.parametrize(
    ("row", "key", "reason"),
    [
        (
            messages(USER, GOOD),
            "row",
            "row has neither 'chosen' nor 'rejected': it is a chat row, not a preference row",
        ),
        ({"prompt": Q, "chosen": A}, "rejected", "rejected is missing"),
        ({"prompt": Q, "rejected": A}, "chosen", "chosen is missing"),
        (
            {"prompt": Q, "chosen": A, "rejected": [BAD]},
            "rejected",
            "rejected and 'chosen' differ in form: both must be strings, or both message lists",
        ),
        (
            {"prompt": Q, "chosen": A, "rejected": f" {A}\n"},
            "rejected",
            "rejected is the same text as 'chosen': no preference can be learnt from it",
        ),
        ({"prompt": Q, "chosen": A, "rejected": ""}, "rejected", "rejected is blank"),
        (
            {"chosen": A, "rejected": A2},
            "prompt",
            "prompt is missing: 'chosen' and 'rejected' hold the answers only",
        ),
        ({"chosen": A, "rejected": A2, "prompt": " "}, "prompt", "prompt is blank"),
        (
            {"chosen": A, "rejected": A2, "prompt": 3},
            "prompt",
            "prompt is a JSON number, not a list of messages",
        ),
        (
            {"chosen": A, "rejected": A2, "prompt": [USER, GOOD]},
            "prompt[1]",
            "prompt[1] is the last turn and has role 'assistant', expected 'user'",
        ),
        (
            {"chosen": A, "rejected": A2, "prompt": [SYSTEM, USER], "system": "나"},
            "system",
            "system differs from the first turn of 'prompt': keep one of the two",
        ),
        (
            {"chosen": [SYSTEM, USER, GOOD], "rejected": [SYSTEM, USER, BAD], "system": "나"},
            "system",
            "system differs from the first turn of 'chosen': keep one of the two",
        ),
        *(
            (
                {
                    "chosen": [SYSTEM, USER, GOOD, USER, GOOD],
                    "rejected": [SYSTEM, USER, GOOD, USER, BAD],
                    "prompt": prompt,
                },
                "prompt",
                "prompt differs from the turns beside it: take it out, or put it into them",
            )
            for prompt in ("다른 글", [{"role": "user", "content": "다른 글"}], [SYSTEM, USER], [USER, GOOD])
        ),
        (
            {"chosen": [USER, {**GOOD, "train": False}], "rejected": [USER, BAD]},
            "chosen[1]",
            "chosen[1] is masked, and nothing else of the row has loss",
        ),
        (
            {"chosen": A, "rejected": A2, "prompt": Q, "tools": [{"name": "fx"}]},
            "tools",
            "tools is set: only the text of a turn can be trained on",
        ),
        (
            {"chosen": [USER, GOOD], "rejected": [USER, {**BAD, "thinking": "글쎄"}]},
            "rejected[1].thinking",
            "rejected[1].thinking is set: only the text of a turn can be trained on",
        ),
        ({"chosen": [], "rejected": []}, "chosen", "chosen is an empty list"),
        ({"chosen": {}, "rejected": {}}, "chosen", "chosen is a JSON object, not a list of messages"),
        ({"chosen": [USER], "rejected": [USER]}, "chosen", "chosen has no assistant turn"),
        (
            {"chosen": [USER, GOOD], "rejected": [USER, BAD, USER]},
            "rejected[2]",
            "rejected[2] is the last turn and has role 'user', expected 'assistant'",
        ),
        (
            {"chosen": [USER, GOOD], "rejected": [{"role": "user", "content": "다른 질문"}, BAD]},
            "rejected[0]",
            "rejected[0] differs from 'chosen': only the last assistant turn may differ",
        ),
        (
            {"chosen": [USER, GOOD], "rejected": [USER, BAD, USER, BAD]},
            "rejected[1]",
            "rejected[1] differs from 'chosen': only the last assistant turn may differ",
        ),
        (
            {"chosen": [USER, GOOD], "rejected": [USER, {"role": "assistant", "content": 1}]},
            "rejected[1].content",
            "rejected[1].content is a JSON number, not a string",
        ),
    ],
)
def test_bad_preference(row: dict[str, Any], key: str, reason: str) -> None:
    with pytest.raises(RowError) as caught:
        preference(row)
    assert (str(caught.value), caught.value.key) == (reason, key)


MASKED = {**GOOD, "train": False}


@pytest.mark.parametrize(
    ("turns", "expected", "keys"),
    [
        ([USER, {**GOOD, "weight": 0}, USER, {**BAD, "weight": 1}], [USER, MASKED, USER, BAD], {"weight"}),
        (
            [USER, {**GOOD, "train": False, "training": False}, USER, {**BAD, "training": True}],
            [USER, MASKED, USER, BAD],
            {"train", "training"},
        ),
        ([{**USER, "train": False}, GOOD], [USER, GOOD], None),
        ([USER, {**GOOD, "weight": 1.0, "train": None}], [USER, GOOD], None),
        ([USER, {**GOOD, "weight": 0.0}, USER, {**GOOD, "train": False}, USER, BAD], None, set()),
    ],
)
def test_masks_of_turns_are_read(turns: list[Any], expected: list[Any] | None, keys: set[str] | None) -> None:
    row = messages(*turns)
    assert expected is None or conversation(row) == expected
    assert masking_keys(row) == (keys if keys is None else frozenset(keys))


def test_masks_of_sharegpt_are_read() -> None:
    turns = [("system", "나", None), ("human", Q, 0.0), ("gpt", A, 0.0), ("human", Q, 0.0), ("gpt", A2, 1.0)]
    row = {"conversations": [{"from": who, "value": text, "weight": weight} for who, text, weight in turns]}
    assert conversation(row) == [{"role": "system", "content": "나"}, USER, MASKED, USER, BAD]
    assert masking_keys(row) == {"weight"}


TEXT_ALONE = "is set: only the text of a turn can be trained on"
ONE_ROW = "for the whole row: leave out a row that is not to be trained on"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        *(
            (messages(USER, {**GOOD, key: value}), f"messages[1].{key} {TEXT_ALONE}")
            for key, value in {
                "thinking": "2에 2를 더하면",
                "function_call": {"name": "fx", "arguments": "{}"},
                "reasoning_content": "음",
                "tool_call_id": "call_1",
                "images": ["a.png"],
                "image_url": "a.png",
                "train_detail": [{"begin_offset": 0, "end_offset": 1, "train": False}],
                "새 키": "글",
                "masked": False,
            }.items()
        ),
        *(
            (messages(USER, GOOD, **{key: value}), f"{key} {TEXT_ALONE}")
            for key, value in {
                "functions": [{"name": "fx"}],
                "images": ["a.png"],
                "documents": [{"text": "자료"}],
                "chat_template_kwargs": {"enable_thinking": False},
                "reasoning": "음",
                "tools": "",
            }.items()
        ),
        (messages(USER, GOOD, tools={}), f"tools {TEXT_ALONE}"),
        (messages(USER, GOOD, weight=0), f"weight is 0 {ONE_ROW}"),
        (messages(USER, GOOD, train=False), f"train is False {ONE_ROW}"),
        (
            messages(USER, GOOD, input_ids=None),
            "input_ids is a key of the row: the data loader would take the rows for tokenised ones",
        ),
        (
            messages(USER, {**GOOD, "weight": 0.5}),
            "messages[1].weight is 0.5, not 0 or 1: a turn is trained on, or it is not",
        ),
        (
            messages(USER, {**GOOD, "weight": True}),
            "messages[1].weight is True, not 0 or 1: a turn is trained on, or it is not",
        ),
        (
            messages(USER, {**GOOD, "train": 0}),
            "messages[1].train is 0, not true or false: a turn is trained on, or it is not",
        ),
        (
            messages(USER, {**GOOD, "train": "no"}),
            "messages[1].train is 'no', not true or false: a turn is trained on, or it is not",
        ),
        (
            messages({**USER, "weight": 1}, GOOD),
            "messages[0].weight asks to train on a turn that is not the assistant's",
        ),
        (
            messages(USER, {**GOOD, "train": True, "weight": 0}),
            "messages[1] says two things: train is True, weight is 0",
        ),
        (messages(USER, MASKED), "messages has no turn to train on: all of the assistant's are masked"),
        (
            messages(USER, GOOD, prompt="딴 질문"),
            "prompt differs from the turns beside it: take it out, or put it into them",
        ),
        (
            {"conversations": [{"from": "human", "value": Q, "role": "system"}, {"from": "gpt", "value": A}]},
            f"conversations[0].role {TEXT_ALONE}",
        ),
    ],
)
def test_what_would_be_dropped_is_refused(row: Any, reason: str) -> None:
    with pytest.raises(RowError) as caught:
        conversation(row)
    assert str(caught.value) == reason


# The columns of published sets as they are: none may be refused, and none of their keys is unknown.
PUBLISHED: dict[str, tuple[Any, dict[str, Any]]] = {
    "argilla/dpo-mix-7k": (
        "preference",
        {
            "dataset": "argilla/ultrafeedback",
            "chosen": [USER, GOOD],
            "rejected": [USER, BAD],
            "chosen_rating": 5.0,
            "rejected_rating": 4.5,
        },
    ),
    "ultrafeedback_binarized": (
        "preference",
        {
            "prompt": Q,
            "prompt_id": "9f",
            "chosen": [USER, GOOD],
            "rejected": [USER, BAD],
            "messages": [USER, GOOD],
            "score_chosen": 8.5,
            "score_rejected": 3.0,
        },
    ),
    "no_robots": ("chat", messages(USER, GOOD, prompt=Q, prompt_id="9f", category="Open QA")),
    "slim_orca": (
        "chat",
        {
            "conversations": [
                {"from": "human", "value": Q, "weight": 0.0},
                {"from": "gpt", "value": A, "weight": 1.0},
            ]
        },
    ),
    "wildchat": (
        "chat",
        {
            "conversation_id": "1",
            "model": "m",
            "timestamp": "t",
            "turn": 1,
            "language": "Korean",
            "toxic": False,
            "redacted": False,
            "messages": [{**USER, "turn_identifier": 1, "language": "Korean"}, {**GOOD, "timestamp": None}],
        },
    ),
    "exported": ("chat", messages({**USER, "name": None}, {**GOOD, "tool_calls": []}, tools="[]", images=[], weight=1)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_rows_stay_usable(name: str) -> None:
    want, row = PUBLISHED[name]
    assert conversation(row) if want == "chat" else preference(row)
    assert [key for key, used in passed_over(row, want).items() if used and not is_metadata(key)] == []


def test_every_key_passed_over_is_named() -> None:
    row = messages({**USER, "name": ""}, {**GOOD, "id": 3}, id=1, 출처="사보", rationale="왜냐하면", memo=None)
    assert passed_over(row, "chat") == {
        "id": True,
        "출처": True,
        "rationale": True,
        "messages[].name": False,
        "messages[].id": True,
    }
    known = {"id", "chosen_rating", "score_chosen", "messages[].name", "promptId", "meta-info"}
    content = {"rationale", "context", "출처", "image_path", "system_prompt", "tool_name", "label"}
    assert {key for key in known | content if is_metadata(key)} == known


def test_read_rows_passes_over_blank_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "상담 기록.jsonl"
    row = messages(USER, GOOD)
    line = json.dumps(row, ensure_ascii=False)
    path.write_bytes(f"\ufeff{line}\r\n\n  \n{line}".encode())
    assert list(read_rows(path)) == [(1, row), (4, row)]
