"""Which base models can be trained: the presets, read and checked."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from alphaf_orch.core.credentials import refuse_credentials
from alphaf_orch.core.errors import ConfigError, ModelError
from alphaf_orch.core.names import expanded, real
from alphaf_orch.core.values import Mistake, numbers, validated
from alphaf_orch.core.yaml_files import read_document

Settings = Annotated[dict[str, Any], AfterValidator(numbers)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Architecture(_Frozen):
    """The shape of a decoder with gated MLP, under config.json's meanings."""

    class_name: str
    """architectures[0] of config.json."""
    layers: int = Field(gt=0)
    """num_hidden_layers of config.json."""
    hidden_size: int = Field(gt=0)
    """hidden_size of config.json."""
    intermediate_size: int = Field(gt=0)
    """intermediate_size of config.json."""
    attention_heads: int = Field(gt=0)
    """num_attention_heads of config.json."""
    kv_heads: int = Field(gt=0)
    """num_key_value_heads of config.json, else as many as attention heads."""
    vocab_size: int = Field(gt=0)
    """vocab_size of config.json, with the tokens that are added."""
    context: int = Field(gt=0)
    """max_position_embeddings of config.json."""
    norm: str
    """RMSNorm or LayerNorm."""
    rope_theta: float | None
    """rope_theta of config.json."""
    tie_word_embeddings: bool
    """Whether input and output embeddings are one."""
    parameters: int = Field(gt=0)
    """Computed from the values above."""
    head_dim: Annotated[int, Field(gt=0)] | None = None
    """head_dim of config.json; hidden_size / attention_heads unless said."""


class SpecialTokens(_Frozen):
    """The trained model's special tokens, under axolotl's keys."""

    bos_token: str | None
    """What stands before every text; null where the model has none."""
    eos_token: str | None
    """What ends an assistant's turn."""
    pad_token: str | None
    """What rows are filled up with; it differs from eos, or no end would be learnt."""


class ModelPreset(_Frozen):
    """One trainable base model with the settings that differ from the recipe's."""

    name: str
    """The name that --model takes: the file's own, without .yaml."""
    title: str
    """What `alphaf models` and the report call it."""
    source: Literal["hub", "local", "build_tiny", "convert_smollm2"]
    """Where the weights are: on the hub, in a folder here, or built by alphaf."""
    base_model: str
    """The hub id, or the model's folder."""
    revision: str | None
    """The commit on the hub; null: the one met at first use is recorded and insisted on."""
    trust_remote_code_required: bool
    """Whether the model runs python code that comes with its weights."""
    licence: str
    """The licence that the model's page states."""
    architecture: Architecture | None
    """The model's shape: memory and time are estimated with it; null where it is another kind."""
    chat_template: str
    """The template that turns are written by: chatml, tokenizer_default, jinja, ..."""
    special_tokens: SpecialTokens
    """The trained model's special tokens."""
    tokens: tuple[str, ...] | None
    """Tokens added to the vocabulary; null for none."""
    sequence_len: int = Field(gt=0)
    """The longest sequence that is trained, in tokens."""
    gpus: Annotated[int, Field(gt=0)] | Literal["auto"]
    """GPUs of a training; auto: one if there is one, else CPU."""
    sft: Settings
    """Keys of the SFT recipe that differ for this model."""
    dpo: Settings
    """Keys of the DPO recipe that differ for this model."""
    sft_data: str
    """Training data where none is named."""
    dpo_data: str
    """Preference data where none is named."""
    merge: Settings = {}
    """Used by `alphaf merge-models` where neither partner nor method is named."""


def preset_names(folders: Sequence[Path]) -> tuple[str, ...]:
    """Return the names of all presets in the folders, sorted; `generic` is a recipe, not a model."""
    return tuple(sorted({path.stem for folder in folders for path in folder.glob("*.yaml")} - {"generic"}))


def list_presets(folders: Sequence[Path]) -> tuple[ModelPreset, ...]:
    """Return every preset, sorted by name; where a name is in two folders, the first folder's."""
    return tuple(load_preset(name, folders) for name in preset_names(folders))


