"""The model and trainer settings of the DPO program: unsloth on CUDA, plain transformers elsewhere."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import asdict
from typing import Any

from alphaf_orch.programs.common import FAILED, Failure
from alphaf_orch.programs.dpo_config import DpoConfig
from alphaf_orch.programs.tracker_keys import run_name, used_trackers


def choose_backend(wanted: str) -> str:
    """Return `unsloth` or `transformers`; auto is unsloth where CUDA is there, never a silent fall-back."""
    import torch

    cuda = torch.cuda.is_available()
    backend = wanted if wanted != "auto" else ("unsloth" if cuda else "transformers")
    if backend == "unsloth" and not cuda:
        fix = "set backend: auto or transformers"
        raise Failure(
            FAILED, "unsloth cannot train without a CUDA GPU", where="backend: unsloth", fix=fix, code="stage.needs_gpu"
        )
    if backend == "unsloth" and importlib.util.find_spec("unsloth") is None:
        fix = "install the gpu extra, or set backend: transformers"
        raise Failure(FAILED, "unsloth is not installed", where=sys.executable, fix=fix, code="stage.not_installed")
    return backend


def compute_dtype(bf16: bool | str) -> Any:
    """Return the torch dtype to compute in; `auto` is bfloat16, on older GPUs float16, without CUDA float32."""
    import torch

    if not torch.cuda.is_available():
        if bf16 is True:
            raise Failure(
                FAILED,
                "bf16 needs a CUDA GPU",
                where="bf16: true",
                fix="set bf16: auto or false",
                code="stage.needs_gpu",
            )
        return torch.float32
    supported = torch.cuda.is_bf16_supported(including_emulation=False)
    if bf16 is True and not supported:
        raise Failure(
            FAILED,
            "this GPU has no bfloat16",
            where="bf16: true",
            fix="set bf16: auto (float16 is used)",
            code="stage.no_bfloat16",
        )
    if bf16 is False:
        return torch.float32
    return torch.bfloat16 if supported else torch.float16


def trainer_arguments(config: DpoConfig, backend: str, dtype: str) -> dict[str, Any]:
    """Return the keywords of TRL's DPOConfig for these settings."""
    tracked = asdict(config)
    evaluation = "no" if not config.val_set_size else ("steps" if config.eval_steps else "epoch")
    return {
        "output_dir": config.output_dir,
        "max_length": config.sequence_len,
        "beta": config.beta,
        "loss_type": [config.loss_type],
        # TRL zeroes every dropout by default, lora_dropout with it, without a word.
        "disable_dropout": config.lora_dropout == 0,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.lr_scheduler,
        "warmup_steps": config.warmup_ratio,  # transformers 5 reads a value below 1 as a share of all steps
        "num_train_epochs": config.num_epochs,
        "max_steps": config.max_steps or -1,
        "per_device_train_batch_size": config.micro_batch_size,
        "per_device_eval_batch_size": config.micro_batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "optim": config.optimizer,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "adam_beta1": config.adam_beta1,
        "adam_beta2": config.adam_beta2,
        "adam_epsilon": config.adam_epsilon,
        "bf16": dtype == "torch.bfloat16",
        "fp16": dtype == "torch.float16",
        "gradient_checkpointing": config.gradient_checkpointing,
        # unsloth brings its own checkpointing and sets this itself.
        "gradient_checkpointing_kwargs": None if backend == "unsloth" else {"use_reentrant": False},
        "ddp_find_unused_parameters": False,  # every adapter weight is used in every step
        "seed": config.seed,
        "logging_steps": config.logging_steps,
        "disable_tqdm": True,  # lines, not a bar: the output goes into a log file
        "logging_nan_inf_filter": False,  # the filter would hide a diverged loss
        "include_num_input_tokens_seen": "non_padding",
        "save_strategy": "steps",
        "save_steps": config.save_steps,
        "save_total_limit": config.save_total_limit,
        "eval_strategy": evaluation,
        "eval_steps": config.eval_steps,
        "dataset_num_proc": config.dataset_num_proc,
        "trust_remote_code": config.trust_remote_code,
        "report_to": list(used_trackers(tracked)) or "none",
        "run_name": run_name(tracked),
        "project": config.trackio_project_name or "huggingface",  # trackio's name for it, and transformers' default
        "trackio_space_id": config.trackio_space_id,
    }


def load_model(config: DpoConfig, backend: str, dtype: Any, device: str, *, distributed: bool) -> tuple[Any, Any]:
    """Return the base model and the LoRA settings for TRL to wrap it with; unsloth has wrapped it already."""
    if backend == "unsloth":
        from unsloth import FastLanguageModel

        model, _ = FastLanguageModel.from_pretrained(**unsloth_load(config, dtype, device, distributed=distributed))
        return FastLanguageModel.get_peft_model(model, **unsloth_lora(config)), None
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,  # as in the SFT stage (axolotl's default)
        bnb_4bit_compute_dtype=dtype,
    )
    model = AutoModelForCausalLM.from_pretrained(
        config.base_model,
        dtype=dtype,
        quantization_config=quantization if config.load_in_4bit else None,
        device_map={"": device},
        trust_remote_code=config.trust_remote_code,
    )
    lora = LoraConfig(
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=config.lora_target_modules,
        bias="none",
        task_type="CAUSAL_LM",
    )
    return model, lora


def unsloth_load(config: DpoConfig, dtype: Any, device: str, *, distributed: bool) -> dict[str, Any]:
    """Return the keywords of unsloth's FastLanguageModel.from_pretrained."""
    placement = {"device_map": {"": device}} if distributed else {}
    return placement | {
        "model_name": config.base_model,
        "max_seq_length": config.sequence_len,
        "dtype": dtype,
        "load_in_4bit": config.load_in_4bit,
        "use_gradient_checkpointing": "unsloth" if config.gradient_checkpointing else False,
        "trust_remote_code": config.trust_remote_code,
        "use_exact_model_name": True,  # never swap the folder for one of unsloth's own uploads
        "fix_tokenizer": False,  # the merged model's tokenizer is right, and the only one used
        "random_state": config.seed,
    }


def unsloth_lora(config: DpoConfig) -> dict[str, Any]:
    """Return the keywords of unsloth's FastLanguageModel.get_peft_model, the model aside."""
    return {
        "r": config.lora_r,
        "lora_alpha": config.lora_alpha,
        "lora_dropout": config.lora_dropout,
        "target_modules": config.lora_target_modules,
        "bias": "none",
        "use_gradient_checkpointing": "unsloth" if config.gradient_checkpointing else False,
        "random_state": config.seed,
        "max_seq_length": config.sequence_len,
    }


def settle_adapters(model: Any) -> None:
    """Leave one adapter, its weights in float32.

    TRL gives a model that came wrapped a second adapter `ref`, which would be saved too; a fresh adapter is zero,
    so the reference is the model without one. TRL also casts the adapter of a 4-bit model to bfloat16, whose
    steps near a weight w are w/256: updates of a DPO learning rate (5e-6) would be rounded away.
    """
    import torch

    if "ref" in model.peft_config:
        model.delete_adapter("ref")
    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype in (torch.bfloat16, torch.float16):
            parameter.data = parameter.data.float()
