"""Child program: trains a LoRA adapter on preference pairs with TRL, on unsloth where CUDA is there.

Usage: python -m alphaf_orch.programs.training.dpo CONFIG.yaml [--resume_from_checkpoint PATH]

Finished means: output_dir holds the adapter and a trainer_state.json whose global_step equals max_steps. That file
comes last, so a stopped run has none.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alphaf_orch.programs.common import CONFIG, FAILED, Failure, program, write_json
from alphaf_orch.programs.dpo_config import DpoConfig, load_config
from alphaf_orch.programs.tracker_keys import tracker_variables
from alphaf_orch.programs.training.dpo_data import (
    TokenReport,
    check_report,
    load_preferences,
    token_report,
    write_probe,
)
from alphaf_orch.programs.training.dpo_model import (
    choose_backend,
    compute_dtype,
    load_model,
    settle_adapters,
    trainer_arguments,
)
from alphaf_orch.programs.training.rank_errors import record_uncaught
from alphaf_orch.programs.versions import installed

STATE = "trainer_state.json"
TOOLS = ("torch", "transformers", "trl", "peft", "bitsandbytes", "unsloth", "unsloth_zoo")


class Stopped(KeyboardInterrupt):
    """A signal that ended the run; str() is its name."""


def main(argv: list[str]) -> None:
    """Run one DPO training; returns only when every step was trained and saved."""
    parser = argparse.ArgumentParser(description="DPO on a merged SFT model.")
    parser.add_argument("config", type=Path)
    parser.add_argument("--resume_from_checkpoint", type=Path)
    options = parser.parse_args(argv)
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, _stop)
    record_uncaught()
    where = str(options.config)
    try:
        config = load_config(options.config)
        os.environ.update(tracker_variables(asdict(config)))
        where = config.output_dir
        train(config, options.resume_from_checkpoint)
    except Stopped as error:
        fix = "run again: it resumes from the newest whole checkpoint"
        code = 128 + signal.Signals[str(error)]
        raise Failure(code, f"DPO was stopped by {error}", where=where, fix=fix, code="interrupt.stopped") from None


def train(config: DpoConfig, resume: Path | None) -> None:
    """Train to the last step and put the adapter, the tokenizer and the trainer's state into output_dir."""
    output = Path(config.output_dir)
    _check_paths(config, output, resume)
    backend = choose_backend(config.backend)
    if backend == "unsloth":
        import unsloth  # noqa: F401  # before transformers, trl and peft, which it patches
    import torch
    from accelerate import PartialState
    from transformers import AutoTokenizer

    from alphaf_orch.programs.architectures.orion import register

    register()
    tokenizer = AutoTokenizer.from_pretrained(config.base_model, trust_remote_code=config.trust_remote_code)
    _check_tokenizer(tokenizer, config.base_model)
    pairs, report = _pairs(config, tokenizer)
    dtype = compute_dtype(config.bf16)
    arguments = _arguments(config, backend, str(dtype))
    state = PartialState()
    _check_ranks(state.num_processes)
    device = f"cuda:{state.local_process_index}" if torch.cuda.is_available() else "cpu"
    model, peft_config = _model(config, backend, dtype, device, distributed=state.num_processes > 1)
    _check_model(model, tokenizer, config)
    trainer = _trainer(config, model, peft_config, arguments, tokenizer, _split(pairs, config))
    say(
        f"DPO with {backend} on {device}, {dtype}: {report.rows} pairs, {report.truncated} cut at"
        f" {config.sequence_len} tokens, {report.dropped} left out, {report.equal} with two equal answers"
    )
    if state.is_main_process:
        record = {"backend": backend, "device": device, "dtype": str(dtype), "data": asdict(report)}
        write_json(output / "backend.json", record | {"versions": installed(TOOLS)})
        if config.probe:
            write_probe(Path(config.probe), trainer)
    _run(trainer, resume)
    if state.is_main_process:
        save_finished(trainer, output, config)
    state.wait_for_everyone()
    say(f"DPO finished: {trainer.state.global_step} steps, adapter in {output}")


