"""lm-eval's own configuration file for one model: every value that its figures depend on is written out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaf_orch.core.record import fingerprint
from alphaf_orch.evaluation.options import REQUESTS, SERVERS, Target

if TYPE_CHECKING:
    from alphaf_orch.evaluation.cells import Cell, Place
    from alphaf_orch.runs.chain import ChainModel

VERSION = 1  # raised by hand when the same settings come to mean other figures
SEEDS = (0, 1234, 1234, 1234)  # lm-eval's own: python, numpy, torch, few-shot
# lm-eval's own; `auto` starts from it and halves
MAX_BATCH = 64
# measured with SmolLM2 135M (docs/evaluation.md): the quickest, and likelihoods take memory by the row
CPU_BATCH = 4
_LM_EVAL = {"hf": "hf", "vllm": "vllm", "openai": "local-completions", "openai-chat": "local-chat-completions"}


def lm_eval_config(place: Place, cells: Sequence[Cell]) -> dict[str, Any]:
    """Return what lm-eval reads to ask one model the tasks of all cells."""
    model, target, settings = cells[0].model, place.target, cells[0].settings
    limits = {cell.settings["limit"] for cell in cells if cell.settings["limit"] is not None}
    values: dict[str, Any] = {
        "model": _LM_EVAL[target.backend],
        "model_args": _model_args(place, model, settings),
        "tasks": [cell.task.name for cell in cells],
        "include_path": str(place.paths.rendered(f"eval_{model.stage}")),
        "limit": limits.pop() if limits else None,
        "seed": list(SEEDS),
        "apply_chat_template": True,
        "fewshot_as_multiturn": True,
        "batch_size": _batch_size(target),
        "log_samples": True,
        "output_path": str(place.output(model.stage) / "results.json"),
        "use_cache": str(_responses(place, model, settings)),
    }
    if target.backend == "hf":
        values |= {"device": "cuda" if target.gpus else "cpu", "max_batch_size": MAX_BATCH}
    if settings["stop_token_ids"]:
        values["gen_kwargs"] = {"eos_token_id": settings["stop_token_ids"]}
    return values


def _responses(place: Place, model: ChainModel, settings: Mapping[str, Any]) -> Path:
    """Return where lm-eval keeps each answer until all are there, apart for whatever would answer otherwise."""
    kept = {key: value for key, value in settings.items() if key != "limit"}
    known_by = fingerprint([VERSION, model.identity, place.tokenizer_identity(model), kept])
    return place.scratch / model.stage / f"responses-{known_by[:16]}" / "answers"


def _batch_size(target: Target) -> int | str:
    if target.backend in SERVERS:
        # A server batches for itself; --batch-size says how many requests are under way.
        return 1
    automatic: int | str = "auto" if target.gpus else CPU_BATCH
    return automatic if target.batch_size is None else target.batch_size


def _model_args(place: Place, model: ChainModel, settings: Mapping[str, Any]) -> dict[str, Any]:
    target, tokenizer = place.target, str(place.tokenizer(model))
    if target.backend in SERVERS:
        chat = target.backend == "openai-chat"
        args: dict[str, Any] = {
            "model": target.server_model,
            "base_url": f"{target.server}/{'chat/completions' if chat else 'completions'}",
            "num_concurrent": target.batch_size or REQUESTS,
            "max_retries": 5,
            "timeout": 600,
        }
        if chat:
            return args
        # Prompts are rendered and tokenised here: the server gets the very tokens that training had.
        return args | {
            "tokenizer_backend": "huggingface",
            "tokenizer": tokenizer,
            "tokenized_requests": True,
            # It would cut longer prompts without a word; the server refuses them.
            "max_length": 10**6,
            "trust_remote_code": place.trust_remote_code,
        }
    args = {
        "pretrained": model.path,
        **({"revision": model.revision} if model.revision else {}),
        "tokenizer": tokenizer,
        # Chat templates write their own BOS; lm-eval's default would let the tokenizer add one that training had not.
        "add_bos_token": False,
        "dtype": settings["dtype"],
        "max_length": settings["max_length"],
        "trust_remote_code": place.trust_remote_code,
    }
    if target.backend == "vllm":
        args |= {"tensor_parallel_size": target.gpus, "gpu_memory_utilization": 0.9, "seed": SEEDS[2]}
    return args
