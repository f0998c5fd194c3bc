"""Mistakes of rows told in one go: the whole message, and that parts of a file add up to the whole."""

from __future__ import annotations

import pytest

from alphaf_orch.core.errors import DataError
from alphaf_orch.programs.mistakes import SHOWN, Mistakes


def told(mistakes: Mistakes) -> DataError:
    with pytest.raises(DataError) as caught:
        mistakes.check(DataError)
    return caught.value


def test_no_mistake_raises_nothing() -> None:
    Mistakes("/자료/가.jsonl").check(DataError)


def test_a_single_mistake_is_told_in_its_own_words() -> None:
    mistakes = Mistakes("/자료/가.csv", "row")
    mistakes.add(7, "messages[1].content is blank", fix="Mend it.", code="data.blank", key="messages[1].content")
    error = told(mistakes)
    assert (error.what, error.where, error.fix) == (
        "messages[1].content is blank",
        "/자료/가.csv row 7, key messages[1].content",
        "Mend it.",
    )


def several(first: int, last: int, start: int = 0) -> Mistakes:
    mistakes = Mistakes("/자료/가.jsonl")
    for number in range(first, last):
        if number % 5:
            key = f"messages[{number % 3}].content"
            mistakes.add(
                number - start, f"{key} is blank", fix="Correct or delete this row.", code="data.blank", key=key
            )
        else:
            mistakes.add(
                number - start, "invalid JSON: Expecting value (column 1)", fix="Write JSON", code="data.invalid_json"
            )
    return mistakes


def test_several_are_told_by_kind_and_line_with_how_many_more() -> None:
    assert len(several(4, 8)) == 4
    error = told(several(4, 8))
    assert error.what == (
        "4 lines that must not be trained on by kind:\n"
        "  messages[].content is blank (3)\n"
        "    line 4, key messages[1].content\n"
        "    line 6, key messages[0].content\n"
        "    line 7, key messages[1].content\n"
        "  invalid JSON: Expecting value (1)\n"
        "    line 5: invalid JSON: Expecting value (column 1)"
    )
    assert error.where == "/자료/가.jsonl line 4, key messages[1].content"
    assert error.fix == "Correct or delete this row; Write JSON"
    more = told(several(1, 31))
    assert more.what.splitlines()[0] == "30 lines that must not be trained on, the first 20 of them by kind:"
    assert more.what.count("\n    line ") == SHOWN
    assert more.what.endswith("\n  and 10 more: 8 x messages[].content is blank; 2 x invalid JSON: Expecting value")


def test_parts_of_a_file_tell_the_same_as_the_whole() -> None:
    parts = several(1, 13)
    # The lines of a later part are numbered from its own start.
    parts.extend(several(13, 40, start=12), before=12)
    whole = told(several(1, 40))
    assert told(parts).what == whole.what
    assert [m.number for m in parts.first] == list(range(1, 21))
    assert parts.kinds == several(1, 40).kinds


def test_memory_is_bounded_by_the_kinds_of_rubbish() -> None:
    mistakes = Mistakes("가")
    for number in range(5000):
        mistakes.add(number, f"role is 'x{number}'", fix="mend", code="data.unknown_role")
    assert len(mistakes) == 5000
    assert len(mistakes.kinds) <= 1001
