"""The disk that a run needs, and the parameters of LoRA that it counts."""

from __future__ import annotations

from pathlib import Path

from alphaf_orch.estimates.disk import LOG_BYTES, SHARD_BYTES, merged_bytes, training_bytes
from alphaf_orch.estimates.shapes import shape_of
from alphaf_orch.estimates.trained import adapter_parameters
from alphaf_orch.inputs import presets

FOLDERS = (Path(__file__).resolve().parents[2] / "templates" / "models",)


def preset(name: str) -> presets.ModelPreset:
    return presets.load_preset(name, FOLDERS)


def lora_parameters(name: str, rank: int) -> int:
    architecture = preset(name).architecture
    assert architecture is not None
    return adapter_parameters(shape_of(architecture), {"lora_r": rank})


def test_lora_parameters_at_the_articles_rank() -> None:
    found = {name: round(lora_parameters(name, 256) / 1e9, 3) for name in ("eeve", "qwen", "orion")}
    assert found == {"eeve": 1.007, "qwen": 0.997, "orion": 1.049}


def test_the_disk_of_each_stage() -> None:
    def needed(name: str, adapter: str | None = "qlora", limit: int = 2, engine: str = "ddp") -> int:
        made = preset(name)
        assert made.architecture is not None
        sft = {**made.sft, "adapter": adapter, "lora_r": 256}
        return training_bytes(shape_of(made.architecture), sft, "sft", engine, limit) - LOG_BYTES

    lora, base = 1_006_632_960, 10_804_924_416
    # While the third checkpoint is written the first two are still there.
    assert needed("eeve") == (3 * 12 + 4) * lora
    assert needed("eeve", adapter=None) == 40 * base
    assert needed("eeve", limit=0) == 16 * lora
    # FSDP saves the weights twice, DeepSpeed its bf16 model beside the fp32 one.
    found = {engine: needed("eeve", adapter=None, engine=engine) for engine in ("fsdp2", "zero2", "zero3")}
    assert found["fsdp2"] == found["zero2"] == (3 * 16 + 4) * base
    assert found["zero3"] == (3 * 14 + 4) * base
    # Orion trains its embeddings too.
    assert needed("orion") == 40 * (1_048_576_000 + 2 * 84608 * 5120)


def test_a_merge_needs_one_of_its_files_twice() -> None:
    def merged(name: str, width: int) -> int:
        made = preset(name)
        assert made.architecture is not None
        return merged_bytes(shape_of(made.architecture), width)

    assert merged("eeve", 2) == 2 * 10_804_924_416 + SHARD_BYTES
    assert merged("smollm2", 4) < 2 * 4 * 140_000_000, "a small model is one file"
