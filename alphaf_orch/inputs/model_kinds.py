"""What kind of model a folder holds: refused in plain words where the chain can't train, merge and check it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from alphaf_orch.core.errors import ModelError
from alphaf_orch.core.names import real
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.small_files import JSON_BYTES, parse_json, small_bytes
from alphaf_orch.inputs.model_files import loaded_file
from alphaf_orch.inputs.model_json import model_json
from alphaf_orch.inputs.weights_layout import EXPERTS, has_head, tensors_of

# As the configs of transformers 5.16 spell the number of experts (models/*/configuration_*.py), DBRX in `ffn_config`.
_EXPERT_KEYS = (
    "num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "num_routed_experts",
    "moe_num_routed_experts", "n_experts", "num_moe_experts", "expert_num",
)  # fmt: skip
# Of transformers, with text beside vision or audio, and of families with their own code: LLaVA, InternVL, Qwen-VL.
_OTHER_SENSES = (
    "vision_config", "audio_config", "text_config", "llm_config", "language_config", "thinker_config", "vq_config",
    "mm_vision_tower", "vision_tower", "visual", "img_processor", "audio_processor", "speech_config",
)  # fmt: skip
_DIFFUSION_TEXT = ("llada", "llada_moe", "dream")
_GGUF = (
    "the weights are GGUF files, which are quantised and made for llama.cpp",
    "pass the model they were made from, in safetensors",
)
_CAUSAL = re.compile(r"CausalLM|LMHead|ForConditionalGeneration$")
# What the tools leave beside or in place of a weight: AutoGPTQ, AWQ, bitsandbytes, FP8, compressed-tensors, MXFP4, HQQ.
_PACKED = re.compile(
    r"\.(qweight|qzeros|g_idx|weight_packed|weight_scale\w*|weight_zero_point|SCB|weight\.absmax|weight\.quant_\w+"
    r"|weight\.nested_\w+|W_q|\w+_blocks)$"
)
_PACKED_DTYPES = ("F8_E4M3", "F8_E5M2", "I8", "I32", "U32", "F4")


class _Model(NamedTuple):
    """A folder with what its config.json says."""

    folder: Path
    config: Mapping[str, Any]

    @property
    def place(self) -> Path:
        return self.folder / "config.json"

    @property
    def architecture(self) -> str:
        """The class that config.json names first, empty where it names none."""
        named = self.config.get("architectures")
        return str(named[0]) if isinstance(named, list) and named else ""

    @property
    def parts(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The settings themselves, and those nested in them with their key and a dot before each key."""
        nested = ((key, self.config.get(key)) for key in (*_OTHER_SENSES, "ffn_config"))
        return [("", self.config), *((f"{key}.", values) for key, values in nested if isinstance(values, dict))]


class Refusal(NamedTuple):
    """Why a model is refused: what it is, the file and key that say so, what to do, and the error's identifier."""

    what: str
    where: str
    fix: str
    code: str


def require_trainable(folder: Path) -> None:
    """Raise ModelError for a model that could not be trained, merged and checked as this chain does it."""
    _require(refusal(folder) or _no_head(folder))


def require_kind(folder: Path) -> None:
    """Raise ModelError for a folder that holds no model, saying what it holds, or one that is not trained here."""
    lacking = model_json(folder / "config.json") is None and not (folder / "adapter_config.json").is_file()
    _require(_no_config(folder) if lacking else refusal(folder))


def _require(found: Refusal | None) -> None:
    if found:
        raise ModelError(found.what, where=found.where, fix=found.fix, code=found.code)


def refusal(folder: Path) -> Refusal | None:
    """Return why the model in a folder is refused, from config.json and headers alone; None where nothing is known."""
    config = model_json(folder / "config.json")
    if (folder / "adapter_config.json").is_file():
        return _adapter(folder)
    if config is None:
        return None  # what is lacking is another's to say
    checks = (_quantised, _two_halves, _other_senses, _experts, _purpose, _diffusion)
    return next((found for check in checks if (found := check(_Model(folder, config)))), None)


