"""The JSON files of a model folder, each key that is read of the kind that it must have; all other keys are free."""

from __future__ import annotations

import json
import os
import re
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, Strict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from alphaf_orch.core.errors import ModelError
from alphaf_orch.core.small_files import JSON_BYTES, parse_json, small_bytes

# Ours: torch counts a tensor's sizes in 64 bits, and no model has a size that 31 do not hold.
_LARGEST = 2**31 - 1
_Size = Annotated[int, Strict(), Field(ge=1, le=_LARGEST)]
_Id = Annotated[int, Strict()]
_Text = Annotated[str, Strict()]
_Flag = Annotated[bool, Strict()]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Object = dict[str, Any]


def _plain_name(name: str) -> str:
    """Return the name of a shard; raise ValueError for one that leads out of the model's folder."""
    if not name or "\0" in name or name in (".", "..") or "/" in name or len(os.fsencode(name)) > 255:
        raise ValueError("is no plain file name: weights lie in the model's own folder")
    return name


_FREE = with_config(ConfigDict(extra="allow"))
_Sizes = _Size | list[_Size] | None  # some models have a size a layer: they are loaded, and not estimated
_Eos = _Id | list[_Id] | None


@_FREE
class _Sized(TypedDict, total=False):
    """The sizes that config.json states, of the whole model or of its part for text."""

    num_hidden_layers: _Size | None
    hidden_size: _Sizes
    intermediate_size: _Sizes
    num_attention_heads: _Sizes
    num_key_value_heads: _Sizes
    head_dim: _Sizes
    vocab_size: _Size | None
    max_position_embeddings: _Size | None
    n_positions: _Size | None
    n_ctx: _Size | None
    seq_length: _Size | None


@_FREE
class _Config(_Sized, total=False):
    architectures: list[_Text] | None
    model_type: _Text | None
    auto_map: _Object | None
    tie_word_embeddings: _Flag | None
    is_encoder_decoder: _Flag | None
    rope_parameters: _Object | None
    rope_scaling: _Object | None
    rope_theta: _Positive | None
    eos_token_id: _Eos
    text_config: _Sized | None
    transformers_weights: Annotated[_Text, AfterValidator(_plain_name)] | None


@_FREE
class _Generation(TypedDict, total=False):
    eos_token_id: _Eos


@_FREE
class _NamedTemplate(TypedDict, total=False):
    name: _Text
    template: _Text


@_FREE
class _Token(TypedDict):
    content: _Text


@_FREE
class _NumberedToken(_Token, total=False):
    id: _Id


@_FREE
class _TokenizerConfig(TypedDict, total=False):
    chat_template: _Text | list[_NamedTemplate] | _Object | None
    added_tokens_decoder: dict[Annotated[str, Field(pattern=r"^[0-9]{1,10}$")], _Token] | None
    add_bos_token: _Flag | None


@_FREE
class _Piece(TypedDict, total=False):
    SpecialToken: _Object


@_FREE
class _Processor(TypedDict, total=False):
    type: _Text
    single: list[_Piece] | None
    processors: list[_Object]


@_FREE
class _Vocabulary(TypedDict, total=False):
    vocab: dict[str, _Id] | list[tuple[_Text, float]] | None


@_FREE
class _Tokenizer(TypedDict, total=False):
    model: _Vocabulary | None
    added_tokens: list[_NumberedToken] | None
    post_processor: _Processor | None


@_FREE
class _Index(TypedDict, total=False):
    weight_map: dict[str, Annotated[_Text, AfterValidator(_plain_name)]] | None


@_FREE
class _Adapter(TypedDict, total=False):
    base_model_name_or_path: _Text | None


_KINDS: dict[str, Any] = {
    "config.json": _Config,
    "generation_config.json": _Generation,
    "tokenizer_config.json": _TokenizerConfig,
    "tokenizer.json": _Tokenizer,
    "vocab.json": dict[str, _Id],
    "added_tokens.json": dict[str, _Id],
    "model.safetensors.index.json": _Index,
    "pytorch_model.bin.index.json": _Index,
    "adapter_config.json": _Adapter,
}
# Half of a surrogate pair can be written in JSON and in no file of ours; a tokenizer's rust reads none either.
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def model_json(file: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file of a model folder, or None where there is no file, or no such object in it.

    Raises ModelError naming the key that is not of its kind, and for a file too large to be one.
    """
    if not file.is_file():
        return None
    stat = file.stat()
    return _read(file, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=16)  # asked for again and again by one plan; a tokenizer's has tens of megabytes
def _read(file: Path, _size: int, _mtime_ns: int) -> dict[str, Any] | None:
    try:
        text = small_bytes(file, most=JSON_BYTES, subject=f"{file.name} is ", error=ModelError).decode("utf-8")
        value = parse_json(text)
    except ValueError:  # what an interrupted copy leaves; also bytes that are not UTF-8
        return None
    if not isinstance(value, dict):
        return None
    try:
        if _HALF.search(text):
            json.dumps(value, ensure_ascii=False).encode()
        if file.name in _KINDS:
            _adapter(file.name).validate_python(value)
    except UnicodeEncodeError:
        raise _refused(file, "a text", "holds half a surrogate pair") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        # pydantic names the choice of a union that it tried: with brackets, by its type, or as a class.
        keys = [str(part) for part in first["loc"] if part in value or not _CHOICE.fullmatch(str(part))]
        said = first["msg"].removeprefix("Value error, ")
        raise _refused(file, ".".join(keys), said[:1].lower() + said[1:]) from None
    return value


_CHOICE = re.compile(r"_\w+|.*\[.*|int|float|str|constrained-\w+|function-after")


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(_KINDS[name])


def _refused(file: Path, key: str, problem: str) -> ModelError:
    what = f"{file.name} cannot be used: {key}: {problem}"
    return ModelError(
        what, where=f"{file}, key {key}", fix="copy the file again, or correct it", code="model.config_unusable"
    )
