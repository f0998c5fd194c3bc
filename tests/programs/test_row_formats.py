"""Rows of every format that people have, as the canonical row that is trained, or refused in their own words."""

from __future__ import annotations

import io
import json
import unicodedata

import pytest

from alphaf_orch.programs.formats.json_rows import NotRows, json_rows
from alphaf_orch.programs.formats.recognise import Asked, canonical
from alphaf_orch.programs.row_keys import RowError

Q, A = {"role": "user", "content": "금리?"}, {"role": "assistant", "content": "3%"}
HUMAN, GPT = {"from": "human", "value": "금리?"}, {"from": "gpt", "value": "3%"}
SYSTEM = {"role": "system", "content": "존댓말"}
TALK = [Q, A]
PARTS = [{"type": "text", "text": "금"}, {"type": "text", "text": "리?"}]

CHAT = [
    ({"instruction": "금리?", "input": "", "output": "3%"}, "Alpaca (instruction, input, output)", TALK),
    ({"instruction": "금", "input": "리", "output": "3%"}, "Alpaca (instruction, input, output)",
     [{"role": "user", "content": "금\n리"}, A]),
    ({"instruction": "금리?", "output": "3%", "text": "### …"}, "Alpaca (instruction, input, output)", TALK),
    ({"instruction": "금리?", "output": "3%", "system": "존댓말", "history": [["안녕", "네"]]},
     "Alpaca (instruction, input, output)",
     [SYSTEM, {"role": "user", "content": "안녕"}, {"role": "assistant", "content": "네"}, Q, A]),
    ({"instruction": "금", "context": "리", "response": "3%", "category": "qa"}, "instruction and response",
     [{"role": "user", "content": "금\n리"}, A]),
    ({"prompt": "금리?", "completion": "3%"}, "prompt and completion", TALK),
    ({"prompt": [Q], "completion": [A]}, "prompt and completion (lists of turns)", TALK),
    ({"prompt": "금리?", "response": "3%"}, "prompt and response", TALK),
    ({"system_prompt": "존댓말", "question": "금리?", "response": "3%"}, "question and response", [SYSTEM, *TALK]),
    ({"Question ": "금리?", "ANSWER": "3%"}, "question and answer", TALK),
    ({"질문": "금리?", "답변": "3%"}, "질문 and 답변", TALK),
    ({"지시": "금", "입력": "리", "출력": "3%"}, "Alpaca (지시, 입력, 출력)",
     [{"role": "user", "content": "금\n리"}, A]),
    ({"input": "금리?", "output": "3%"}, "input and output", TALK),
    ({"conversations": TALK}, "conversations (role, content)", TALK),
    ({"messages": [HUMAN, GPT]}, "messages (from, value)", TALK),
    ({"messages": [{"role": "user", "content": PARTS}, A]}, "messages (role, content)", TALK),
    ({"messages": TALK, "system": None}, "messages (role, content)", TALK),
    ({"messages": TALK, "system": "존댓말"}, "messages (role, content)", [SYSTEM, *TALK]),
    ({"conversations": [HUMAN, GPT], "system": " "}, "conversations (from, value)", TALK),
    ({"messages": [{"role": "system", "content": ""}, *TALK]}, "messages (role, content)", TALK),
    ({"messages": json.dumps(TALK)}, "messages (role, content)", TALK),
    ({"conversations": {"from": ["human", "gpt"], "value": ["금리?", "3%"]}}, "conversations (from, value)", TALK),
]  # fmt: skip

PAIRS = [
    ({"system": "존댓말", "question": "금리?", "chosen": "3%", "rejected": "몰라"},
     "question, chosen, rejected", [SYSTEM, Q]),
    ({"system": "", "prompt": "금리?", "chosen": "3%", "rejected": "몰라"}, "prompt, chosen, rejected", [Q]),
    ({"input": {"messages": [Q], "tools": []}, "preferred_output": [A],
      "non_preferred_output": [{"role": "assistant", "content": "몰라"}]},
     "OpenAI preference (input, preferred_output, non_preferred_output)", [Q]),
    ({"chosen": "\n\nHuman: 금리?\n\nAssistant: 3%", "rejected": "\n\nHuman: 금리?\n\nAssistant: 몰라"},
     "HH text pairs", [Q]),
    ({"conversations": [HUMAN], "chosen": GPT, "rejected": {"from": "gpt", "value": "몰라"}},
     "conversations, chosen, rejected", [Q]),
    ({"instruction": "금", "input": "리", "chosen": "3%", "rejected": "몰라"}, "instruction, chosen, rejected",
     [{"role": "user", "content": "금\n리"}]),
    ({"prompt": "금리?", "prompt_id": "x", "messages": TALK, "score_chosen": 8.0, "chosen": TALK,
      "rejected": [Q, {"role": "assistant", "content": "몰라"}]}, "prompt, chosen, rejected", [Q]),
    ({"prompt": "금리?", "chosen": A, "rejected": {"role": "assistant", "content": "몰라"}},
     "prompt, chosen, rejected", [Q]),
]  # fmt: skip


@pytest.mark.parametrize(("row", "form", "messages"), CHAT)
def test_a_chat_row_of_every_format_says_the_same(row, form, messages):
    found = canonical(row, Asked("chat"))
    assert (found.format, found.row) == (form, {"messages": messages})


@pytest.mark.parametrize(("row", "form", "prompt"), PAIRS)
def test_a_pair_of_every_format_says_the_same(row, form, prompt):
    found = canonical(row, Asked("preference"))
    rejected = {"role": "assistant", "content": "몰라"}
    assert (found.format, found.row) == (form, {"prompt": prompt, "chosen": [A], "rejected": [rejected]})