def _adapter(folder: Path) -> Refusal:
    """Return that a folder is a LoRA adapter, and the merged model where a run of ours left one beside it."""
    base = (model_json(folder / "adapter_config.json") or {}).get("base_model_name_or_path")
    place = real(folder)
    place = place.parent if place.name.startswith("checkpoint-") else place
    run = RunPaths(place.parent)
    if run.manifest.is_file() and (run.merged(place.name) / "config.json").is_file():
        fix = f"pass the model it was merged into: --model {run.merged(place.name)}"
    elif run.manifest.is_file():
        fix = f"`alphaf run --run {run.full_name}` goes on to its merge; then pass {run.merged(place.name)}"
    else:
        fix = (
            "merge it into its base once, with peft's merge_and_unload() and save_pretrained() of model and tokenizer"
            " to a new folder, and pass that"
        )
    what = f"this is an adapter to {base}, no whole model" if base else "this is an adapter, no whole model"
    return Refusal(what, str(folder / "adapter_config.json"), fix, "model.adapter")


def _no_config(folder: Path) -> Refusal:
    """Return what a folder without a readable config.json holds instead."""
    file = folder / "config.json"
    if file.is_file():
        what = f"no config.json that can be read: {_json_problem(file)}"
        return Refusal(what, str(file), "copy the file again", "model.config_unusable")
    # The folder above, or a repository of the hub's cache.
    inner = sorted(path.parent for pattern in ("*/config.json", "*/*/config.json") for path in folder.glob(pattern))
    kinds = (
        ("model_index.json", "this is a diffusion pipeline, no language model", "use a text model (…ForCausalLM)",
         "model.wrong_kind"),
        ("*.gguf", *_GGUF, "model.quantised"),
        ("params.json", "the weights are in their makers' own layout (params.json), not in transformers'",
         "pass the model as published for transformers, with config.json and safetensors", "model.other_layout"),
        ("trainer_state.json", "this is a checkpoint without a config.json", "pass the folder of the merged model",
         "model.config_missing"),
    )  # fmt: skip
    for pattern, what, fix, code in kinds:
        if any(folder.glob(pattern)):
            return Refusal(what, str(folder), fix, code)
    fix = f"pass {inner[0]}" if inner else "name a folder that save_pretrained or `hf download` filled"
    return Refusal("no config.json that can be read", str(folder), fix, "model.config_missing")


def _json_problem(file: Path) -> str:
    """Return what is wrong with a JSON file, with the line."""
    try:
        value = parse_json(small_bytes(file, most=JSON_BYTES, error=ModelError).decode("utf-8"))
    except json.JSONDecodeError as error:
        return f"{error.msg}, line {error.lineno}" if file.stat().st_size else "the file is empty"
    except UnicodeDecodeError:
        return "it is not UTF-8"
    except ValueError as error:
        return str(error)
    return f"it holds a JSON {type(value).__name__}, not an object"


def _quantised(model: _Model) -> Refusal | None:
    if loaded_file(model.folder) is None and any(model.folder.glob("*.gguf")):
        return Refusal(_GGUF[0], str(model.folder), _GGUF[1], "model.quantised")
    fix = "pass the unquantised model it was made from; QLoRA quantises that itself while it trains"

    def told(method: object, where: str) -> Refusal:
        what = f"the weights are quantised already ({method}): an adapter cannot be merged into them"
        return Refusal(what, where, fix, "model.quantised")

    for prefix, values in model.parts:
        # `quantization` is MLX's, compression_config that of compressed-tensors before 0.6.
        for key in ("quantization_config", "compression_config", "quantization"):
            if values.get(key):
                named = values[key].get("quant_method") if isinstance(values[key], dict) else values[key]
                return told(
                    named or ("mlx" if key == "quantization" else "unknown method"), f"{model.place}, key {prefix}{key}"
                )
    for name, method in (("quantize_config.json", "gptq"), ("quant_config.json", "awq"), ("qmodel.pt", "hqq")):
        if (model.folder / name).is_file():
            return told(method, str(model.folder / name))
    for name, tensor in tensors_of(model.folder).items():
        if _PACKED.search(name) or (tensor.dtype in _PACKED_DTYPES and name.endswith("weight")):
            return told(f"{name} is stored in {tensor.dtype}", str(model.folder))
    return None


