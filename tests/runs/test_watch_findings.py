"""What rows of a training say of its health: real faults are found once, healthy trainings are left in peace."""

import math
import random

import pytest

from alphaf_orch.runs.watch.findings import Health, recorded
from alphaf_orch.runs.watch.retry import cuts


def rows(losses, **columns):
    made = []
    for n, loss in enumerate(losses):
        row = {"step": n + 1, "max_steps": 1000, "loss": loss, "grad_norm": 0.5, "learning_rate": 1e-5}
        row |= {name.replace("__", "/"): value(n) if callable(value) else value for name, value in columns.items()}
        bad = [name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)]
        row |= dict.fromkeys(bad)
        made.append(row | ({"non_finite": bad} if bad else {}))
    return made


def falling(n=200, start=2.0, end=0.9, noise=0.0, seed=0):
    draw = random.Random(seed)
    return [end + (start - end) * math.exp(-i / 40) + draw.gauss(0, noise) for i in range(n)]


def findings(given):
    health = Health()
    return [finding for row in given for finding in health.add(row)]


def kinds(given):
    return [finding.kind for finding in findings(given)]


@pytest.mark.parametrize(
    "healthy",
    [
        rows(falling()),
        rows([max(0.05, loss) for loss in falling(noise=0.8)]),  # one row a step
        rows(falling(start=11.0, end=1.0, noise=0.2)),  # from scratch
        rows([2.0, 1.9, 1.8, 9.0, 8.0, 1.7, 1.6, 1.6, 1.5, 1.5, 1.5]),  # a spike of two rows
        rows([1.0] * 8, learning_rate=lambda n: 0.0 if n in (0, 7) else 1e-5),  # warm-up and end
        [*rows([1.0, 1.0, 1.0, 0.9]), {"step": 1000, "max_steps": 1000, "train_loss": 1.0, "train_runtime": 3.0}],
        rows([0.69] * 6, rewards__margins=1e-5, rewards__accuracies=0.5),  # too short to say
        rows([0.69] * 40, rewards__margins=lambda n: 0.002 * n, rewards__accuracies=lambda n: 0.5 + 0.004 * n),
        rows([0.3] * 40, rewards__margins=9.0, rewards__accuracies=1.0, rewards__chosen=-8.0),
    ],
)
def test_a_healthy_training_is_left_in_peace(healthy):
    assert findings(healthy) == []


@pytest.mark.parametrize("seed", range(20))
def test_noise_of_small_batches_is_no_divergence(seed):
    draw = random.Random(seed)
    assert kinds(rows([draw.lognormvariate(0, 0.7) for _ in range(300)])) == []


@pytest.mark.parametrize(
    ("given", "kind", "step"),
    [
        (rows([2.0, 1.9, math.nan, math.nan]), "not_finite", 3),
        (rows([2.0, math.inf]), "not_finite", 2),
        (rows([2.0, 2.0], grad_norm=lambda n: math.nan if n else 1.0), "not_finite", 2),
        (rows([6.0, 900.0, 1000.0, 1200.0, 800.0]), "diverging", 5),
        (rows(falling(60) + [5.0] * 20), "diverging", 71),
        (rows([0.69, *[9.0] * 4], rewards__margins=-90.0), "diverging", 5),
        (rows([1.0] * 5, grad_norm=0.0), "no_gradient", 3),
        (rows([1.0] * 5, grad_norm=1e-9), "no_gradient", 3),
        (rows([0.0] * 5, grad_norm=0.0), "no_loss", 3),
        (rows([1.0] * 5, learning_rate=0.0), "no_learning_rate", 3),
        (rows([0.69] * 30, rewards__margins=0.0, rewards__accuracies=0.0), "margins_stuck", 20),
        (
            rows([0.69] * 30, rewards__margins=lambda n: (-1) ** n * 0.01, rewards__accuracies=0.5),
            "accuracies_flat",
            20,
        ),
        (rows([0.1] * 5, rewards__margins=9.0, rewards__chosen=-200.0), "far_from_reference", 3),
        (rows([0.6] * 3, logps__chosen=-math.inf), "not_finite_beside", 1),
        (rows([0.6] * 3, eval_loss=math.nan), "not_finite_beside", 1),
    ],
)
def test_what_is_wrong_is_found_once_and_where(given, kind, step):
    found = findings(given)
    assert [(finding.kind, finding.step, finding.line) for finding in found] == [(kind, step, step)]
    assert found[0].level == ("ruined" if kind == "not_finite" else "doubtful")
    assert found[0].what
    assert found[0].fix


@pytest.mark.parametrize("kept", [None, "x", 3, {}, [1, None, "x", {}, {"kind": "not_finite", "step": "soon"}]])
def test_a_record_that_is_not_whole_is_left_out(kept):
    assert recorded({"watched": kept}) == []
    assert cuts({"retries": kept}) == []


def test_a_finding_is_read_back_as_it_was_recorded():
    found = findings(rows([2.0, math.nan]))
    assert recorded({"watched": [finding.record() for finding in found]}) == found


def test_a_loss_scaler_s_skipped_steps_are_no_ruin():
    first_steps = rows([2.0, 1.9, 1.8], grad_norm=lambda n: math.inf if n == 0 else 1.0)
    assert kinds(first_steps) == ["not_finite"]
    assert kinds([row | {"fp16": True} for row in first_steps]) == ["not_finite_beside"]
    assert kinds(rows([math.nan], fp16=True)) == ["not_finite"]


def test_figures_without_a_finite_mean_are_no_finding():
    for figures in ({"rewards__margins": 1e308}, {"rewards__margins": lambda n: math.inf * (-1) ** n}):
        given = rows(falling(40), rewards__accuracies=0.5, **figures)
        assert not {"margins_stuck", "accuracies_flat"} & set(kinds(given))
    assert "accuracies_flat" not in kinds(rows(falling(40), rewards__accuracies=1e308, rewards__margins=0.1))


def test_a_dpo_loss_of_exactly_0_far_from_its_reference_has_no_masked_labels():
    health, row = Health(), {"max_steps": 100, "loss": 0.0, "grad_norm": 1.0, "rewards/margins": 200.0}
    found = [each for step in range(1, 30) for each in health.add({**row, "step": step})]
    assert "no_loss" not in {finding.kind for finding in found}
