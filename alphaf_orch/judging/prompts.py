"""The prompts that models are compared on: the embedded set, or a user's own JSON Lines file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import DataError
from alphaf_orch.core.names import expanded
from alphaf_orch.core.record import fingerprint
from alphaf_orch.core.several import raise_all
from alphaf_orch.core.values import nearest
from alphaf_orch.inputs.sources import missing_hint
from alphaf_orch.programs.rows import read_rows

EMBEDDED = "preference_ko"
_MOST = 1000  # ours: wrong rows after which no more are read
_KEYS = ("id", "category", "prompt", "turns", "system", "reference")


@dataclass(frozen=True)
class Prompt:
    """What one conversation asks: its user turns, each put after the answer to the one before.

    `reference` is a right answer to the last turn, where there is a single one.
    """

    id: str
    category: str
    turns: tuple[str, ...]
    reference: str | None = None
    system: str | None = None


@dataclass(frozen=True)
class PromptSet:
    """Prompts with the name that their answers are stored under and a fingerprint of what they say."""

    name: str
    prompts: tuple[Prompt, ...]
    identity: str


def load_prompts(name_or_path: str, folders: tuple[Path, ...]) -> PromptSet:
    """Return the set called so in a template folder (`prompts/NAME.jsonl`), or the one in a user's file.

    Raises DataError naming file, line and key of every row that cannot be used.
    """
    path = _find(name_or_path, folders)
    wrong: list[DataError] = []
    prompts = tuple(_read(path, wrong))
    raise_all(wrong)
    if not prompts:
        raise DataError(
            "the prompt file has no rows", where=str(path), fix='write one {"prompt": "…"} a line', code="data.no_rows"
        )
    return PromptSet(path.stem, prompts, fingerprint([asdict(prompt) for prompt in prompts]))


def _find(name: str, folders: tuple[Path, ...]) -> Path:
    for folder in folders:
        found = folder / "prompts" / f"{name}.jsonl"
        if "/" not in name and found.is_file():
            return found
    path = expanded(name)
    if path.is_file():
        return path
    if path.is_dir():
        raise DataError(
            f"{name} is a folder, not a file",
            where=str(path.absolute()),
            fix="name a JSON Lines file",
            code="data.not_a_file",
        )
    if "/" in name or path.suffix:
        raise DataError(
            f"no such prompt file: {name}", where=str(path.absolute()), fix=missing_hint(path), code="data.file_missing"
        )
    known = sorted({file.stem for folder in folders for file in (folder / "prompts").glob("*.jsonl")})
    raise DataError(
        f"there is no prompt set {name}{nearest(name, known)}",
        where=", ".join(str(folder / "prompts") for folder in folders),
        fix=f"use {', '.join(known) or 'a file'}, or the path of a JSON Lines file",
        code="data.unknown_name",
    )


def _read(path: Path, wrong: list[DataError]) -> Iterator[Prompt]:
    """Yield the prompts of the rows that are some; what is wrong with the others is put into the list."""
    seen: dict[tuple[Any, ...], int] = {}
    for number, row in _rows(path):
        try:
            yield _new_prompt(row, f"{path} line {number}", number, seen)
        except DataError as error:
            wrong.append(error)
            if len(wrong) >= _MOST:
                return


def _new_prompt(row: object, where: str, number: int, seen: dict[tuple[Any, ...], int]) -> Prompt:
    prompt = _prompt(row, where)
    for key, value in (("id", prompt.id), ("turns", (prompt.system, prompt.turns))):
        first = seen.setdefault((key, value), number)
        if first != number:
            what = "id" if key == "id" else "conversation"
            raise _error(
                f"line {first} has the same {what}", where, key, "keep one of the two rows", code="data.given_twice"
            )
    return prompt


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    number = 0
    try:
        for number, row in read_rows(path):
            yield number, row
    except (OSError, ValueError) as error:
        where = f"{path}, after line {number}"
        raise DataError(
            f"cannot read the prompts: {error}", where=where, fix="write JSON Lines in UTF-8", code="data.unreadable"
        ) from None


def _prompt(row: object, where: str) -> Prompt:
    if not isinstance(row, Mapping):
        raise _error("the row is no JSON object", where, "row", 'write {"prompt": "…"}', code="data.not_an_object")
    row = {key: value for key, value in row.items() if value is not None}
    for key in row:
        if key not in _KEYS:
            raise _error(
                f"unknown key {key}{nearest(key, _KEYS)}",
                where,
                key,
                f"known keys: {', '.join(_KEYS)}",
                code="data.unknown_key",
            )
    turns = _turns(row, where)
    texts = {key: _text(row[key], where, key) for key in ("category", "system", "reference") if key in row}
    # A name made of what is asked stays the same wherever the row stands, so that answers can be paired by it.
    made = f"p-{fingerprint([texts.get('system'), turns])[:12]}"
    given = row.get("id", made)
    name = str(given) if type(given) is int else _text(given, where, "id")
    return Prompt(name, texts.get("category", ""), turns, texts.get("reference"), texts.get("system"))


def _turns(row: Mapping[str, Any], where: str) -> tuple[str, ...]:
    if ("prompt" in row) == ("turns" in row):
        what = "the row has both prompt and turns" if "prompt" in row else "the row has neither prompt nor turns"
        raise _error(
            what,
            where,
            "prompt",
            "give prompt (one text) or turns (a list of the user's texts)",
            code="data.two_columns" if "prompt" in row else "data.key_missing",
        )
    if "prompt" in row:
        return (_text(row["prompt"], where, "prompt"),)
    if not isinstance(row["turns"], list) or not row["turns"]:
        raise _error(
            "turns is no list of texts", where, "turns", "list what the user says, in order", code="data.wrong_type"
        )
    return tuple(_text(turn, where, f"turns[{index}]") for index, turn in enumerate(row["turns"]))


def _text(value: object, where: str, key: str) -> str:
    if not isinstance(value, str) or not value.strip():
        what = "is blank" if isinstance(value, str) else "is no text"
        raise _error(
            f"{key} {what}",
            where,
            key,
            "give a text, or drop the key",
            code="data.blank" if isinstance(value, str) else "data.wrong_type",
        )
    # Half an emoji (an escape such as \ud83d alone) is something that no tokenizer can encode.
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise _error(
            f"{key} holds half a surrogate pair",
            where,
            key,
            "write the character itself in UTF-8",
            code="data.broken_text",
        )
    return value


def _error(what: str, where: str, key: str, fix: str, *, code: str) -> DataError:
    return DataError(what, where=f"{where}, key {key}", fix=fix, code=code)
