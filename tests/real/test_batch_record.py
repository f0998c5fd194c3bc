"""The record of batches: the same batches give the same lines, another order or another token does not."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Return a function that trains on batches, a list of micro-batches a step, and returns the lines written."""
    import torch

    from alphaf_orch.programs.training.batch_record import BatchRecord

    class Model(torch.nn.Module):
        def forward(self, input_ids: Any = None) -> Any:
            return input_ids

    def run(
        steps: list[list[list[list[int]]]],
        *,
        main: bool = True,
        evaluate: bool = False,
        begun: int = 0,
        weight: float = 0,
    ) -> list[dict[str, Any]]:
        path = tmp_path / "기록.jsonl"
        path.unlink(missing_ok=True)
        monkeypatch.setenv("ALPHAF_BATCHES", str(path))
        callback, model = BatchRecord(), Model()
        model.trained = torch.nn.Parameter(torch.full((2, 3), weight, dtype=torch.bfloat16))
        model.frozen = torch.nn.Parameter(torch.randn(4), requires_grad=False)
        state = SimpleNamespace(is_world_process_zero=main, global_step=begun)
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
    lines = record(STEPS)[1:]
    assert [(line["step"], line["rows"], line["lengths"]) for line in lines] == [(1, [1, 2], [3, 3]), (2, [1], [2])]


def test_the_same_batches_have_the_same_hash_and_evaluations_do_not_count(record):
    assert record(STEPS) == record(STEPS, evaluate=True)


def test_another_order_and_another_token_have_another_hash(record):
    plain = [line["ids"] for line in record(STEPS)[1:]]
    turned = [line["ids"] for line in record([STEPS[0][::-1], STEPS[1]])[1:]]
    other = [line["ids"] for line in record([STEPS[0], [[[7, 9]]]])[1:]]
    assert (plain[0] != turned[0], plain[1] == turned[1]) == (True, True)
    assert (plain[0] == other[0], plain[1] != other[1]) == (True, True)


def test_other_processes_than_the_first_write_nothing(record):
    assert record(STEPS, main=False) == []


def test_the_weights_before_the_first_step_are_hashed_and_those_of_a_resumed_training_are_not(record):
    first = record(STEPS)[0]
    assert (first["parameters"], len(first["first_weights"])) == (6, 32)
    assert first == record(STEPS)[0], "what is frozen does not count"
    other = record(STEPS, weight=1.0)[0]
    assert (other["trainable"], other["first_weights"] != first["first_weights"]) == (first["trainable"], True)
    assert ["ids" in line for line in record(STEPS, begun=7)] == [True, True]


def test_weights_of_which_a_rank_holds_a_part_are_not_called_known(record, monkeypatch):
    from alphaf_orch.programs.training.batch_record import first_weights

    class Sharded:
        @staticmethod
        def named_parameters():
            part = SimpleNamespace(requires_grad=True, full_tensor=1, shape=(2,), dtype="bf16", numel=lambda: 2)
            return [("w", part)]

    assert first_weights(Sharded())["first_weights"] is None
