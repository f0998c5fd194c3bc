"""What an error shows: three facts, and its identifier on a line of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphaf_orch.core.errors import DataError, Interrupted, OutOfMemory, interruptible


def test_the_identifier_is_shown_behind_the_facts_and_is_no_part_of_the_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = DataError("행이 없습니다", where="자료.jsonl", fix="add rows", code="data.no_rows")
    error.show()
    facts = "행이 없습니다\n  where: 자료.jsonl\n  next:  add rows"
    assert capsys.readouterr().err == f"error: {facts}\n  code:  data.no_rows\n"
    assert error.message == facts
    assert error.code == "data.no_rows"


def test_every_way_to_an_error_keeps_the_identifier(tmp_path: Path) -> None:
    assert OutOfMemory("x", where="y", fix="z", code="stage.out_of_memory", training=True).code == "stage.out_of_memory"
    with pytest.raises(Interrupted) as stopped, interruptible("x", tmp_path, "z"):
        raise KeyboardInterrupt
    assert stopped.value.code == "interrupt.stopped"
