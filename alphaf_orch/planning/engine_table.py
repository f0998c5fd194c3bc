"""Which settings no engine can train together: a table, each line with the tool's reason and what to do instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alphaf_orch.core.errors import ConfigError

_FSDP, _ZERO = ("fsdp2", "hsdp"), ("zero2", "zero3")
_SHARDING = (*_FSDP, *_ZERO)
_ALL = ("ddp", *_SHARDING)
# bitsandbytes' own optimizers (transformers/training_args.py, OptimizerNames): their CUDA code takes no DTensor.
_BITSANDBYTES = (
    "adamw_8bit", "adamw_bnb_8bit", "lion_8bit", "lion_32bit", "rmsprop_bnb", "rmsprop_bnb_8bit", "rmsprop_bnb_32bit",
    "ademamix", "ademamix_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "paged_lion_8bit", "paged_lion_32bit",
    "paged_ademamix_8bit", "paged_ademamix_32bit",
)  # fmt: skip

Test = Callable[[Any], bool]


def _one_of(*values: Any) -> Test:
    return lambda value: value in values


def _above(limit: int) -> Test:
    return lambda value: isinstance(value, int) and value > limit


def _given(value: Any) -> bool:
    return value is not None and value != "" and value is not False


@dataclass(frozen=True)
class Refusal:
    """With these engines, where each key of `when` (a dotted one in a mapping) has such a value: why, what to do."""

    engines: Sequence[str]
    when: Mapping[str, Test]
    what: str
    fix: str


# Beside the recipe's keys: `section`, `world` (all GPUs), `gpus` (of a machine), `nodes`, `offload`, whether `mesh` and
# `stage` are the engine's, and of what you set yourself `own.KEY`. Paths are below site-packages, lines of the locked
# versions; `:123` alone is axolotl/utils/schemas/validation.py.
REFUSALS: Sequence[Refusal] = (
    # Where it is trained.
    Refusal(_SHARDING, {"section": _one_of("dpo")},
            "the DPO program trains an adapter on whole copies of the model, by DDP or on one GPU",
            "say --set dpo.engine=null; one GPU holds the 4-bit model and its adapter"),  # programs/training/dpo.py
    Refusal(_SHARDING, {"gpus": _one_of(0)},  # axolotl/utils/distributed.py:316, trainer.py:591: "cuda", "nccl"
            "engine {engine} trains on GPUs alone: axolotl builds its device mesh for cuda",
            "say --set engine=ddp on a CPU, or --gpus N"),
    Refusal(_SHARDING, {"world": _one_of(1)},
            "engine {engine} cuts a model over several GPUs, and there is one",
            "say --set engine=ddp, or --gpus 2 and more"),
    # axolotl/utils/trainer.py:566-592: there `preprocess` sets LOCAL_RANK and no RANK, and torch finds no rendezvous
    Refusal(_ZERO, {"gpus": _one_of(1)},
            "engine {engine}: on a machine with one GPU axolotl's preprocess joins a distributed state without a RANK",
            "use engine=fsdp2, or machines of several GPUs"),
    Refusal(("hsdp",), {"nodes": _one_of(1)},
            "engine hsdp cuts a model within each machine and copies it between machines, and there is one machine",
            "use engine=fsdp2, or say --nodes 2 and more"),
    Refusal(("hsdp",), {"gpus": _one_of(1)},
            "engine hsdp cuts a model over the GPUs of a machine, and each has one",
            "use engine=fsdp2"),
    Refusal(_ALL, {"section": _one_of("dpo"), "offload": _one_of(True)},
            "the DPO program puts nothing to the CPU", "say --set dpo.engine_offload=null"),
    Refusal(("ddp",), {"offload": _one_of(True)},
            "engine_offload: DDP puts nothing to the CPU",
            "use it with engine fsdp2, hsdp, zero2 or zero3"),
    # Keys of one engine under another.
    Refusal(_ALL, {"fp32_master_weights": _given, "adapter": _one_of("qlora", "lora")},  # master_weights.py, widen
            "fp32_master_weights would make the frozen model float32 too; an adapter is float32 already",
            "say --set fp32_master_weights=null"),
    Refusal(_ZERO, {"fp32_master_weights": _given},  # deepspeed/runtime/zero/stage_1_and_2.py:470, stage3.py
            "DeepSpeed keeps float32 master weights itself", "say --set fp32_master_weights=null"),
    Refusal(_FSDP, {"fsdp_config": lambda value: not value},
            "without fsdp_config axolotl trains by DDP, not by engine {engine}",
            "drop fsdp_config, or say --set engine=ddp"),
    Refusal(("ddp", *_ZERO), {"own.fsdp_config": _given},
            "fsdp_config means nothing to engine {engine}",
            "say --set engine=fsdp2; what you set in fsdp_config is laid over its values"),
    Refusal(("ddp", *_ZERO), {"own.fsdp_version": _given},
            "fsdp_version means nothing to engine {engine}", "say --set engine=fsdp2"),
    Refusal(("ddp", *_FSDP), {"own.deepspeed": _given},
            "deepspeed means nothing to engine {engine}",
            "say --set engine=zero2 or engine=zero3; a JSON file that deepspeed names takes the place of ours"),
    Refusal(_ALL, {"own.fsdp": _given},  # axolotl/utils/schemas/config.py:1066
            "fsdp: axolotl has deprecated the key",
            "say --set engine=fsdp2"),
    Refusal(("ddp", *_ZERO), {"own.dp_shard_size": _above(1)},  # axolotl/utils/distributed.py:360
            "dp_shard_size was configured without a corresponding fsdp_config", "say --set engine=fsdp2, or hsdp"),
    Refusal(("ddp", *_ZERO), {"own.dp_replicate_size": _above(1)},
            "dp_replicate_size copies a model that FSDP2 has cut", "say --set engine=hsdp"),
    Refusal(_FSDP, {"mesh": lambda size: not size},  # axolotl/utils/distributed.py:377
            "dp_shard_size x dp_replicate_size is not the number of GPUs", "drop them: the engine sets what it needs"),
    Refusal(_ZERO, {"stage": lambda stage: not stage},
            "the deepspeed config of yours is of another zero_optimization.stage than engine {engine}",
            "use the engine of that stage"),
    Refusal(_FSDP, {"fsdp_version": lambda value: str(value) != "2"},  # axolotl/utils/schemas/validation.py:1147
            "FSDP1 is deprecated, and lora_*_kernel are not compatible with it", "drop fsdp_version: it sets 2"),
    # The ranks of one replica share their rows: the global batch is counted by GPUs here.
    Refusal(_ALL, {"context_parallel_size": _above(1)},  # axolotl/utils/schemas/validation.py:1803-1855
            "context_parallel_size > 1 requires attn_implementation: flash_attention_2, ring_flash_attn (which is not"
            " locked) and, packed, micro_batch_size 1",
            "drop it; a shorter sequence_len or engine=fsdp2 saves memory too"),
    Refusal(_ALL, {"sequence_parallel_degree": _above(1)},  # the same key's older name, :1786
            "sequence_parallel_degree is deprecated, and context_parallel_size wants ring_flash_attn", "drop it"),
    Refusal(_ALL, {"tensor_parallel_size": _above(1)},  # axolotl/utils/config/__init__.py:233
            "tensor_parallel_size: GPUs that share a layer train the same rows, so the global batch would be smaller",
            "use engine=fsdp2, which saves as much memory"),
    # Optimizers.
    Refusal(_FSDP, {"optimizer": _one_of("adamw_8bit", "adamw_bnb_8bit")},  # axolotl/utils/schemas/validation.py:1249
            "FSDP2 not compatible with {optimizer}", "use optimizer=adamw_torch_8bit"),
    Refusal(_FSDP, {"optimizer": _one_of(*_BITSANDBYTES)},  # the same reason: "CUDA ops errors with bnb", :1258
            "FSDP2 not compatible with bitsandbytes' {optimizer}: its CUDA ops take no sharded tensor",
            "use optimizer=adamw_torch_fused, or adamw_torch_8bit"),
    Refusal(_ZERO, {"optimizer": _one_of("muon")},  # axolotl/utils/schemas/validation.py:934
            "Muon optimizer is currently incompatible with DeepSpeed", "use engine=fsdp2"),
    Refusal(_ZERO, {"optimizer": _one_of("polora")},  # :955
            "polora is not compatible with DeepSpeed or tensor parallelism", "use engine=ddp or engine=fsdp2"),
    Refusal(_ZERO, {"optimizer": _one_of("q_galore_adamw8bit")},  # :1026
            "q_galore_adamw8bit is not yet validated with DeepSpeed", "use engine=ddp"),
    Refusal(_FSDP, {"optimizer": _one_of("q_galore_adamw8bit"), "fsdp_config.use_orig_params": lambda v: not v},
            # :1038
            "q_galore_adamw8bit requires fsdp_config.use_orig_params=True", "use engine=ddp"),
    Refusal(_ZERO, {"optimizer": lambda value: str(value).startswith("flash_")},  # :1061
            "{optimizer}: flash optimizers are not supported with DeepSpeed", "use engine=fsdp2"),
    Refusal(_SHARDING, {"offload": _one_of(True), "optimizer": lambda value: str(value).endswith("_fused")},
            "engine_offload keeps the optimizer's states on the CPU, and {optimizer} is a CUDA kernel",
            "drop optimizer: with engine_offload it is adamw_torch"),
    # Loading, checkpointing.
    Refusal(_FSDP, {"load_in_4bit": _one_of(True), "fsdp_config.cpu_ram_efficient_loading": _one_of(True)},
            # :1266
            "FSDP2 does not support cpu_ram_efficient_loading with load_in_4bit",
            "drop fsdp_config.cpu_ram_efficient_loading"),
    Refusal(_FSDP, {"gradient_checkpointing": _given, "fsdp_config.activation_checkpointing": _one_of(True)},
            # transformers/trainer.py:844
            "activation_checkpointing in FSDP config and gradient_checkpointing can't be set to True simultaneously",
            "drop one of the two"),
    Refusal(_FSDP, {"save_only_model": _one_of(True), "fsdp_config.state_dict_type": _one_of("SHARDED_STATE_DICT")},
            # transformers/trainer.py:877
            "save_only_model option is not compatible with FSDP state dict type 'SHARDED_STATE_DICT'",
            "drop one of the two"),
    Refusal(_FSDP, {"fsdp_config.cpu_offload_pin_memory": _one_of(False), "offload": _one_of(False)},
            # axolotl/utils/schemas/validation.py:1170
            "disabling cpu_offload_pin_memory requires enabling offload_params", "say --set engine_offload=true"),
    Refusal(("zero3",), {"adapter": _one_of("qlora"), "gradient_checkpointing_kwargs.use_reentrant": _one_of(False)},
            # axolotl/utils/schemas/validation.py:641
            "qlora + zero3 with use_reentrant: false may result in a CheckpointError about recomputed values",
            "drop gradient_checkpointing_kwargs, or use engine=zero2"),
    Refusal(_FSDP, {"relora": _given}, "fsdp not supported with ReLoRA", "use engine=ddp"),  # :1750
    Refusal(_ZERO, {"relora": _given}, "deepspeed not supported with ReLoRA", "use engine=ddp"),  # :1753
    Refusal(_FSDP, {"ple_cpu_offload": _given}, "ple_cpu_offload is not compatible with FSDP", "use engine=ddp"),
    Refusal(_ZERO, {"ple_cpu_offload": _given}, "ple_cpu_offload is not compatible with DeepSpeed", "use engine=ddp"),
    Refusal(("ddp", *_ZERO), {"fp32_norms": _given},  # axolotl/utils/schemas/config.py:1683
            "fp32_norms requires FSDP to be enabled", "say --set engine=fsdp2"),
    Refusal(("ddp", *_FSDP), {"deepcompile": _given},  # axolotl/utils/schemas/validation.py:1317
            "DeepCompile is only supported with DeepSpeed", "say --set engine=zero3"),
)  # fmt: skip


def refuse(engine: str, recipe: Mapping[str, Any], own: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Raise ConfigError for the first line of the table that a recipe meets; `own` is what you set yourself."""
    values = {**recipe, **facts, "own": own}
    for line in REFUSALS:
        if engine in line.engines and all(test(at(values, key)) for key, test in line.when.items()):
            said = {"engine": engine, "optimizer": recipe.get("optimizer")}
            raise ConfigError(
                line.what.format(**said),
                where=_where(line, facts),
                fix=line.fix.format(**said),
                code="config.engine_refuses",
            )


def at(values: Any, key: str) -> Any:
    """Return what a dotted key has in nested mappings, None where one of them is none."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _where(line: Refusal, facts: Mapping[str, Any]) -> str:
    """Return the keys that are at odds."""
    options = {
        "mesh": "keys dp_shard_size and dp_replicate_size",
        "stage": "key sft.deepspeed",
        "gpus": "--gpus",
        "world": "--gpus and --nodes",
        "nodes": "--nodes",
        "offload": f"key {facts['section']}.engine_offload",
    }
    keys = [
        options.get(key, f"key {facts['section']}.{key.removeprefix('own.')}") for key in line.when if key != "section"
    ]
    return ", ".join((f"key {facts['section']}.engine", *keys))
