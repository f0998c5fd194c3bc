"""What the files of a model folder say, as transformers 5.16 reads them and without it: importing it takes seconds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from alphaf_orch.core.errors import ModelError
from alphaf_orch.core.record import read_json
from alphaf_orch.programs.native_types import NATIVE_TYPES

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
# The limit the safetensors library itself sets for a header.
_MAX_HEADER_BYTES = 100_000_000


class Tensor(NamedTuple):
    """What a safetensors header says of one tensor, the dtype in its own words (BF16)."""

    dtype: str
    shape: tuple[int, ...]


class _Header(NamedTuple):
    tensors: Mapping[str, Tensor]
    file_bytes: int  # that the file must have


def brings_code(config: Mapping[str, Any]) -> bool:
    """Return whether a model of this config.json runs python files that come with it; a class of ours spares them."""
    return "auto_map" in config and config.get("model_type") not in NATIVE_TYPES


def loaded_file(folder: Path, names: Sequence[str] = WEIGHTS) -> Path | None:
    """Return the file that transformers opens for the weights: one file wins over an index, safetensors over .bin."""
    files = (folder / f"{name}{suffix}" for name in names for suffix in ("", ".index.json"))
    return next((file for file in files if file.is_file()), None)


def shards(file: Path) -> list[str]:
    """Return the names of the files that an index lists, sorted, or of the one file; none where an index is cut off."""
    if file.suffix != ".json":
        return [file.name]
    return sorted(set(((read_json(file) or {}).get("weight_map") or {}).values()))


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
    if isinstance(header, str):
        return header
    size = path.stat().st_size
    return None if size == header.file_bytes else f"cut short: {size:,} of {header.file_bytes:,} bytes"


def read_tensors(path: Path) -> Mapping[str, Tensor]:
    """Return every tensor of a safetensors file by its name; raise ModelError where the header cannot be read."""
    header = _header(path)
    if isinstance(header, str):
        raise ModelError("the weights cannot be read", where=str(path), fix="copy the file again")
    return header.tensors


def _header(path: Path) -> _Header | str:
    if not path.is_file():
        return "absent"
    stat = path.stat()
    return _read_header(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1024)  # a plan asks several times for those of a model of a hundred shards
def _read_header(path: Path, size: int, _mtime_ns: int) -> _Header | str:
    """Return a file's header, or why it has none.

    Layout: 8 bytes little-endian header length, JSON header with `data_offsets`, then the data
    (https://github.com/huggingface/safetensors, README "Format").
    """
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        if size < 8 or header_bytes > _MAX_HEADER_BYTES:
            return "not safetensors"
        if size < 8 + header_bytes:
            return f"cut short: {size:,} bytes, its header alone is {header_bytes:,}"
        try:
            entries = {name: t for name, t in json.loads(file.read(header_bytes)).items() if name != "__metadata__"}
            tensors = {name: Tensor(t["dtype"], tuple(t["shape"])) for name, t in entries.items()}
            end = max((t["data_offsets"][1] for t in entries.values()), default=0)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            return "not safetensors"
    return _Header(tensors, 8 + header_bytes + end)


def read_vocabulary(folder: Path) -> dict[str, int] | None:
    """Return every token with its id, added ones included; None without a tokenizer.json or vocab.json."""
    tokenizer = _tokenizer(folder)
    if tokenizer is None:
        slow = read_json(folder / "vocab.json")
        return None if slow is None else slow | added_tokens(folder)
    pieces = (tokenizer.get("model") or {}).get("vocab") or {}
    found = dict(pieces) if isinstance(pieces, dict) else {piece[0]: n for n, piece in enumerate(pieces)}
    return found | added_tokens(folder)


def added_tokens(folder: Path) -> dict[str, int]:
    """Return the tokens that a tokenizer never takes apart, with their ids, from all files that list such."""
    decoder = (read_json(folder / "tokenizer_config.json") or {}).get("added_tokens_decoder", {})
    return {
        **{token["content"]: token.get("id", -1) for token in (_tokenizer(folder) or {}).get("added_tokens", [])},
        **{token["content"]: int(number) for number, token in decoder.items()},
        **(read_json(folder / "added_tokens.json") or {}),
    }


def _tokenizer(folder: Path) -> Mapping[str, Any] | None:
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    stat = file.stat()
    return _read_tokenizer(file, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4)  # of tens of megabytes each: base, partner and the run's own
def _read_tokenizer(file: Path, _size: int, _mtime_ns: int) -> Mapping[str, Any] | None:
    return read_json(file)


def read_template(folder: Path) -> str | None:
    """Return the chat template of a folder, as transformers finds it: its own file, or in tokenizer_config.json."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    found = (read_json(folder / "tokenizer_config.json") or {}).get("chat_template")
    if isinstance(found, list):  # several with names
        found = next((each.get("template") for each in found if each.get("name") == "default"), None)
    return found if isinstance(found, str) else None


def special_tokens(folder: Path) -> dict[str, str]:
    """Return the special tokens that a folder's files name: bos_token, eos_token, ...

    special_tokens_map.json is the older place: transformers reads it, over tokenizer_config.json, only where the
    latter lists no added tokens (tokenization_utils_base.py, _from_pretrained).
    """
    named = read_json(folder / "tokenizer_config.json") or {}
    if "added_tokens_decoder" not in named:
        named |= read_json(folder / "special_tokens_map.json") or {}
    texts = {key: value.get("content") if isinstance(value, dict) else value for key, value in named.items()}
    return {key: text for key, text in texts.items() if key.endswith("_token") and isinstance(text, str) and text}


def adds_bos(folder: Path) -> bool:
    """Return whether a folder's tokenizer puts its bos before every text, as its base model was trained to read it.

    tokenizer_config.json's add_bos_token wins over the post-processor of tokenizer.json.
    """
    said = (read_json(folder / "tokenizer_config.json") or {}).get("add_bos_token")
    if isinstance(said, bool):
        return said
    first = (_tokenizer(folder) or {}).get("post_processor") or {}
    steps = [first, *first.get("processors", ())]
    begins = [step["single"][0] for step in steps if step.get("type") == "TemplateProcessing" and step.get("single")]
    return any(piece.get("SpecialToken", {}).get("id") == special_tokens(folder).get("bos_token") for piece in begins)


def split_card(text: str) -> tuple[dict[str, Any], str]:
    """Return the metadata and the body of a model's README; no metadata where it opens with none."""
    found = re.match(r"---[ \t]*\n(.*?)\n---[ \t]*\n?", text, flags=re.DOTALL)
    if not found:
        return {}, text
    values = yaml.safe_load(found[1])
    return (values if isinstance(values, dict) else {}), text[found.end() :]
