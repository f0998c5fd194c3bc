"""Checkpoints of transformers' own Trainer: which are damaged, which one is used, and where a training ends."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import tiny
from harms import cut, empty, flip, zeros

from alphaf_orch.runs import checkpoints

pytestmark = pytest.mark.filterwarnings("ignore")
PLANNED = 3


def trained(folder: Path, resume: Path | None = None, *, save_steps: int = 1, callbacks: Sequence[Any] = ()) -> Any:
    """Train a tiny Llama to its planned step with a checkpoint a step and return the trainer."""
    from transformers import Trainer, TrainingArguments, set_seed

    from alphaf_orch.programs.training.checkpoint_record import CheckpointRecord
    from alphaf_orch.programs.training.planned_end import end_at_the_planned_step

    set_seed(1)
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=PLANNED, save_steps=save_steps, per_device_train_batch_size=2,
        learning_rate=1e-2, use_cpu=True, report_to="none", disable_tqdm=True, logging_steps=1, seed=1,
    )  # fmt: skip
    model = tiny.llama(320, attention_dropout=0.2)  # so that the random state matters
    rows = [{"input_ids": [n, n + 1, n + 2, 7], "labels": [n, n + 1, n + 2, 7]} for n in range(1, 21)]
    trainer = Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[CheckpointRecord(), *callbacks])
    end_at_the_planned_step(trainer)
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    return trainer


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a training that nothing happened to."""
    pytest.importorskip("transformers", reason="transformers not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        folder = tmp_path_factory.mktemp("온전")
        trained(folder)
    return folder


@pytest.fixture
def stopped(undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its folder as it was after the second of three steps."""
    folder = shutil.copytree(undisturbed, tmp_path / "sft")
    shutil.rmtree(folder / f"checkpoint-{PLANNED}")
    return folder


def weights(folder: Path, step: int = PLANNED) -> bytes:
    return (folder / f"checkpoint-{step}" / "model.safetensors").read_bytes()


def foreign(file: Path) -> None:
    """Put a pickle of someone else's in the place of ours, a whole one."""
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"step": 2}))


DAMAGES = [
    ("rng_state.pth", empty), ("rng_state.pth", zeros), ("rng_state.pth", Path.unlink), ("optimizer.pt", empty),
    ("optimizer.pt", cut),
    ("optimizer.pt", zeros), ("optimizer.pt", flip), ("optimizer.pt", Path.unlink), ("scheduler.pt", empty),
    ("scheduler.pt", Path.unlink), ("model.safetensors", cut), ("model.safetensors", zeros),
    ("model.safetensors", flip), ("model.safetensors", Path.unlink), ("trainer_state.json", cut),
    ("trainer_state.json", Path.unlink), ("trainer_state.json", flip), ("training_args.bin", empty),
    ("optimizer.pt", foreign), ("rng_state.pth", foreign), ("scaler.pt", foreign),
    ("config.json", empty), ("alphaf_checksums.json", empty),
]  # fmt: skip


@pytest.mark.parametrize(("name", "harm"), DAMAGES, ids=[f"{name}-{harm.__name__}" for name, harm in DAMAGES])
def test_a_damaged_newest_checkpoint_is_passed_over_with_the_reason(name: str, harm: Any, stopped: Path) -> None:
    harm(stopped / "checkpoint-2" / name)
    found = checkpoints.start(stopped)
    assert found.checkpoint == stopped / "checkpoint-1"
    (reason,) = found.passed_over
    assert reason.startswith("checkpoint-2 is passed over: ")
    assert name.removeprefix("model") in reason or "no safetensors" in reason
    assert str(stopped) not in reason
    assert (stopped / "checkpoint-2").is_dir(), "what is damaged is the user's"


def test_a_training_goes_on_from_a_checkpoint_as_if_nothing_had_happened(stopped: Path, undisturbed: Path) -> None:
    zeros(stopped / "checkpoint-2" / "optimizer.pt")
    trained(stopped, checkpoints.start(stopped).checkpoint)
    assert weights(stopped) == weights(undisturbed)
    assert checkpoints.start(stopped) == checkpoints.Start(stopped / "checkpoint-3", ())


