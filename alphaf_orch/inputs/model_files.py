"""What the files of a model folder say, as transformers 5.16 reads them and without it: importing it takes seconds."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import ModelError
from alphaf_orch.core.small_files import small_text
from alphaf_orch.core.yaml_files import parse_any
from alphaf_orch.inputs.model_json import model_json
from alphaf_orch.inputs.safetensors_header import Header, Tensor, read_header
from alphaf_orch.programs.native_types import NATIVE_TYPES

WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def brings_code(config: Mapping[str, Any]) -> bool:
    """Return whether a model of this config.json runs python files that come with it; a class of ours spares them."""
    return bool(config.get("auto_map")) and config.get("model_type") not in NATIVE_TYPES


def loaded_file(folder: Path, names: Sequence[str] = WEIGHTS) -> Path | None:
    """Return the file that transformers opens for the weights: one file wins over an index, safetensors over .bin."""
    files = (folder / f"{name}{suffix}" for name in names for suffix in ("", ".index.json"))
    return next((file for file in files if file.is_file()), None)


def shards(file: Path) -> list[str]:
    """Return the names of the files that an index lists, sorted, or of the one file; none where an index is cut off."""
    if file.suffix != ".json":
        return [file.name]
    return sorted(set(((model_json(file) or {}).get("weight_map") or {}).values()))


def safetensors_files(folder: Path) -> list[Path]:
    """Return the safetensors files that a folder's weights are in, there or not; an adapter has its own name."""
    loaded = loaded_file(folder, WEIGHTS[:1])
    if loaded is None:
        return sorted(folder.glob("*.safetensors"))
    return [folder / name for name in shards(loaded) if name.endswith(".safetensors")]  # an index may name pickles


def file_problem(path: Path) -> str | None:
    """Return why a weights file can't be used, or None; a safetensors header gives the length to expect."""
    if path.is_file() and path.suffix != ".safetensors":
        return None if path.stat().st_size else "empty"
    header = _header(path)
    return header if isinstance(header, str) else None


def read_tensors(path: Path) -> Mapping[str, Tensor]:
    """Return every tensor of a safetensors file by its name; raise ModelError where the header cannot be read."""
    header = _header(path)
    if isinstance(header, str):
        raise ModelError(
            f"the weights cannot be read: {header}", where=str(path), fix="copy the file again", code="model.unreadable"
        )
    return header.tensors


def _header(path: Path) -> Header | str:
    if not path.is_file():
        return "absent"
    stat = path.stat()
    return read_header(path, stat.st_size, stat.st_mtime_ns)


def read_vocabulary(folder: Path) -> dict[str, int] | None:
    """Return every token with its id, added ones included; None without a tokenizer.json or vocab.json."""
    tokenizer = model_json(folder / "tokenizer.json")
    if tokenizer is None:
        slow = model_json(folder / "vocab.json")
        return None if slow is None else slow | added_tokens(folder)
    pieces = (tokenizer.get("model") or {}).get("vocab") or {}
    found = dict(pieces) if isinstance(pieces, dict) else {piece[0]: n for n, piece in enumerate(pieces)}
    return found | added_tokens(folder)


def added_tokens(folder: Path) -> dict[str, int]:
    """Return the tokens that a tokenizer never takes apart, with their ids, from all files that list such."""
    decoder = (model_json(folder / "tokenizer_config.json") or {}).get("added_tokens_decoder") or {}
    listed = (model_json(folder / "tokenizer.json") or {}).get("added_tokens") or []
    return {
        **{token["content"]: token.get("id", -1) for token in listed},
        **{token["content"]: int(number) for number, token in decoder.items()},
        **(model_json(folder / "added_tokens.json") or {}),
    }


def template_file(folder: Path) -> Path:
    """Return the file that a folder's chat template stands in, as transformers finds it."""
    own = folder / "chat_template.jinja"
    return own if own.is_file() else folder / "tokenizer_config.json"


def read_template(folder: Path) -> str | None:
    """Return the chat template of a folder, as transformers finds it: its own file, or in tokenizer_config.json."""
    file = template_file(folder)
    if file.suffix == ".jinja":
        return small_text(file, subject="the chat template is ", error=ModelError)
    found = (model_json(file) or {}).get("chat_template")
    if isinstance(found, list):  # several with names
        found = next((each.get("template") for each in found if each.get("name") == "default"), None)
    return found if isinstance(found, str) else None


def special_tokens(folder: Path) -> dict[str, str]:
    """Return the special tokens that a folder's files name: bos_token, eos_token, ...

    special_tokens_map.json is the older place: transformers reads it, over tokenizer_config.json, only where the
    latter lists no added tokens (tokenization_utils_base.py, _from_pretrained).
    """
    named = model_json(folder / "tokenizer_config.json") or {}
    if "added_tokens_decoder" not in named:
        named |= model_json(folder / "special_tokens_map.json") or {}
    texts = {key: value.get("content") if isinstance(value, dict) else value for key, value in named.items()}
    return {key: text for key, text in texts.items() if key.endswith("_token") and isinstance(text, str) and text}


def adds_bos(folder: Path) -> bool:
    """Return whether a folder's tokenizer puts its bos before every text, as its base model was trained to read it.

    tokenizer_config.json's add_bos_token wins over the post-processor of tokenizer.json.
    """
    said = (model_json(folder / "tokenizer_config.json") or {}).get("add_bos_token")
    if isinstance(said, bool):
        return said
    first = (model_json(folder / "tokenizer.json") or {}).get("post_processor") or {}
    steps = [first, *(first.get("processors") or ())]
    begins = [step["single"][0] for step in steps if step.get("type") == "TemplateProcessing" and step.get("single")]
    return any(piece.get("SpecialToken", {}).get("id") == special_tokens(folder).get("bos_token") for piece in begins)


def split_card(text: str) -> tuple[dict[str, Any], str]:
    """Return the metadata and the body of a model's README; no metadata where it opens with none.

    Raises yaml.YAMLError for metadata that is no YAML.
    """
    found = re.match(r"---[ \t]*\n(.*?)\n---[ \t]*\n?", text, flags=re.DOTALL)
    if not found:
        return {}, text
    values = parse_any(found[1])
    return (values if isinstance(values, dict) else {}), text[found.end() :]
