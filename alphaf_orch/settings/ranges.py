"""Which numbers a recipe's keys take: one table, for what axolotl's own schema leaves open, each with its source.

What the schema limits itself is in its record (schemas/axolotl.json); the DPO program's limits stand in its own
definition. A number that is none (nan) or infinite is refused everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alphaf_orch.core.values import finite


@dataclass(frozen=True)
class Range:
    """The numbers that a key takes: between two bounds, which belong to it unless `above` or `below` say otherwise."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False  # low itself is not taken
    below: bool = False  # high itself is not taken
    also: tuple[float, ...] = ()  # taken though it lies outside
    whole_from: float | None = None  # a share below 1, and whole numbers from there on
    null: bool = True  # whether `null` leaves it to the tool

    def takes(self, value: float) -> bool:
        """Whether the number is one of them."""
        if not finite(value):
            return False
        if value in self.also:
            return True
        if self.whole_from is not None and value >= 1 and (value != int(value) or value < self.whole_from):
            return False
        over = value > self.low if self.above else value >= self.low
        return over and (value < self.high if self.below else value <= self.high)

    def told(self, *, whole: bool) -> str:
        """Return the numbers in words, `whole` where the key takes no fraction."""
        if self.whole_from is not None:
            first = self.whole_from
            if self.above:
                return f"a share above 0 and below 1, or a whole number of {first:g} or more"
            return f"0, a share below 1, or a whole number of {first:g} or more"
        span = self._bounds("a whole number" if whole else "a number")
        for value in self.also:
            span = f"{span}, or {value:g}"
        return span

    def _bounds(self, span: str) -> str:
        low = "" if self.low == -math.inf else f"{self.low:g}"
        high = "" if self.high == math.inf else f"{self.high:.10g}"
        match low, high:
            case "", "":
                return span
            case "", _:
                return f"{span} of {high} or less"
            case _, "":
                return f"{span} above {low}" if self.above else f"{span} of {low} or more"
        if self.above:
            return f"{span} above {low} and below {high}" if self.below else f"{span} above {low} and up to {high}"
        return f"{span} from {low} to below {high}" if self.below else f"{span} from {low} to {high}"


_ANY = Range()
_COUNT = Range(1)
_NEEDED_COUNT = Range(1, null=False)
_AMOUNT = Range(0)
_POSITIVE = Range(0, above=True)
_SHARE = Range(0, 1)
_SOME = Range(0, 1, above=True)
_FRACTION = Range(0, 1, below=True)

# transformers/training_args.py: a float below 1 is a share of all steps; "must be an integer if bigger than 1".
_STEPS = Range(0, above=True, whole_from=1)

