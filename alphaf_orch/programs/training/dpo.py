"""The DPO child program: trains a LoRA adapter on preference pairs with TRL, on unsloth where CUDA is there.

Usage: python dpo.py CONFIG.yaml [--resume_from_checkpoint PATH]. Finished means: output_dir holds the adapter and
a trainer_state.json whose global_step equals max_steps. That file comes last, so a stopped run has none.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import shutil
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alphaf_orch.programs.common import Failure
from alphaf_orch.programs.dpo_config import DpoConfig, DpoError, load_config
from alphaf_orch.programs.tracker_keys import tracker_variables
from alphaf_orch.programs.training.dpo_data import check_report, load_preferences, token_report, write_probe
from alphaf_orch.programs.training.dpo_model import (
    choose_backend,
    compute_dtype,
    load_model,
    settle_adapters,
    trainer_arguments,
)
from alphaf_orch.programs.training.rank_errors import record_uncaught

STATE = "trainer_state.json"
TOOLS = ("torch", "transformers", "trl", "peft", "bitsandbytes", "unsloth", "unsloth_zoo")


class Stopped(KeyboardInterrupt):
    """A signal that ended the run; str() is its name."""


def main(argv: list[str] | None = None) -> int:
    """Run one DPO training and return the exit code: 0 only when every step was trained and saved."""
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
    except DpoError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    except Failure as error:
        print(error.message, file=sys.stderr)
        return int(error.code or 1)
    except Stopped as error:
        fix = "run again: it resumes from the newest whole checkpoint"
        print(DpoError(f"DPO was stopped by {error}", where=where, fix=fix), file=sys.stderr)
        return 128 + signal.Signals[str(error)]
    return 0


def train(config: DpoConfig, resume: Path | None) -> None:
    """Train to the last step and put the adapter, the tokenizer and the trainer's state into output_dir."""
    output = Path(config.output_dir)
    _check_paths(config, output, resume)
    backend = choose_backend(config.backend)
    if backend == "unsloth":
        import unsloth  # noqa: F401  # before transformers, trl and peft, which it patches
    import torch
    from accelerate import PartialState
    from datasets import Dataset
    from transformers import AutoTokenizer, set_seed
    from trl import DPOConfig, DPOTrainer

    from alphaf_orch.programs.architectures.orion import register
    from alphaf_orch.programs.training.batch_record import BatchRecord
    from alphaf_orch.programs.training.checkpoint_record import CheckpointRecord
    from alphaf_orch.programs.training.cpu_quantization import KeepGradients
    from alphaf_orch.programs.training.metrics_callback import MetricsCallback
    from alphaf_orch.programs.training.nf4_check import check_nf4, linear_shapes
    from alphaf_orch.programs.training.planned_end import end_at_the_planned_step

    register()
    tokenizer = AutoTokenizer.from_pretrained(config.base_model, trust_remote_code=config.trust_remote_code)
    _check_tokenizer(tokenizer, config.base_model)
    pairs = load_preferences(config.datasets)
    if config.val_set_size >= len(pairs):
        what = f"val_set_size {config.val_set_size:g} leaves none of {len(pairs)} pairs to train on"
        raise DpoError(what, where="val_set_size", fix="lower it", exit_code=2)
    report = token_report(tokenizer, pairs, config.sequence_len)
    for warning in check_report(report, config.sequence_len):
        say(f"warning: {warning}")
    dtype = compute_dtype(config.bf16)
    try:
        arguments = DPOConfig(**trainer_arguments(config, backend, str(dtype)))
    except ValueError as error:
        fix = "mend optimizer or lr_scheduler in the recipe (dpo.yaml)"
        raise DpoError(f"TRL rejects the settings: {error}", where=config.base_model, fix=fix) from error

    state = PartialState()
    device = f"cuda:{state.local_process_index}" if torch.cuda.is_available() else "cpu"
    if config.load_in_4bit:
        shapes = linear_shapes(config.base_model, None, trust_remote_code=config.trust_remote_code)
        check_nf4(shapes, dtype, fix="train on unquantised weights: --set dpo.load_in_4bit=false")
    set_seed(config.seed)  # the trainer seeds itself only after it has drawn the adapter's first weights
    model, peft_config = load_model(config, backend, dtype, device, distributed=state.num_processes > 1)
    _check_model(model, tokenizer, config)
    data = {"train": Dataset.from_list(pairs), "test": None}
    if config.val_set_size:
        size = int(config.val_set_size) if config.val_set_size >= 1 else config.val_set_size
        data = data["train"].train_test_split(test_size=size, seed=config.seed)
    set_seed(config.seed)  # again: TRL draws the adapter here, and loading in 4 bits may have drawn otherwise
    trainer = DPOTrainer(
        model=model,
        ref_model=None,  # the reference is the same model without its adapter
        args=arguments,
        train_dataset=data["train"],
        eval_dataset=data["test"],
        processing_class=tokenizer,
        peft_config=peft_config,
        callbacks=[MetricsCallback(), KeepGradients(), BatchRecord(), CheckpointRecord(), finite_loss_callback()],
    )
    settle_adapters(trainer.model)
    end_at_the_planned_step(trainer)
    # The card of every checkpoint would load trackio and gradio for a text nobody reads.
    trainer.create_model_card = lambda **_: None
    say(
        f"DPO with {backend} on {device}, {dtype}: {report.rows} pairs, {report.truncated} cut at"
        f" {config.sequence_len} tokens, {report.dropped} left out, {report.equal} with two equal answers"
    )
    if state.is_main_process:
        record = {"backend": backend, "device": device, "dtype": str(dtype), "data": asdict(report)}
        _write_json(output / "backend.json", record | {"versions": versions()})
        if config.probe:
            write_probe(Path(config.probe), trainer)
    try:
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    except torch.OutOfMemoryError as error:
        fix = "halve micro_batch_size and double gradient_accumulation_steps, or lower sequence_len"
        raise DpoError("the GPU has too little memory", where=config.output_dir, fix=fix) from error
    reached = trainer.state
    if reached.global_step != reached.max_steps:
        what = f"training ended at step {reached.global_step} of {reached.max_steps}"
        raise DpoError(what, where=config.output_dir, fix="read the log above, then run again")
    if state.is_main_process:
        save_finished(trainer, output, config)
    state.wait_for_everyone()
    say(f"DPO finished: {reached.global_step} steps, adapter in {output}")


