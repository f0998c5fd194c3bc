"""The tokenizer of a merged model, and how mergekit matches the rows of models with other vocabularies to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alphaf_orch.programs.merging.contract import SPECIAL_IDS, load_tokenizer


def target_tokenizer(policy: str, own: Path, partners: Sequence[Path], base: Path | None, trust: bool) -> Any:
    """Return the merged model's tokenizer: the run's own template and special tokens over the vocabulary asked for.

    run: the run's own vocabulary. union: with the partners' added tokens (their chat markers) behind it; ordinary
    pieces of another BPE are left out, because this tokenizer's merges could never make them. base: the merge base's
    vocabulary; ValueError where it lacks or moves a token that the run was trained with.
    """
    tokenizer = load_tokenizer(own, trust)
    if policy == "union":
        for partner in partners:
            added = load_tokenizer(partner, trust).added_tokens_decoder.values()
            tokenizer.add_tokens([token for token in added if token.content not in tokenizer.get_vocab()])
    if policy == "base" and base is not None:
        whole = load_tokenizer(base, trust)
        vocabulary = whole.get_vocab()
        lost = [token for token, number in tokenizer.get_vocab().items() if vocabulary.get(token) != number]
        if lost:
            raise ValueError(
                f"the base's vocabulary lacks or moves {len(lost)} tokens that the run was trained with, such as"
                f" {lost[0]!r}"
            )
        for key in SPECIAL_IDS:
            name = key.removesuffix("_id")
            setattr(whole, name, getattr(tokenizer, name))
        whole.chat_template = tokenizer.chat_template
        tokenizer = whole
    return tokenizer


def embedding_rows(folder: Path) -> int:
    """Return how many rows a model's config.json says that its embedding has."""
    return int(json.loads((folder / "config.json").read_text("utf-8"))["vocab_size"])


def alignment(target: Any, target_dir: Path, own: Path, models: Mapping[str, Path], trust: bool) -> dict[str, Any]:
    """Return the `tokenizer:` that mergekit needs; empty where all models have one vocabulary and number of rows.

    The result has as many rows as the run's own model, or one for each token where that is more: mergekit would
    cut off the rows behind the last token, which some models are padded with.
    """
    vocabulary, rows = target.get_vocab(), embedding_rows(own)
    alike = all(
        embedding_rows(folder) == rows and load_tokenizer(folder, trust).get_vocab() == vocabulary
        for folder in models.values()
    )
    if alike:
        return {}
    # mergekit pads to a multiple: of this number, the first one is the number itself.
    wanted = max(rows, max(vocabulary.values()) + 1)
    return {"source": {"model": {"path": str(target_dir)}}, "pad_to_multiple_of": wanted}


def own_template(folder: Path, target: Any, trust: bool) -> str | None:
    """Return a partner's chat template where it has one that differs from the run's."""
    template = load_tokenizer(folder, trust).chat_template
    return template if isinstance(template, str) and template != target.chat_template else None
