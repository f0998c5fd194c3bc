"""The callback that ends a training whose loss is no number."""

import math
from types import SimpleNamespace

import pytest

from alphaf_orch.programs.common import Failure
from alphaf_orch.programs.training.finite_loss import FiniteLoss

STATE = SimpleNamespace(global_step=7)


def heard(fp16=False, **logs):
    FiniteLoss().on_log(SimpleNamespace(output_dir="out", fp16=fp16), STATE, None, logs=logs)


@pytest.mark.parametrize("logs", [{"loss": math.nan}, {"loss": math.inf}, {"train_loss": math.nan}])
def test_a_loss_that_is_no_number_ends_the_training_and_says_at_which_step(logs, capsys):
    with pytest.raises(Failure):
        heard(**logs)
    assert f"error: {next(iter(logs))} is {next(iter(logs.values()))} at step 7" in capsys.readouterr().err


def test_a_gradient_that_is_no_number_does_so_but_under_a_loss_scaler(monkeypatch):
    with pytest.raises(Failure):
        heard(loss=1.0, grad_norm=math.inf)
    heard(fp16=True, loss=1.0, grad_norm=math.inf)
    heard(loss=1.0, grad_norm=0.0, eval_loss=math.nan)
    monkeypatch.setenv("ALPHAF_ON_UNHEALTHY", "warn")
    heard(loss=math.nan)


@pytest.mark.parametrize("saves", [True, False])
def test_what_is_saved_is_logged_first(saves):
    control = SimpleNamespace(should_save=saves, should_log=False)
    FiniteLoss().on_step_end(None, STATE, control)
    assert control.should_log is saves