def finite_loss_callback() -> Any:
    """Return a callback that ends training at the first loss that is not a finite number."""
    from transformers import TrainerCallback

    class FiniteLoss(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, *_: Any, logs: dict[str, Any], **__: Any) -> None:
            for name in ("loss", "eval_loss", "train_loss"):
                if not math.isfinite(logs.get(name, 0.0)):
                    what = f"{name} is {logs[name]} at step {state.global_step}"
                    fix = "lower learning_rate, or look for broken rows; the adapter was not saved"
                    raise DpoError(what, where=args.output_dir, fix=fix)

    return FiniteLoss()


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


def versions() -> dict[str, str]:
    """Return the installed version of each tool that trained."""
    found = {}
    for tool in TOOLS:
        try:
            found[tool] = importlib.metadata.version(tool)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def say(text: str) -> None:
    """Print one line, from the first rank only."""
    if os.environ.get("RANK", "0") == "0":
        print(text, flush=True)


def _check_paths(config: DpoConfig, output: Path, resume: Path | None) -> None:
    if not (Path(config.base_model) / "config.json").is_file():
        fix = "merge the SFT adapter first"
        raise DpoError("base_model is not a folder with a model", where=config.base_model, fix=fix)
    if (output / STATE).is_file() and resume is None:
        fix = "move it away to train again"
        raise DpoError("output_dir already holds a finished training", where=str(output), fix=fix)
    if resume is not None and not (resume / STATE).is_file():
        fix = "name a checkpoint-N folder, or leave the option out"
        raise DpoError("the checkpoint to resume from is not whole", where=str(resume), fix=fix)


def _check_tokenizer(tokenizer: Any, folder: str) -> None:
    fix = "merge again, with the tokenizer files that the SFT stage saved"
    if tokenizer.chat_template is None:
        raise DpoError("the tokenizer has no chat template", where=folder, fix=fix)
    for name in ("eos_token", "pad_token"):
        if getattr(tokenizer, name) is None:
            raise DpoError(f"the tokenizer has no {name}", where=folder, fix=fix)


def _check_model(model: Any, tokenizer: Any, config: DpoConfig) -> None:
    size = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > size:
        what = f"the tokenizer has {len(tokenizer)} tokens and the model only {size} embedding rows"
        raise DpoError(what, where=config.base_model, fix="merge again, with the adapter's own vocabulary")
    present = {part for name, _ in model.named_modules() for part in name.split(".")}
    absent = sorted(set(config.lora_target_modules) - present)
    if absent:
        # peft is content when one of the names matches and leaves the others out in silence.
        what = f"the model has no modules named {', '.join(absent)}"
        raise DpoError(what, where="lora_target_modules", fix="name the linear layers of this architecture")


def _write_json(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(record, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def _stop(number: int, _: Any) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
    raise Stopped(signal.Signals(number).name)


if __name__ == "__main__":
    sys.exit(main())