def _pairs(config: DpoConfig, tokenizer: Any) -> tuple[list[dict[str, Any]], TokenReport]:
    """Return the preference rows and what tokenising makes of them; raise Failure where they can't be trained on."""
    pairs = load_preferences(config.datasets)
    if config.val_set_size >= len(pairs):
        what = f"val_set_size {config.val_set_size:g} leaves none of {len(pairs)} pairs to train on"
        raise Failure(CONFIG, what, where="val_set_size", fix="lower it", code="config.out_of_range")
    report = token_report(tokenizer, pairs, config.sequence_len)
    for warning in check_report(report, config.sequence_len):
        say(f"warning: {warning}")
    return pairs, report


def _arguments(config: DpoConfig, backend: str, dtype: str) -> Any:
    from trl import DPOConfig

    try:
        return DPOConfig(**trainer_arguments(config, backend, dtype))
    except ValueError as error:
        fix = "mend optimizer or lr_scheduler in the recipe (dpo.yaml)"
        raise Failure(
            FAILED, f"TRL rejects the settings: {error}", where=config.base_model, fix=fix, code="stage.recipe_refused"
        ) from error


def _model(config: DpoConfig, backend: str, dtype: Any, device: str, *, distributed: bool) -> tuple[Any, Any]:
    """Return the model and its LoRA settings, drawn from the seed; raise Failure where its 4-bit values are wrong."""
    from transformers import set_seed

    from alphaf_orch.programs.training.nf4_check import check_nf4, linear_shapes

    if config.load_in_4bit:
        shapes = linear_shapes(config.base_model, None, trust_remote_code=config.trust_remote_code)
        check_nf4(shapes, dtype, fix="train on unquantised weights: --set dpo.load_in_4bit=false")
    set_seed(config.seed)  # the trainer seeds itself only after it has drawn the adapter's first weights
    return load_model(config, backend, dtype, device, distributed=distributed)


def _split(pairs: list[dict[str, Any]], config: DpoConfig) -> Mapping[str, Any]:
    """Return the rows to train on and, where the config asks for it, those to test on."""
    from datasets import Dataset

    data = Dataset.from_list(pairs)
    if not config.val_set_size:
        return {"train": data, "test": None}
    size = int(config.val_set_size) if config.val_set_size >= 1 else config.val_set_size
    split: Mapping[str, Any] = data.train_test_split(test_size=size, seed=config.seed)
    return split


def _trainer(
    config: DpoConfig, model: Any, peft_config: Any, arguments: Any, tokenizer: Any, data: Mapping[str, Any]
) -> Any:
    """Return TRL's trainer with our callbacks, one adapter in float32, and its end at the planned step."""
    from transformers import set_seed
    from trl import DPOTrainer

    from alphaf_orch.programs.training.batch_record import BatchRecord
    from alphaf_orch.programs.training.checkpoint_record import CheckpointRecord
    from alphaf_orch.programs.training.cpu_quantization import KeepGradients
    from alphaf_orch.programs.training.finite_loss import FiniteLoss
    from alphaf_orch.programs.training.metrics_callback import MetricsCallback
    from alphaf_orch.programs.training.planned_end import end_at_the_planned_step
    from alphaf_orch.programs.training.resume_device import load_adapter_beside_the_gpu
    from alphaf_orch.programs.training.stop_at_step import StopAtStep

    set_seed(config.seed)  # again: TRL draws the adapter here, and loading in 4 bits may have drawn otherwise
    trainer = DPOTrainer(
        model=model,
        ref_model=None,  # the reference is the same model without its adapter
        args=arguments,
        train_dataset=data["train"],
        eval_dataset=data["test"],
        processing_class=tokenizer,
        peft_config=peft_config,
        callbacks=[
            MetricsCallback(),
            KeepGradients(),
            BatchRecord(),
            CheckpointRecord(),
            StopAtStep(),
            FiniteLoss(),  # behind whatever has a step saved
        ],
    )
    settle_adapters(trainer.model)
    end_at_the_planned_step(trainer)
    load_adapter_beside_the_gpu(trainer)
    # The card of every checkpoint would load trackio and gradio for a text nobody reads.
    trainer.create_model_card = lambda **_: None
    return trainer


