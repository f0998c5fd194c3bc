"""The disk that a run needs, and the parameters of LoRA that it counts."""

from __future__ import annotations

from pathlib import Path

from alphaf_orch.estimates.disk import disk_bytes
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


def test_disk_bytes() -> None:
    def needed(name: str, adapter: str | None = "qlora", limit: int = 2, width: int = 2, engine: str = "ddp") -> int:
        made = preset(name)
        assert made.architecture is not None
        sft = {**made.sft, "adapter": adapter, "lora_r": 256}
        return disk_bytes(shape_of(made.architecture), {"sft": sft, "dpo": {"lora_r": 64}}, engine, limit, width)

    lora, base = 1_006_632_960, 10_804_924_416
    assert needed("eeve") == 28 * (lora + lora // 4) + 4 * base
    assert needed("eeve", adapter=None) == 28 * (base + lora // 4) + 4 * base
    assert needed("eeve", limit=0, width=4) == 4 * (lora + lora // 4) + 8 * base
    # FSDP saves the weights twice, DeepSpeed its bf16 model beside the fp32 one.
    found = {engine: needed("eeve", adapter=None, engine=engine) for engine in ("fsdp2", "zero2", "zero3")}
    assert found["fsdp2"] == found["zero2"] == 36 * base + 28 * (lora // 4) + 4 * base
    assert found["zero3"] == 32 * base + 28 * (lora // 4) + 4 * base
    # Orion trains its embeddings too.
    orion = 1_048_576_000 + 1_048_576_000 // 4 + 2 * 84608 * 5120
    assert needed("orion") == 28 * orion + 4 * 14_498_703_360