def readable_presets(folders: Sequence[Path]) -> tuple[tuple[ModelPreset, ...], dict[str, ConfigError]]:
    """Return the presets that can be read, sorted by name, and of the others by name what is wrong with each."""
    found, wrong = [], {}
    for name in preset_names(folders):
        try:
            found.append(load_preset(name, folders))
        except ConfigError as error:
            wrong[name] = error
    return tuple(found), wrong


def is_own(name: str, folders: Sequence[Path]) -> bool:
    """Return whether a name means a folder or a hub id, not a preset.

    Raises ModelError where a preset and a folder below the current one have that name: either may be meant.
    """
    if "/" in name:
        return True
    folder = expanded(name)
    if folder.is_dir() and name in preset_names(folders):
        raise ModelError(
            f"{name!r} is a preset, and a folder here has that name too",
            where=f"--model {name}; {real(folder)}",
            fix=f"write ./{name} for the folder; for the preset, rename the folder or call alphaf elsewhere",
            code="model.ambiguous",
        )
    return folder.is_dir()


def load_preset(name: str, folders: Sequence[Path]) -> ModelPreset:
    """Return the preset from the first folder that has it.

    Raises ModelError for an unknown name and ConfigError for a file that is no preset.
    """
    known = preset_names(folders)
    if name not in known:
        near = difflib.get_close_matches(name.lower(), known, n=1)
        raise ModelError(
            f"no model is called {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
            where=f"--model {name}; known models: {', '.join(known)}",
            fix="use a known name, the path of a model folder, or a hub id such as ORG/NAME",
            code="model.unknown_name",
        )
    return read_preset(first_file(f"{name}.yaml", folders))


def remote_code(preset: ModelPreset, *, allowed: bool) -> bool:
    """Return whether python code that comes with the weights is run: permission is not need, and need no permission."""
    return preset.trust_remote_code_required and allowed


def require_trust(preset: ModelPreset, *, trust_remote_code: bool) -> None:
    """Raise ModelError for a model that brings its own python code, unless the user allowed it."""
    if preset.trust_remote_code_required and not trust_remote_code:
        raise ModelError(
            f"{preset.name} runs python code that comes with its weights",
            where=f"{preset.base_model}: no class of transformers loads it",
            fix="read the .py files in the model's folder, then pass --trust-remote-code",
            code="model.runs_code",
        )


def first_file(name: str, folders: Sequence[Path]) -> Path:
    """Return what has that name in the first folder that has it; one of them does."""
    return next(folder / name for folder in folders if os.path.lexists(folder / name))


def file_of(preset: ModelPreset, folders: Sequence[Path]) -> Path:
    """Return the file that a preset was read from: its own, or for a model of one's own the generic one."""
    named = [folder / f"{preset.name}.yaml" for folder in folders]
    return next((file for file in named if file.is_file()), None) or first_file("generic.yaml", folders)


def read_preset(path: Path) -> ModelPreset:
    """Return the preset a file holds; ConfigError names file, line and key of the first mistake."""
    document = read_document(path, f"model preset {path.stem}: ")
    refuse_credentials(document.values, str(path))
    lines = document.lines

    def told(mistake: Mistake) -> ConfigError:
        # pydantic puts the branch of a union behind the key.
        given = next((mistake.keys[:n] for n in range(len(mistake.keys), 0, -1) if mistake.keys[:n] in lines), ())
        named = mistake.keys if mistake.kind == "missing" else given
        message = "is not a known key" if mistake.unknown else mistake.message
        code = "config.unknown_key" if mistake.unknown else "config.wrong_value"
        return _bad_key(path, lines.get(given, 1), named, message, code)

    preset = validated(ModelPreset, document.values, told)
    if preset.name != path.stem:
        problem = f"is {preset.name!r}, but the file is {path.name}"
        raise _bad_key(path, lines[("name",)], ("name",), problem, "config.wrong_value")
    return preset


def _bad_key(path: Path, line: int, keys: tuple[str, ...], problem: str, code: str) -> ConfigError:
    """Return the error for one key of a preset file."""
    return ConfigError(
        f"model preset {path.stem}: {'.'.join(keys) or 'the file'}: {problem}",
        where=f"{path} line {line}",
        fix="correct the line; `alphaf models` shows the presets that work",
        code=code,
    )