def test_a_training_that_is_asked_to_stop_in_a_step_ends_behind_it_and_goes_on_to_the_same_weights(
    undisturbed: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What `alphaf` sends a trainer for every wish and signal; no other checkpoint is near."""
    from transformers import TrainerCallback

    from alphaf_orch.programs.training.stop_at_step import STOPPED, StopAtStep

    class Asks(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 1:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(SystemExit) as ended:
        trained(tmp_path / "sft", save_steps=100, callbacks=[StopAtStep(), Asks()])
    assert ended.value.code == STOPPED
    assert "the training was stopped by SIGINT at step 2 of 3" in capfd.readouterr().err
    found = checkpoints.start(tmp_path / "sft")
    assert found == checkpoints.Start(tmp_path / "sft" / "checkpoint-2", ())
    trained(tmp_path / "sft", found.checkpoint)
    assert weights(tmp_path / "sft") == weights(undisturbed)


def test_what_resuming_does_without_is_not_missed_where_no_hashes_were_kept(stopped: Path) -> None:
    """Random states that are absent, and the arguments, which transformers does not read again."""
    (stopped / "checkpoint-2" / "alphaf_checksums.json").unlink()
    (stopped / "checkpoint-2" / "rng_state.pth").unlink()
    empty(stopped / "checkpoint-2" / "training_args.bin")
    assert checkpoints.start(stopped) == checkpoints.Start(stopped / "checkpoint-2", ())
    assert trained(stopped, stopped / "checkpoint-2").state.global_step == PLANNED


def test_where_no_checkpoint_is_whole_the_training_begins_anew(stopped: Path) -> None:
    for step in (1, 2):
        zeros(stopped / f"checkpoint-{step}" / "model.safetensors")
    found = checkpoints.start(stopped)
    assert found.checkpoint is None
    assert [reason.split()[0] for reason in found.passed_over] == ["checkpoint-2", "checkpoint-1"]


def test_a_training_at_its_planned_step_ends_without_another(undisturbed: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(undisturbed, tmp_path / "sft")
    trainer = trained(folder, checkpoints.start(folder).checkpoint)
    assert trainer.state.global_step == PLANNED
    trainer.save_model(str(tmp_path / "finished"))
    assert (tmp_path / "finished" / "model.safetensors").read_bytes() == weights(undisturbed)
    assert len(checkpoints.newest_first(folder)) == PLANNED


def test_whole_weights_at_the_planned_step_are_enough_where_nothing_else_is(undisturbed: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(undisturbed, tmp_path / "sft")
    for step in (1, 2, 3):
        zeros(folder / f"checkpoint-{step}" / "optimizer.pt")
    found = checkpoints.start(folder)
    assert found.checkpoint == folder / "checkpoint-3"
    assert len(found.passed_over) == 3
    trainer = trained(folder, found.checkpoint)
    trainer.save_model(str(tmp_path / "finished"))
    assert (tmp_path / "finished" / "model.safetensors").read_bytes() == weights(undisturbed)


def test_checkpoints_of_a_version_without_checksums_are_taken_as_their_headers_say(stopped: Path) -> None:
    (stopped / "checkpoint-2" / "alphaf_checksums.json").unlink()
    zeros(stopped / "checkpoint-2" / "model.safetensors")
    assert checkpoints.start(stopped).checkpoint == stopped / "checkpoint-2"


def test_a_checkpoint_without_hashes_is_none_of_a_training_that_writes_them(stopped: Path) -> None:
    (stopped / "checkpoint-2" / "alphaf_checksums.json").unlink()
    found = checkpoints.start(stopped, recorded=True)
    assert found.checkpoint == stopped / "checkpoint-1"
    assert (
        "alphaf_checksums.json is missing: it was not saved to its end, or not by this training" in found.passed_over[0]
    )


def test_a_whole_file_of_another_step_is_told_from_the_one_that_was_saved(stopped: Path) -> None:
    shutil.copyfile(stopped / "checkpoint-1" / "scheduler.pt", stopped / "checkpoint-2" / "scheduler.pt")
    assert checkpoints.start(stopped).checkpoint == stopped / "checkpoint-1"
