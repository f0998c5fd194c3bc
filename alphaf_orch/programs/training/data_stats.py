"""Child program: counts rows and tokens as the trainer will see them.

Usage: python -m alphaf_orch.programs.training.data_stats CONFIG.yaml

Config keys: tokenizer (folder or Hub id), revision, trust_remote_code, chat_template (a name axolotl knows,
or null for the tokenizer's own), chat_template_jinja, special_tokens, added_tokens, eot_tokens, sequence_len,
kind (chat, preference or text), datasets (list of path, kind local or hub, split, revision), output (JSON), probe
(JSON Lines), probe_rows; model_rows (null, or `trained`: the modules whose rows training changes, null for all, and
`allow_untrained`): refuse tokens of the template that the model has not learnt; preferences (data sets a later DPO is
to use, for `chat`) and preference_len (tokens that DPO reads of a pair, null for any number): refuse what the template
does not take, or DPO could not train on, before SFT has run; held_out (`share` drawn of the rows for evaluation, and
`datasets` named for it): count rows that are trained on too.

Writes `output` with the counts and `probe` with the first conversations as {"messages": [...]}, a preference
row as its prompt and chosen answer, an assistant's turn without loss with "train": false. Lengths are in tokens;
of a preference row's two conversations the longer one counts, and both in the total. Exit codes: 2 config, 3 data,
4 tokenizer, chat template or tokens.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from alphaf_orch.programs.common import config_path, program, read_config, write_json, write_whole
from alphaf_orch.programs.rows import Message
from alphaf_orch.programs.training.counts import Counts
from alphaf_orch.programs.training.data_rows import PassedOver, Row, read_conversations
from alphaf_orch.programs.training.model_class import check_class
from alphaf_orch.programs.training.pairs import Pairs
from alphaf_orch.programs.training.text_checks import HeldOut, TextChecks, row_texts
from alphaf_orch.programs.training.text_stats import Texts
from alphaf_orch.programs.training.token_checks import TokenChecks
from alphaf_orch.programs.training.tokenizer import check_end, render, token_ids, trainer_tokenizer

BATCH_ROWS = 512  # ours: enough for the tokenizer's threads, a few MB of text
NEEDED = ("tokenizer", "sequence_len", "kind", "datasets", "output", "probe")
OPTIONAL: Mapping[str, Any] = {
    "revision": None,
    "trust_remote_code": False,
    "chat_template": None,
    "chat_template_jinja": None,
    "special_tokens": {},
    "added_tokens": [],
    "probe_rows": 8,
    "model_rows": None,
    "preferences": [],
    "preference_len": None,
    "held_out": {},
}


class Gathered:
    """What is gathered of the rows in one pass; guarantees one batch of them in memory, and the first for the probe."""

    def __init__(self, config: Mapping[str, Any], tokenizer: Any, template: str) -> None:
        self.kind, self.probe_rows = config["kind"], config["probe_rows"]
        self.tokenizer, self.template = tokenizer, template
        self.counts, self.pairs = Counts(), Pairs(config["sequence_len"])
        self.tokens = TokenChecks(tokenizer, template)
        self.texts = TextChecks()
        held_out = config["held_out"]
        self.held_out = HeldOut(held_out.get("share") or 0, held_out.get("datasets") or (), self.kind)
        self.probe: list[str] = []
        # A marker such as <|im_end|> inside a text becomes the marker itself: it ends a turn early.
        markers = sorted({*tokenizer.all_special_tokens, *(config["added_tokens"] or [])}, key=len, reverse=True)
        self.control = re.compile("|".join(map(re.escape, markers))) if markers else None

    def add(self, batch: Sequence[Row]) -> None:
        """Count the rows of a batch."""
        found = token_ids(self.tokenizer, self.template, batch)
        if self.kind == "preference":
            add_pairs(self.pairs, batch, found, self.tokenizer, self.template)
        for (_, row), ids in zip(batch, found, strict=True):
            self.counts.add(row, [len(conversation_ids) for conversation_ids in ids], self.control)
            self.texts.add(row_texts(row))
            for messages, conversation_ids in zip(row, ids, strict=True):
                self.tokens.add(messages, conversation_ids)
            if len(self.probe) < self.probe_rows:
                self.probe.append(json.dumps({"messages": row[0]}, ensure_ascii=False) + "\n")

    def notes(self) -> list[str]:
        """Return what should be said of the texts, and of those held out."""
        return [*self.texts.notes(self.counts), *self.held_out.notes(self.counts)]


def load_config(path: str) -> dict[str, Any]:
    """Return the config with its optional keys filled in; a missing key ends with exit code 2."""
    return {**OPTIONAL, **read_config(path, filled=NEEDED)}


def check_preferences(
    datasets: list[dict[str, Any]], length: int | None, tokenizer: Any, template: str
) -> list[list[Message]]:
    """Return a conversation of each order of roles in the preference data.

    DPO uses the template that SFT trains, so that what the template refuses, or leaves no pair of in `length` tokens,
    ends with code 3 before SFT has run.
    """
    orders: dict[tuple[str, ...], Row] = {}
    pairs = Pairs(length or 0)
    rows = (read_conversations(dict(dataset), "preference", PassedOver()) for dataset in datasets)
    for batch in batches(itertools.chain.from_iterable(rows)):
        new = {tuple(message["role"] for message in row[0]): (place, row) for place, row in reversed(batch)}
        orders = {**new, **orders}
        if length:
            add_pairs(pairs, batch, token_ids(tokenizer, template, batch), tokenizer, template)
    if orders and not length:
        token_ids(tokenizer, template, list(orders.values()))
    if length:
        pairs.check(", ".join(dataset.get("origin") or dataset["path"] for dataset in datasets))
    return [row[0] for _, row in orders.values()]


def add_pairs(
    pairs: Pairs, batch: Sequence[Row], found: Sequence[list[list[int]]], tokenizer: Any, template: str
) -> None:
    """Count the pairs of a batch by the tokens of their conversations and of their prompts alone."""
    prompts = render(tokenizer, template, [row[0][:-1] for _, row in batch], open_turn=True)
    for prompt, (chosen, rejected) in zip(prompts, found, strict=True):
        pairs.add(prompt, chosen, rejected)


def check_tokens(config: Mapping[str, Any], tokens: TokenChecks) -> list[str]:
    """Return what should be said of the tokens; ends with exit code 4 where nothing can come of them."""
    name, rows = config["tokenizer"], config["model_rows"]
    where = f"{name}, chat_template {config['chat_template'] or 'of its own'}"
    if not rows:
        return tokens.check(where, None, None, allow_untrained=True)
    folder = Path(name)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(name, revision=config["revision"], local_files_only=True))
    check_class(folder, trust_remote_code=config["trust_remote_code"])
    return tokens.check(where, folder, rows["trained"], allow_untrained=rows["allow_untrained"])


def batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Yield the rows in lists of BATCH_ROWS."""
    while batch := list(itertools.islice(rows, BATCH_ROWS)):
        yield batch


