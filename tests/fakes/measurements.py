"""Measured trainings as finished runs leave them, with what a test changes of one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from alphaf_orch.estimates.cost import Training
from alphaf_orch.estimates.measured import Measured
from alphaf_orch.estimates.ranges import exactly
from alphaf_orch.estimates.rows import Rows
from alphaf_orch.estimates.shapes import Setup, Shape

EEVE = Shape(
    layers=48, hidden_size=4096, intermediate_size=14336, attention_heads=32, kv_heads=8, head_dim=128,
    vocab_size=40960, tie_word_embeddings=False, parameters=10_804_924_416,
)  # fmt: skip
H100 = "NVIDIA H100 80GB HBM3"
STRICT = {
    "adapter": "qlora", "load_in_4bit": True, "lora_target_linear": True, "lora_mlp_kernel": True,
    "lora_qkv_kernel": True, "lora_o_kernel": True, "gradient_checkpointing": True, "bf16": True,
    "optimizer": "adamw_torch_fused", "sample_packing": True, "pad_to_sequence_len": True,
}  # fmt: skip
SCALED = {"micro_batch_size": 2, "gradient_accumulation_steps": 4, "sequence_len": 4096, "lora_r": 256}
REPORT = {
    "rows": 4000,
    "sequence_len": 4096,
    "tokens": {"total": 440_000, "max": 300},
    "longer_than_sequence_len": {"rows": 0},
    "kept": {"rows": 4000, "tokens": 440_000, "packed": 110},
}


def asked(**changes: Any) -> Training:
    """EEVE's QLoRA on one H100, 100 steps of counted rows."""
    made = Training(
        shape=EEVE,
        recipe={**STRICT, **SCALED},
        setup=Setup(1),
        section="sft",
        card=H100,
        cores=16,
        rows=Rows(REPORT, exactly(1.0), "counted by this run", "a-key"),
        steps=exactly(100),
        accumulated=4,
    )
    return replace(made, **changes)


def measured(shape: Shape = EEVE, **got: Any) -> Measured:
    """What a run of that training measured."""
    figures = {"peak_mib": 24453.0, "tokens_per_s": 5180.0, "step_s": 6.3, "step_s_spread": [6.2, 6.5], "start_s": 73.0}
    return Measured(
        stage="sft",
        run="earlier",
        at="2026-11-26T12:00:00+00:00",
        machine={"card": H100, "gpus": 1, "nodes": 1},
        shape=vars(shape) | {},
        strict=STRICT,
        scaled=SCALED,
        versions={"torch": "2.13.0"},
        got=figures | got,
        data={"key": "a-key", "report": REPORT},
    )
