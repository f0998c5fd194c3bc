"""The record of batches: the same batches give the same lines, another order or another token does not."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[1] / "alphaf_orch" / "scripts"
pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Return a function that trains on batches, a list of micro-batches a step, and returns the lines written."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import torch
    from batch_record import BatchRecord

    class Model(torch.nn.Module):
        def forward(self, input_ids: Any = None) -> Any:
            return input_ids

    def run(steps: list[list[list[list[int]]]], *, main: bool = True, evaluate: bool = False) -> list[dict[str, Any]]:
        path = tmp_path / "기록.jsonl"
        path.unlink(missing_ok=True)
        monkeypatch.setenv("ALPHAF_BATCHES", str(path))
        callback, model = BatchRecord(), Model()
        state = SimpleNamespace(is_world_process_zero=main, global_step=0)
        callback.on_train_begin(None, state, None, model=model)
        for number, micro in enumerate(steps, 1):
            model.train()
            for ids in micro:
                model(input_ids=torch.tensor(ids))
            if evaluate:
                model.eval()
                model(input_ids=torch.tensor([[9, 9]]))
            state.global_step = number
            callback.on_step_end(None, state, None)
        callback.on_train_end(None, state, None)
        model.train()
        model(input_ids=torch.tensor([[1]]))
        assert callback.shapes == [], "nothing is watched any more"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []

    return run


STEPS = [[[[1, 2, 3]], [[4, 5, 0], [6, 0, 0]]], [[[7, 8]]]]


def test_a_line_has_the_shapes_of_its_micro_batches(record):
    lines = record(STEPS)
    assert [(line["step"], line["rows"], line["lengths"]) for line in lines] == [(1, [1, 2], [3, 3]), (2, [1], [2])]


def test_the_same_batches_have_the_same_hash_and_evaluations_do_not_count(record):
    assert record(STEPS) == record(STEPS, evaluate=True)


def test_another_order_and_another_token_have_another_hash(record):
    plain = [line["ids"] for line in record(STEPS)]
    turned = [line["ids"] for line in record([STEPS[0][::-1], STEPS[1]])]
    other = [line["ids"] for line in record([STEPS[0], [[[7, 9]]]])]
    assert (plain[0] != turned[0], plain[1] == turned[1]) == (True, True)
    assert (plain[0] == other[0], plain[1] != other[1]) == (True, True)


def test_other_processes_than_the_first_write_nothing(record):
    assert record(STEPS, main=False) == []
