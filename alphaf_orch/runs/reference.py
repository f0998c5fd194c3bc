"""The tokenizer and chat template that all models of a run are asked with: whose they are, and what was trained on."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import fingerprint, read_manifest
from alphaf_orch.core.stored import Unreadable, absent, numbered_lines
from alphaf_orch.inputs.model_files import read_template
from alphaf_orch.inputs.model_json import model_json
from alphaf_orch.planning.base import find_preset
from alphaf_orch.planning.recipes import chat_settings
from alphaf_orch.programs.tokenizer_files import PATTERNS
from alphaf_orch.runs.chain import ChainModel, finished, model_folder, run_config
from alphaf_orch.runs.damage import refuse_model
from alphaf_orch.runs.run_date import run_date

# Where it was loaded from, not what it does.
_PLACES = ("is_local", "local_files_only", "name_or_path")


@dataclass(frozen=True)
class Reference:
    """The tokenizer that training left behind, or, before any training, what it will be made of."""

    folder: Path | None
    identity: str
    setup: Mapping[str, Any]  # chat_template, added_tokens, special_tokens of the recipe; empty with a folder


@dataclass(frozen=True)
class TrainedSystems:
    """The system texts of the conversations that the data stage kept as samples."""

    texts: frozenset[str]
    conversations: int
    with_system: int


def find_reference(paths: RunPaths, models: Sequence[ChainModel]) -> Reference:
    """Return the tokenizer of the run's first trained model, or the base's with the recipe's chat template."""
    if "sft" in finished(paths, read_manifest(paths.manifest)):
        folder = model_folder(paths, "sft")
        refuse_model(folder, "look")
        identity = tokenizer_identity(folder)
        if "strftime_now" in (read_template(folder) or ""):
            # The template writes a date, and scores are shared between runs of several dates.
            identity = fingerprint([identity, run_date(paths)])
        return Reference(folder, identity, {})
    config = run_config(paths)
    preset = find_preset(config)
    said = chat_settings(preset, [("", preset.sft), ("", config.sft)])
    text = said["chat_template_jinja"] if said["chat_template"] == "jinja" else None
    setup: dict[str, Any] = {
        "chat_template": said["chat_template"],
        "added_tokens": list(said["tokens"] or ()),
        "special_tokens": said["special_tokens"],
        **({"chat_template_jinja": text} if text else {}),
    }
    return Reference(None, fingerprint([models[0].identity, setup]), setup)


def tokenizer_identity(folder: Path) -> str:
    """Return a hash of a folder's tokenizer and chat template, equal for equal ones wherever they were saved."""
    found: dict[str, Any] = {}
    for file in {file for pattern in PATTERNS for file in folder.glob(pattern) if file.is_file()}:
        values = model_json(file) if file.name == "tokenizer_config.json" else None
        if values is None:
            with file.open("rb") as content:
                found[file.name] = hashlib.file_digest(content, "sha256").hexdigest()
        else:
            found[file.name] = {key: value for key, value in values.items() if key not in _PLACES}
    if not found:
        raise RunStateError(
            "the model has no tokenizer", where=str(folder), fix="run the merge again", code="run.tokenizer_missing"
        )
    return fingerprint(found)


def trained_systems(probe: Path) -> TrainedSystems | None:
    """Return the system texts among the run's sample conversations, or None where the run kept none.

    A line that is none of ours is left out: a warning depends on them, and `alphaf verify` tells the damage.
    """
    if absent(probe):
        return None
    found: list[str | None] = []
    try:
        for _, line in numbered_lines(probe):
            with contextlib.suppress(ValueError, RecursionError, LookupError, TypeError, AttributeError):
                found.append(_system_text(json.loads(line)["messages"]))
    except Unreadable:
        return None
    first = [text for text in found if text is not None]
    return TrainedSystems(frozenset(first), len(found), len(first)) if found else None


def _system_text(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the system text that a conversation begins with, if it has one; raise TypeError where it is no text."""
    if not messages or messages[0]["role"] != "system":
        return None
    text = messages[0]["content"]
    if not isinstance(text, str):
        raise TypeError
    return text


def stop_ids(model: Path, reference: Path | None) -> list[int]:
    """Return the ids that end an answer where generate() would not know them all; else nothing.

    The trained end marker must end the base model's answers too: in a batch lm-eval would otherwise let the row
    run on until the others end, and drop the marker from its text.
    """
    own = _eos_ids(model)
    rows = _rows(model)
    trained = [number for number in _eos_ids(reference) if rows is None or number < rows] if reference else []
    return sorted({*own, *trained}) if set(trained) - set(own) else []


def context_length(model: Path) -> int | None:
    """Return how many tokens a model can read, by its config, or None where it does not say."""
    config = model_json(model / "config.json") or {}
    for values in (config, config.get("text_config") or {}):
        for key in ("n_positions", "max_position_embeddings", "n_ctx", "seq_length"):
            if isinstance(values.get(key), int):
                return int(values[key])
    return None


def generation_defaults(model: Path) -> dict[str, Any]:
    """Return what a model's generation_config.json adds to greedy decoding, such as a repetition penalty."""
    config = model_json(model / "generation_config.json") or {}
    return {key: value for key, value in config.items() if key.endswith("_penalty") or key.startswith("no_repeat")}


def _eos_ids(model: Path) -> list[int]:
    for name in ("generation_config.json", "config.json"):
        value = (model_json(model / name) or {}).get("eos_token_id")
        if value is not None:
            return [int(number) for number in (value if isinstance(value, list) else [value])]
    return []


def _rows(model: Path) -> int | None:
    config = model_json(model / "config.json") or {}
    rows = config.get("vocab_size", (config.get("text_config") or {}).get("vocab_size"))
    return int(rows) if rows is not None else None
