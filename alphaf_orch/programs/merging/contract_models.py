"""What the contract compares, read lazily: one tensor in memory at a time, whatever the model's size."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

ADAPTER_PARTS = ("lora_", "modules_to_save", "original_module", "base_layer")
PREFIX = "base_model.model."  # peft's prefix of every adapter tensor
SHORT = {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "F64": "float64"}  # safetensors' names


class Tensors:
    """The tensors of a folder's safetensors files; guarantees that only headers are read until `read`."""

    def __init__(self, folder: Path, pattern: str = "*.safetensors") -> None:
        """Raise FileNotFoundError where the folder has no safetensors file."""
        self.folder = folder
        self.files: dict[str, Path] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, str] = {}
        index = folder / "model.safetensors.index.json"
        shards = json.loads(index.read_text("utf-8"))["weight_map"].values() if index.is_file() else ()
        paths = sorted({folder / name for name in shards} or folder.glob(pattern))
        if not paths:
            raise FileNotFoundError(f"{folder} holds no safetensors weights")
        for path in paths:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 (not a dict)
                    part = file.get_slice(name)
                    self.files[name] = path
                    self.shapes[name] = tuple(part.get_shape())
                    self.dtypes[name] = SHORT.get(part.get_dtype(), part.get_dtype())

    def main_dtype(self) -> str:
        """Return the floating dtype that most tensors have."""
        floats = [dtype for dtype in self.dtypes.values() if dtype in SHORT.values()]
        return max(set(floats), key=floats.count)

    def read(self, name: str) -> torch.Tensor:
        """Return one tensor in its stored dtype, on the CPU."""
        with safe_open(self.files[name], framework="pt") as file:
            return file.get_tensor(name)


class Adapter:
    """A peft LoRA adapter folder; guarantees the delta of a base tensor as training applied it."""

    def __init__(self, folder: Path) -> None:
        """Raise FileNotFoundError where the folder has no adapter_model.safetensors."""
        self.config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text("utf-8"))
        self.tensors = Tensors(folder, "adapter_model.safetensors")
        names = [name.removeprefix(PREFIX) for name in self.tensors.files]
        self.targets = sorted(
            name.removesuffix(".lora_A.weight") + ".weight" for name in names if name.endswith(".lora_A.weight")
        )
        # modules_to_save and resized embeddings come under the plain name of the base tensor they replace.
        self.replaced = sorted(name for name in names if not any(part in name for part in ADAPTER_PARTS))

    def unsupported(self) -> list[str]:
        """Return the settings whose merge this check cannot recompute."""
        settings = ("use_dora", "lora_bias", "use_qalora", "use_bdlora", "trainable_token_indices")
        found = [key for key in settings if self.config.get(key)]
        return found + ([] if self.config["peft_type"] == "LORA" else [self.config["peft_type"]])

    def delta(self, name: str, device: str) -> torch.Tensor:
        """Return scale * B @ A in float32, base-shaped (Hu et al. 2021; rslora: Kalajdzievski 2023)."""
        module = name.removesuffix(".weight")
        a, b = (self.tensors.read(f"{PREFIX}{module}.lora_{side}.weight").to(device, torch.float32) for side in "AB")
        alpha = float(self.config["lora_alpha"])
        for pattern, value in (self.config.get("alpha_pattern") or {}).items():
            if re.fullmatch(rf"(.*\.)?({pattern})", module):
                alpha = float(value)
                break
        rank = a.shape[0]  # rank_pattern shows in the shape
        product = (alpha / (rank**0.5 if self.config.get("use_rslora") else rank)) * (b @ a)
        return product.T if self.config.get("fan_in_fan_out") else product


class Layout:
    """Which tensors of a model are embeddings, and which ones 4-bit loading quantises."""

    def __init__(self, folder: Path, *, trust_remote_code: bool = False) -> None:
        from transformers import AutoConfig, AutoModelForCausalLM
        from transformers.quantizers.base import get_keys_to_not_convert

        config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
        with torch.device("meta"):  # names only, no memory
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
        names = {id(module): f"{name}.weight" for name, module in model.named_modules()}
        self.tied = bool(getattr(config, "tie_word_embeddings", False))
        self.embedding = names[id(model.get_input_embeddings())]
        self.head = names[id(model.get_output_embeddings())]
        kept = {f"{name}.weight" for name in get_keys_to_not_convert(model)}
        linear = {names[id(module)] for module in model.modules() if type(module) is torch.nn.Linear}
        self.quantised = frozenset(linear - kept - {self.embedding, self.head})


@dataclass(frozen=True)
class Models:
    """The merged folder beside what it was made from; guarantees that headers are read once."""

    merged_dir: Path
    base_dir: Path
    adapter_dir: Path
    adapter_kind: str  # qlora, lora or full
    trust_remote_code: bool = False

    @cached_property
    def merged(self) -> Tensors:
        """Return the tensors of the merged folder."""
        return Tensors(self.merged_dir)

    @cached_property
    def base(self) -> Tensors:
        """Return the tensors of the base model."""
        return Tensors(self.base_dir)

    @cached_property
    def layout(self) -> Layout:
        """Return the base model's layout."""
        return Layout(self.base_dir, trust_remote_code=self.trust_remote_code)