SFT: Mapping[str, Range] = {
    # torch.optim: "Invalid learning rate" below 0; with 0 no weight moves [ours]
    "learning_rate": Range(0, above=True, null=False),
    "embedding_lr": _POSITIVE, "dion_lr": _POSITIVE, "loraplus_lr_embedding": _POSITIVE,
    # peft/optimizers/loraplus.py multiplies the learning rate by it
    "loraplus_lr_ratio": _POSITIVE, "embedding_lr_scale": _POSITIVE, "lr_div_factor": _POSITIVE,
    # torch.optim.AdamW: "Invalid weight_decay value", "Invalid epsilon value" below 0, "Invalid beta parameter"
    "weight_decay": _AMOUNT, "adam_epsilon": _AMOUNT, "adam_epsilon2": _AMOUNT,
    "adam_beta1": _FRACTION, "adam_beta2": _FRACTION, "adam_beta3": _FRACTION, "dion_momentum": _FRACTION,
    # transformers/trainer.py clips where it is above 0; torch's clip_grad_norm_ turns a gradient round below
    "max_grad_norm": _AMOUNT,
    # transformers/training_args.py: "warmup_ratio must lie in range [0,1]", "warmup_steps must be >= 0"
    "warmup_ratio": _SHARE, "warmup_steps": _AMOUNT,
    # axolotl/core/trainers/mixins/scheduler.py asserts both
    "cosine_min_lr_ratio": _SHARE, "cosine_constant_lr_ratio": _SHARE,
    # a training without a step proves nothing; axolotl takes max_steps 0 for none given, transformers -1 [ours]
    "num_epochs": Range(0, above=True, null=False), "max_steps": Range(1, also=(-1,)),
    # the sizes of batches and rows; the global batch is made of the first two, which must be there
    "micro_batch_size": _NEEDED_COUNT, "gradient_accumulation_steps": _NEEDED_COUNT, "sequence_len": _NEEDED_COUNT,
    "batch_size": _COUNT, "eval_batch_size": _COUNT, "eval_sequence_len": _COUNT, "max_packed_sequence_len": _COUNT,
    "min_sample_len": _AMOUNT, "max_prompt_len": _COUNT, "pad_to_multiple_of": _COUNT,
    "sample_packing_group_size": _COUNT, "sample_packing_bin_size": _COUNT, "sample_packing_eff_est": _POSITIVE,
    "pretrain_multipack_buffer_size": _COUNT, "streaming_multipack_buffer_size": _COUNT,
    "pose_max_context_len": _COUNT, "pose_num_chunks": _COUNT,
    # peft/tuners/lora/layer.py: "`r` should be a positive integer"; the scale is alpha / r, and 0 switches it off;
    # torch's Dropout takes a probability, and with 1 nothing would pass
    "lora_r": _NEEDED_COUNT, "lora_alpha": _NEEDED_COUNT, "lora_dropout": Range(0, 1, below=True, null=False),
    "qgalore_rank": _COUNT, "qgalore_update_proj_gap": _COUNT, "qgalore_scale": _POSITIVE, "qgalore_proj_bits": _COUNT,
    "qgalore_proj_group_size": _COUNT, "qgalore_gamma_proj": _COUNT, "qgalore_queue_size": _COUNT,
    "qgalore_cos_threshold": Range(-1, 1), "dion_rank_fraction": _SOME, "dion_rank_multiple_of": _COUNT,
    "lisa_n_layers": _COUNT, "lisa_step_interval": _COUNT,
    "jagged_restart_steps": _COUNT, "jagged_restart_warmup_steps": _AMOUNT, "jagged_restart_anneal_steps": _AMOUNT,
    # axolotl/utils/data/sft.py: a share of the rows, or so many of them where it is above 1; 1.0 is all, and refused
    "val_set_size": Range(0, whole_from=2),
    "eval_steps": _STEPS, "save_steps": _STEPS, "logging_steps": _COUNT,
    # axolotl/core/builders/base.py takes 0 for none given, and keeps 4
    "save_total_limit": _COUNT, "saves_per_epoch": _AMOUNT, "evals_per_epoch": _AMOUNT,
    "early_stopping_patience": _AMOUNT, "profiler_steps": _COUNT, "profiler_steps_start": _AMOUNT,
    # arXiv 2310.05914: the noise is drawn from [-alpha, alpha] / sqrt(length x width)
    "neftune_noise_alpha": _AMOUNT, "noisy_embedding_alpha": _AMOUNT,
    # numpy.random.seed, which transformers' set_seed calls, takes 32 bits; without one no run is repeated [ours]
    "seed": Range(0, 2**32 - 1, null=False),
    # processes, workers, ranks
    "dataset_num_proc": _COUNT, "dataset_processes": _COUNT, "dataloader_num_workers": _AMOUNT,
    "dataloader_prefetch_factor": _COUNT, "ray_num_workers": _COUNT, "ddp_timeout": _COUNT, "ddp_bucket_cap_mb": _COUNT,
    "dp_shard_size": Range(1, also=(-1,)), "dp_replicate_size": _COUNT, "tensor_parallel_size": _COUNT,
    "context_parallel_size": _COUNT, "sequence_parallel_degree": _COUNT, "heads_k_stride": _COUNT,
    "fsdp_version": Range(1, 2), "tiled_mlp_num_shards": _COUNT, "chunked_cross_entropy_num_chunks": _COUNT,
    "dataset_shard_num": _COUNT, "dataset_shard_idx": _AMOUNT, "num_dataset_shards_to_save": _COUNT,
    "torch_empty_cache_steps": _COUNT, "gc_collect_steps": Range(1, also=(-1,)), "gc_steps": Range(1, also=(-1,)),
    "loss_watchdog_threshold": _POSITIVE, "loss_watchdog_patience": _AMOUNT,
    "eaft_alpha": _AMOUNT, "eaft_k": _COUNT,
    # what is generated beside the training, as transformers' GenerationConfig takes it
    "eval_table_size": _AMOUNT, "eval_max_new_tokens": _COUNT, "num_generation_samples": _AMOUNT,
    "generation_max_new_tokens": _COUNT, "generation_temperature": _AMOUNT, "generation_top_p": _SOME,
    "generation_top_k": _AMOUNT, "generation_prompt_ratio": _SHARE, "gradio_max_new_tokens": _COUNT,
    "gradio_temperature": _AMOUNT, "gradio_server_port": Range(0, 65535), "otel_metrics_port": Range(0, 65535),
    "image_size": _COUNT, "num_labels": _COUNT, "total_num_tokens": _AMOUNT, "total_supervised_tokens": _AMOUNT,
    "fix_untrained_tokens": _AMOUNT, "max_memory": _AMOUNT, "gpu_memory_limit": _POSITIVE,
    # of other trainings than SFT, or free by their formulas: any number that is one
    **dict.fromkeys(
        ("dpo_beta", "dpo_label_smoothing", "rpo_alpha", "orpo_alpha", "simpo_gamma", "cpo_alpha", "rl_beta",
         "kto_desirable_weight", "kto_undesirable_weight", "center_rewards_coefficient", "scaling_softmax_factor",
         "scaling_softmax_bias", "world_size", "local_rank", "image_resize_algorithm"),
        _ANY,
    ),
}  # fmt: skip

# Beside the limits that the DPO program's own definition has: a count above a share (dpo_data.py).
DPO: Mapping[str, Range] = {"val_set_size": Range(0, whole_from=1, null=False)}

_LIMITS = {"ge": "low", "gt": "low", "le": "high", "lt": "high"}


def from_limits(limits: Mapping[str, float], *, also: Sequence[float] = (), null: bool = True) -> Range:
    """Return the range of limits as pydantic names them: ge, gt, le, lt."""
    bounds = {_LIMITS[name]: float(value) for name, value in limits.items()}
    return Range(**bounds, above="gt" in limits, below="lt" in limits, also=tuple(also), null=null)


def no_number(value: Any) -> bool:
    """Return whether a value is nan or infinite, or has such a number in it."""
    if isinstance(value, int | float):
        return not isinstance(value, bool) and not finite(value)
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return any(no_number(part) for part in inner)
