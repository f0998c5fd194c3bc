"""Child program: counts what Korean costs in each model's own tokenizer.

Usage: python -m alphaf_orch.programs.facts.tokenizer_facts CONFIG.yaml

Config keys: files (JSON Lines, every text in them counts), tokenizers (list of name, path, revision,
trust_remote_code), output (JSON).

The text is the Korean words of the files (runs of Hangul syllables), one space between them, so that digits and Latin
words do not dilute the figure. Writes {"text": {"sha256", "words", "syllables", "distinct_syllables"}, "tokenizers":
{name: counts, or {"error"}}}. Exit codes: 2 config, 3 text.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphaf_orch.programs.common import DATA, Failure, config_path, program, read_config, write_json
from alphaf_orch.programs.evaluation.eval_tokenizer import load
from alphaf_orch.programs.rows import read_rows, texts

KEYS = ("files", "tokenizers", "output")
_WORD = re.compile(r"[가-힣]+")
_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")


def korean_text(files: list[str]) -> str:
    """Return the Korean words of the files with one space between them; a file that cannot be read ends with 3."""
    words: list[str] = []
    for name in files:
        try:
            for _, row in read_rows(name):
                words += (word for text in texts(row) for word in _WORD.findall(text))
        except (OSError, ValueError) as error:
            raise Failure(
                DATA,
                f"cannot read the text: {error}",
                where=name,
                fix="write JSON Lines in UTF-8",
                code="data.unreadable",
            ) from error
    if not words:
        raise Failure(
            DATA,
            "the files hold no Korean",
            where=", ".join(files),
            fix="name files with Korean texts",
            code="data.no_korean",
        )
    return " ".join(words)


def facts(tokenizer: Any, text: str) -> dict[str, Any]:
    """Return the counts of one tokenizer over the text.

    tokens_per_syllable = tokens / syllables. A syllable is one token if an entry of the vocabulary spells it and
    nothing else (a word mark aside); of these the share over all syllables, each as often as it stands in the text.
    A token is in pieces if it is unknown, a byte, or spells no whole character.
    """
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    syllables = Counter(text.replace(" ", ""))
    total = sum(syllables.values())
    spelt = [tokenizer.decode([number]) for number in range(len(tokenizer))]
    whole = {piece.strip() for piece in spelt}
    names = tokenizer.convert_ids_to_tokens(ids)
    pieces = sum(
        number == tokenizer.unk_token_id or bool(_BYTE.fullmatch(name)) or "\ufffd" in spelt[number]
        for number, name in zip(ids, names, strict=True)
    )
    return {
        "class": type(tokenizer).__name__,
        "entries": len(tokenizer),
        "tokens": len(ids),
        "tokens_per_syllable": len(ids) / total,
        "one_token_syllables": sum(count for syllable, count in syllables.items() if syllable in whole) / total,
        "pieces": pieces / len(ids),
    }


def run(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of every tokenizer; one that cannot be loaded says why in its place."""
    text = korean_text(config["files"])
    syllables = text.replace(" ", "")
    found: dict[str, Any] = {}
    for given in config["tokenizers"]:
        try:
            found[given["name"]] = facts(load(given["path"], given["revision"], trust=given["trust_remote_code"]), text)
        except Failure as failure:
            # One unreadable tokenizer must not hide the others.
            found[given["name"]] = {"error": failure.message}
    return {
        "text": {
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
            "words": text.count(" ") + 1,
            "syllables": len(syllables),
            "distinct_syllables": len(set(syllables)),
        },
        "tokenizers": found,
    }


def main(argv: list[str]) -> None:
    """Write the facts of the config's tokenizers to the file that it names."""
    config = read_config(config_path(argv), KEYS)
    write_json(Path(config["output"]), run(config))


if __name__ == "__main__":
    program(main)
