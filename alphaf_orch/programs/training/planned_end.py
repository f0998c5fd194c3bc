"""What transformers' Trainer lacks: a training that is resumed at its planned step ends there."""

from __future__ import annotations

from typing import Any


def end_at_the_planned_step(trainer: Any) -> None:
    """Guarantee that no step is trained beyond `max_steps`, however often a finished training is resumed.

    transformers 5.16.1 compares its count with `max_steps` only after a step (DefaultFlowCallback.on_step_end): resumed
    from the last checkpoint it trains one step more, saves that, and rotation deletes the finished checkpoint. With
    this it loads the weights of the checkpoint and goes straight to its end, where they are saved as ever.
    """
    # Its loop calls the first once an epoch, and no callback can keep it from a first step.
    run_epoch, load_optimizer = trainer._run_epoch, trainer._load_optimizer_and_scheduler

    def steps_are_left() -> bool:
        return bool(trainer.state.global_step < trainer.state.max_steps)

    def run_epoch_if_steps_are_left(*args: Any, **kwargs: Any) -> None:
        if steps_are_left():
            run_epoch(*args, **kwargs)
        else:
            trainer.control.should_training_stop = True

    def load_optimizer_if_steps_are_left(checkpoint: str | None) -> None:
        if steps_are_left():
            load_optimizer(checkpoint)

    trainer._run_epoch = run_epoch_if_steps_are_left
    trainer._load_optimizer_and_scheduler = load_optimizer_if_steps_are_left