def _two_halves(model: _Model) -> Refusal | None:
    if not model.config.get("is_encoder_decoder"):
        return None
    what = f"this is an encoder-decoder ({model.config.get('model_type', 'unknown')}); only decoders are trained here"
    return Refusal(what, f"{model.place}, key is_encoder_decoder", "use a decoder (…ForCausalLM)", "model.wrong_kind")


def _other_senses(model: _Model) -> Refusal | None:
    key = next((key for key in _OTHER_SENSES if model.config.get(key)), None)
    if key is None and not model.architecture.endswith("ForConditionalGeneration"):
        return None
    what = (
        f"this is a model of text and images or sound ({model.config.get('model_type') or model.architecture}): only"
        " models of text alone are trained and merged here"
    )
    fix = "use a text model of the same family (…ForCausalLM); of some the makers publish one, such as gemma-3-1b-it"
    return Refusal(what, f"{model.place}, key {key or 'architectures'}", fix, "model.wrong_kind")


def _experts(model: _Model) -> Refusal | None:
    where = None
    for prefix, values in model.parts:
        for key in _EXPERT_KEYS:
            number = values.get(key)
            # Granite 4 and Jamba have dense models under the same class, with none or one expert; ERNIE lists two.
            most = max((n for n in (number if isinstance(number, list) else [number]) if isinstance(n, int)), default=0)
            where = where or (f"{model.place}, key {prefix}{key}: {number}" if most > 1 else None)
    tensor = None if where else next((name for name in tensors_of(model.folder) if EXPERTS.search(name)), None)
    if not (where or tensor):
        return None
    what = "the model is a mixture of experts: LoRA leaves the experts out, and their merge cannot be checked"
    return Refusal(what, where or f"{model.folder}: {tensor}", "use a dense model", "model.experts")


def _purpose(model: _Model) -> Refusal | None:
    """Return that a model was made to embed or to classify, by sentence-transformers' files or its class."""
    named = model.architecture
    causal = "AutoModelForCausalLM" in (model.config.get("auto_map") or {})
    fix = "use a language model (…ForCausalLM)"
    if (model.folder / "modules.json").is_file():
        what = "this is an embedding model of sentence-transformers, which writes no text"
        return Refusal(what, str(model.folder / "modules.json"), fix, "model.wrong_kind")
    if named and not _CAUSAL.search(named) and not causal:
        kinds = (
            (r"Classification$|RewardModel$", "to classify"),
            (r"MaskedLM$|PreTraining$", "to fill in blanks"),
            (r"Model$", "to embed texts"),
        )
        made = next(
            (made for pattern, made in kinds if re.search(pattern, named)), "for something else than writing text"
        )
        what = f"the model was made {made} ({named})"
        return Refusal(what, f"{model.place}, key architectures", fix, "model.wrong_kind")
    return None


def _no_head(folder: Path) -> Refusal | None:
    """Return that a model has neither a head nor a tied one, as models saved to embed have."""
    config = model_json(folder / "config.json") or {}
    if config.get("tie_word_embeddings") is not False or not tensors_of(folder) or has_head(folder):
        return None
    what = "the weights have no output head, and it is not the embedding either: it would be made up at random"
    where = f"{folder}; key tie_word_embeddings of its config.json: false"
    return Refusal(what, where, "use a language model (…ForCausalLM)", "model.no_head")


def _diffusion(model: _Model) -> Refusal | None:
    if str(model.config.get("model_type")).lower() not in _DIFFUSION_TEXT:
        return None
    what = f"the model writes by diffusion ({model.config['model_type']}), not one token after another"
    return Refusal(
        what, f"{model.place}, key model_type", "use an autoregressive model (…ForCausalLM)", "model.wrong_kind"
    )
