"""What the files of a model folder say, read without the libraries that load models."""

from __future__ import annotations

from pathlib import Path

from alphaf_orch.core.record import read_json


def read_vocabulary(folder: Path) -> dict[str, int] | None:
    """Return every token with its id, added ones included; None where there is no tokenizer.json."""
    tokenizer = read_json(folder / "tokenizer.json")
    if tokenizer is None:
        return None
    pieces = (tokenizer.get("model") or {}).get("vocab") or {}
    found = dict(pieces) if isinstance(pieces, dict) else {piece[0]: n for n, piece in enumerate(pieces)}
    return found | {token["content"]: token["id"] for token in tokenizer.get("added_tokens", [])}


def read_template(folder: Path) -> str | None:
    """Return the chat template of a folder, as transformers finds it: its own file, or in tokenizer_config.json."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    found = (read_json(folder / "tokenizer_config.json") or {}).get("chat_template")
    if isinstance(found, list):  # several with names
        found = next((each.get("template") for each in found if each.get("name") == "default"), None)
    return found if isinstance(found, str) else None