@pytest.mark.parametrize(
    ("row", "want", "key", "words"),
    [
        ({"instruction": "금리?", "output": " "}, "chat", "output", "is blank"),
        ({"conversations": [{"role": "user", "content": ""}, A]}, "chat", "conversations[0].content", "is blank"),
        ({"messages": [HUMAN, {"from": "gpt", "value": None}]}, "chat", "messages[1].value", "is missing"),
        ({"question": "a", "prompt": "b", "answer": "c"}, "chat", "row", "may be the question (prompt, question)"),
        ({"messages": TALK, "conversations": TALK}, "chat", "row", "has both 'messages' and 'conversations'"),
        ({"a": 1, "b": 2}, "chat", "row", "has the columns a, b, which are no known format; known: messages"),
        ({"a": 1}, "preference", "row", "has the columns a, which are no known format; known: prompt"),
        ({"prompt": "p", "completion": "c", "label": True}, "chat", "label", "(KTO)"),
        ({"prompt": "p", "completion": "c", "label": False}, "preference", "label", "(KTO)"),
        ({"messages": TALK, "tools": [{"name": "fx"}]}, "chat", "tools", "only the text of a turn"),
        ({"messages": [Q, {"role": "tool", "content": "1300"}]}, "chat", "messages[1].role", "turns of tools"),
        ({"messages": [{**Q, "content": [*PARTS, {"type": "image_url"}]}, A]}, "chat", "messages[0].content[2]",
         "'image_url': only text"),
        ({"messages": TALK, "images": ["a.png"]}, "chat", "images", "only the text"),
        ({"instruction": "i", "completions": [{"response": "x"}]}, "preference", "completions", "rated answers"),
        ({"text": "글"}, "preference", "row", "give this file to SFT"),
        ({"prompt": "p", "chosen": "a", "rejected": "b"}, "chat", "row", "give this file to DPO"),
        ({"chosen": "a", "rejected": "b"}, "preference", "chosen", "no prompt beside it"),
        ({"question": "p", "chosen": "a", "rejected": "a "}, "preference", "rejected", "same text"),
        ({"messages": TALK, "system": "a", "system_prompt": "b"}, "chat", "system_prompt", "both set"),
        ("text", "chat", "row", "not an object"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused_in_the_words_of_the_row(row, want, key, words):
    with pytest.raises(RowError) as caught:
        canonical(row, Asked(want))
    assert caught.value.key == key
    assert words in str(caught.value)


def test_masks_of_any_spelling_become_one_and_what_nothing_reads_is_named():
    wrong = {"from": "gpt", "value": "틀린 답", "weight": 0, "name": "b"}
    found = canonical({"id": 7, "conversations": [HUMAN, wrong, HUMAN, GPT]}, Asked("chat"))
    assert found.masked
    assert found.row["messages"] == [Q, {"role": "assistant", "content": "틀린 답", "train": False}, Q, A]
    assert found.unused == ("id", "conversations[].name")


def test_columns_are_mapped_and_texts_normalised_on_request():
    row = {"q": unicodedata.normalize("NFD", "금리?"), "a": "3%", "instruction": "쓰지 않음"}
    found = canonical(row, Asked("chat", {"instruction": "q", "output": "a"}, "NFC"))
    assert found.row == {"messages": TALK}
    assert len(found.unused) == 1


def test_a_text_is_continued_pretraining():
    found = canonical({"text": "한국은행은", "source": "x"}, Asked("chat"))
    assert (found.format, found.row, found.unused) == (
        "text (continued pretraining)",
        {"text": "한국은행은"},
        ("source",),
    )


ROWS = [{"question": "2024-01-01", "answer": "3"}, {"question": "둘", "answer": "4"}]
LINES = b"\n".join(json.dumps(row, ensure_ascii=False).encode() for row in ROWS)


@pytest.mark.parametrize(
    ("content", "written", "numbers"),
    [
        (LINES, "JSON Lines", [1, 2]),
        (b"\xef\xbb\xbf\n" + LINES.replace(b"\n", b"\n\n"), "JSON Lines", [2, 4]),
        (json.dumps(ROWS).encode(), "JSON array", [1, 1]),
        (json.dumps(ROWS, indent=1).encode(), "JSON array", [2, 6]),
        (b"".join(json.dumps(row, indent=1).encode() + b"\n" for row in ROWS), "pretty-printed JSON", [1, 5]),
        (json.dumps({"version": 1, "data": ROWS}, indent=1).encode(), "JSON, the list in 'data'", [1, 2]),
        (json.dumps({"rows": [{"row_idx": 0, "row": row} for row in ROWS]}).encode(), "JSON Lines", [1, 1]),
    ],
)
def test_json_in_every_layout_holds_the_same_rows_at_their_lines(content, written, numbers):
    found, rows = json_rows(io.BytesIO(content))
    numbered = list(rows)
    assert (found, [row for _, row in numbered], [number for number, _ in numbered]) == (written, ROWS, numbers)


@pytest.mark.parametrize(
    ("content", "words", "line"),
    [
        (b"", "no rows", None),
        (b'[{"a": 1} {"a": 2}]', "a comma is missing", 1),
        (b'[\n{"a": 1},\n{"a": }]', "Expecting value", 3),
        (b'[{"a": 1}', "the array does not end", 1),
        (b'{"a": 1}\n{"a": 1, "a": 2}\n', "'a' is given twice", 2),
        (LINES + b"\n\xb1\xdd", "not UTF-8", 3),
    ],
)
def test_broken_json_is_told_with_its_line(content, words, line):
    with pytest.raises(NotRows, match=words) as caught:
        list(json_rows(io.BytesIO(content))[1])
    assert caught.value.line == line