def run(config: dict[str, Any]) -> dict[str, Any]:
    """Return the statistics of all data sets together and write them, and the probe, to their files."""
    tokenizer, template = trainer_tokenizer(config)
    if config["kind"] == "text":
        return run_texts(config, tokenizer, template)
    check_end(tokenizer, template, config)
    datasets, keys = [dict(dataset) for dataset in config["datasets"]], PassedOver()
    gathered = Gathered(config, tokenizer, template)
    rows = itertools.chain.from_iterable(read_conversations(item, config["kind"], keys) for item in datasets)
    for batch in batches(rows):
        gathered.add(batch)
    keys.check(template)
    where = ", ".join(item.get("origin") or item["path"] for item in datasets)
    gathered.texts.check(where, gathered.counts, config["sequence_len"])
    gathered.held_out.compare(gathered.counts, gathered.texts)
    gathered.pairs.check(where)
    orders = check_preferences(config["preferences"], config["preference_len"], tokenizer, template)
    gathered.tokens.add_orders(orders)
    stats = {
        "kind": config["kind"],
        "tokenizer": config["tokenizer"],
        "chat_template": config["chat_template"],
        **gathered.counts.summary(config["sequence_len"]),
        **gathered.texts.summary(gathered.counts),
        **(gathered.pairs.summary() if config["kind"] == "preference" else {}),
        **keys.summary(),
        "held_out": gathered.held_out.summary(),
        "unknown_tokens": gathered.tokens.summary(),
        "notes": [*check_tokens(config, gathered.tokens), *gathered.notes()],
        "model_rows": config["model_rows"],
        "datasets": datasets,
    }
    write_whole(Path(config["probe"]), "".join(gathered.probe))
    write_json(Path(config["output"]), stats)
    return stats


def run_texts(config: dict[str, Any], tokenizer: Any, template: str) -> dict[str, Any]:
    """Return the statistics of texts for continued pretraining; they give no conversations to probe."""
    texts = Texts(tokenizer, config["sequence_len"], TokenChecks(tokenizer, template))
    datasets, keys = [dict(dataset) for dataset in config["datasets"]], PassedOver()
    texts.read(datasets)
    for dataset in datasets:
        keys.add_counted(dataset.get("unused") or {})
    check_preferences(config["preferences"], config["preference_len"], tokenizer, template)
    stats = {
        "kind": config["kind"],
        "tokenizer": config["tokenizer"],
        "chat_template": None,
        **texts.summary(),
        **keys.summary(),
        "unknown_tokens": texts.tokens.summary(),
        # No turn is trained, so that it does not matter whether the base has learnt the template's tokens.
        "notes": [*texts.notes(), *check_tokens({**config, "model_rows": None}, texts.tokens)],
        "model_rows": config["model_rows"],
        "datasets": datasets,
    }
    write_whole(Path(config["probe"]), "")
    write_json(Path(config["output"]), stats)
    return stats


def main(argv: list[str]) -> None:
    """Run with the config named on the command line, and print what it found."""
    stats = run(load_config(config_path(argv)))
    longer = stats["longer_than_sequence_len"]["rows"]
    print(f"{stats['rows']} rows, {stats['tokens']['total']} tokens, {longer} longer than {stats['sequence_len']}")
    for key, rows in stats["unused_keys"].items():
        print(f"not used: {key} ({rows} rows)")


if __name__ == "__main__":
    program(main)