def _run(trainer: Any, resume: Path | None) -> None:
    """Train to the last step; raise Failure where that is not reached."""
    import torch

    where = trainer.args.output_dir
    try:
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    except torch.OutOfMemoryError as error:
        fix = "halve micro_batch_size and double gradient_accumulation_steps, or lower sequence_len"
        what = f"the GPU has too little memory: {str(error).splitlines()[0]}" if str(error) else "CUDA out of memory"
        raise Failure(FAILED, what, where=where, fix=fix, code="stage.out_of_memory") from error
    reached = trainer.state
    if reached.global_step != reached.max_steps:
        what = f"training ended at step {reached.global_step} of {reached.max_steps}"
        raise Failure(FAILED, what, where=where, fix="read the log above, then run again", code="stage.out_of_memory")


def save_finished(trainer: Any, output: Path, config: DpoConfig) -> None:
    """Put the adapter, the base's own tokenizer and, last, the trainer's state into output_dir."""
    from transformers import AutoTokenizer

    partial = output / ".partial"
    shutil.rmtree(partial, ignore_errors=True)
    model = trainer.accelerator.unwrap_model(trainer.model)
    model.save_pretrained(partial, selected_adapters=["default"], save_embedding_layers=False)
    # A fresh copy: the trainers change the padding of the one they were given.
    AutoTokenizer.from_pretrained(config.base_model, trust_remote_code=config.trust_remote_code).save_pretrained(
        partial
    )
    trainer.state.save_to_json(str(partial / STATE))
    for path in sorted(partial.iterdir(), key=lambda path: path.name == STATE):
        target = output / path.name
        if target.is_dir():
            shutil.rmtree(target)
        path.replace(target)
    partial.rmdir()


def say(text: str) -> None:
    """Print one line, from the first rank only."""
    if os.environ.get("RANK", "0") == "0":
        print(text, flush=True)


def _check_paths(config: DpoConfig, output: Path, resume: Path | None) -> None:
    if not (Path(config.base_model) / "config.json").is_file():
        fix = "merge the SFT adapter first"
        raise Failure(
            FAILED,
            "base_model is not a folder with a model",
            where=config.base_model,
            fix=fix,
            code="stage.model_missing",
        )
    if (output / STATE).is_file() and resume is None:
        fix = "move it away to train again"
        raise Failure(
            FAILED, "output_dir already holds a finished training", where=output, fix=fix, code="stage.folder_taken"
        )
    if resume is not None and not (resume / STATE).is_file():
        fix = "name a checkpoint-N folder, or leave the option out"
        raise Failure(
            FAILED, "the checkpoint to resume from is not whole", where=resume, fix=fix, code="stage.checkpoint_damaged"
        )


def _check_ranks(known: int) -> None:
    """Raise Failure in ranks that accelerate left apart: each would train on every row and write the same files."""
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched != known:
        what = f"{launched} ranks were launched and this one knows of {known}: its torch sees no GPU"
        fix = "mend the GPU driver (`nvidia-smi`, torch.cuda.is_available() in that environment), or use --dpo-gpus 0"
        raise Failure(FAILED, what, where=sys.executable, fix=fix, code="stage.other_ranks")


def _check_tokenizer(tokenizer: Any, folder: str) -> None:
    fix = "merge again, with the tokenizer files that the SFT stage saved"
    if tokenizer.chat_template is None:
        raise Failure(
            FAILED, "the tokenizer has no chat template", where=folder, fix=fix, code="stage.no_chat_template"
        )
    for name in ("eos_token", "pad_token"):
        if getattr(tokenizer, name) is None:
            raise Failure(FAILED, f"the tokenizer has no {name}", where=folder, fix=fix, code="stage.token_missing")


def _check_model(model: Any, tokenizer: Any, config: DpoConfig) -> None:
    size = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > size:
        what = f"the tokenizer has {len(tokenizer)} tokens and the model only {size} embedding rows"
        raise Failure(
            FAILED,
            what,
            where=config.base_model,
            fix="merge again, with the adapter's own vocabulary",
            code="stage.embedding_rows",
        )
    present = {part for name, _ in model.named_modules() for part in name.split(".")}
    absent = sorted(set(config.lora_target_modules) - present)
    if absent:
        # peft is content when one of the names matches and leaves the others out in silence.
        what = f"the model has no modules named {', '.join(absent)}"
        raise Failure(
            FAILED,
            what,
            where="lora_target_modules",
            fix="name the linear layers of this architecture",
            code="stage.no_such_modules",
        )


def _stop(number: int, _: Any) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
    raise Stopped(signal.Signals(number).name)


if __name__ == "__main__":
    program(main)
