"""Child program: `python data_stats.py CONFIG.yaml` counts rows and tokens as the trainer will see them.

Config keys: tokenizer (folder or Hub id), revision, trust_remote_code, chat_template (a name axolotl knows,
or null for the tokenizer's own), chat_template_jinja, special_tokens, added_tokens, eot_tokens, sequence_len,
kind (chat or preference), datasets (list of path, kind local or hub, split, revision), output (JSON), probe
(JSON Lines), probe_rows; model_rows (null, or `trained`: the modules whose rows training changes, null for all, and
`allow_untrained`): refuse tokens of the template that the model has not learnt; preferences (data sets a later DPO is
to use, for `chat`): refuse what the template does not take before SFT has run.

Writes `output` with the counts and `probe` with the first conversations as {"messages": [...]}, a preference
row as its prompt and chosen answer, an assistant's turn without loss with "train": false. Lengths are in tokens;
of a preference row's two conversations the longer one counts, and both in the total. Exit codes: 2 config, 3 data,
4 tokenizer, chat template or tokens.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
import statistics
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from alphaf_orch.programs.architectures.orion import register_files
from alphaf_orch.programs.common import CONFIG, DATA, MODEL, Failure, write_whole
from alphaf_orch.programs.row_keys import RowError, is_metadata
from alphaf_orch.programs.rows import Message, conversation, passed_over, preference, read_rows, row_format
from alphaf_orch.programs.training.token_checks import TokenChecks, TokenError
from alphaf_orch.programs.turn_end import NO_END, NO_END_FIX, closing, misplaced, tokenizer_tails, tokens_of

PACKED_UP_TO = 1024  # ours: more full sequences than ranks x micro batch; beyond it the tokens tell the number
BATCH_ROWS = 512  # ours: enough for the tokenizer's threads, a few MB of text

Place = tuple[str, str]  # data set and row, as an error names them


class Counts:
    """Numbers gathered over all rows; 4 bytes a row for its length and about 80 for its digest."""

    def __init__(self) -> None:
        self.lengths = array("I")
        self.total = self.turns = self.control = self.masked = 0
        self.seen: set[bytes] = set()

    def add(self, row: list[list[Message]], lengths: list[int], control: re.Pattern[str] | None) -> None:
        """Count one row: its one conversation, or a preference row's two with a shared prompt."""
        messages = row[0] if len(row) == 1 else [*row[0], row[1][-1]]
        self.lengths.append(max(lengths))
        self.total += sum(lengths)
        self.turns += sum(message["role"] != "system" for message in row[0])
        self.masked += sum("train" in message for message in row[0])
        self.control += control is not None and any(control.search(m["content"]) for m in messages)
        text = "\x1f".join(f"{message['role']}\x1e{message['content']}" for message in messages)
        self.seen.add(hashlib.blake2b(text.encode(), digest_size=8).digest())

    def summary(self, sequence_len: int) -> dict[str, Any]:
        """Return the counts; p95 is the nearest rank: 95 % of the rows are no longer than it."""
        ordered = sorted(self.lengths)
        longer = sum(length > sequence_len for length in ordered)
        kept = [length for length in self.lengths if length <= sequence_len]
        return {
            "rows": len(ordered),
            "turns": self.turns,
            "masked_turns": self.masked,
            "duplicates": len(ordered) - len(self.seen),
            "rows_with_control_tokens": self.control,
            "tokens": {
                "total": self.total,
                "min": ordered[0],
                "median": statistics.median(ordered),
                "p95": ordered[math.ceil(0.95 * len(ordered)) - 1],
                "max": ordered[-1],
            },
            "sequence_len": sequence_len,
            "longer_than_sequence_len": {"rows": longer, "share": longer / len(ordered)},
            "kept": {"rows": len(kept), "tokens": sum(kept), "packed": packed(kept, sequence_len)},
        }


def packed(lengths: Iterable[int], sequence_len: int) -> int:
    """Return how many sequences the rows fill first-fit, as axolotl packs them; counted up to PACKED_UP_TO."""
    free: list[int] = []
    for length in lengths:
        place = next((i for i, left in enumerate(free) if left >= length), None)
        if place is not None:
            free[place] -= length
        elif len(free) == PACKED_UP_TO:
            break
        else:
            free.append(sequence_len - length)
    return len(free)


class PassedOver:
    """The keys of rows and turns that nothing reads: in how many rows each has a value, and where it came first."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.first: dict[str, Place] = {}

    def add(self, keys: Mapping[str, bool], place: Place) -> None:
        """Count the keys of one row, as rows.passed_over returns them."""
        for key, has_value in keys.items():
            self.first.setdefault(key, place)
            self.rows[key] += has_value

    def check(self, template: str) -> None:
        """End with exit code 3 for a key of turns that the chat template names: the trainer would hand it over."""
        for name, (path, number) in self.first.items():
            _, of_turns, key = name.partition("[].")
            if of_turns and re.search(rf"""(\.|['"]){re.escape(key)}\b""", template):
                what = f"{name} is a key that the chat template may read, and only the text of a turn is checked here"
                fix = f"Take {key} out of the turns, or make it null, or choose another chat_template"
                raise Failure(DATA, what, where=f"{path} {number}, key {name}", fix=fix)

    def summary(self) -> dict[str, Any]:
        """Return the keys that have a value, with their rows; unknown are those that are no metadata by their name."""
        used = {key: rows for key, rows in sorted(self.rows.items()) if rows}
        return {"unused_keys": used, "unknown_keys": [key for key in used if not is_metadata(key)]}


class Pairs:
    """What is left of preference pairs once cut as TRL cuts them: the end of prompt and answer together."""

    def __init__(self, sequence_len: int) -> None:
        self.sequence_len = sequence_len
        self.rows = self.left_out = self.equal = 0

    def add(self, prompt: list[int], chosen: list[int], rejected: list[int]) -> None:
        """Count one pair by the tokens of its prompt and of its two whole conversations."""
        self.rows += 1
        if len(prompt) >= self.sequence_len:
            self.left_out += 1  # TRL drops it
        elif chosen[: self.sequence_len] == rejected[: self.sequence_len]:
            self.equal += 1

    def check(self, where: str) -> None:
        """End with exit code 3 where no pair is left, or most of the rest are equal: their gradient is zero."""
        kept = self.rows - self.left_out
        if self.rows and not kept:
            what = f"no pair fits: every prompt alone fills sequence_len {self.sequence_len}"
            raise Failure(DATA, what, where=where, fix="Raise sequence_len, or shorten the data")
        if 2 * self.equal > kept:
            what = (
                f"{self.equal} of {kept} pairs have two equal answers once cut to sequence_len {self.sequence_len}:"
                " no preference can be learnt from them"
            )
            raise Failure(DATA, what, where=where, fix="Raise sequence_len, or give answers that differ before the cut")

    def summary(self) -> dict[str, int]:
        """Return how many pairs are left out, and how many of the others are equal after the cut."""
        return {"pairs_left_out": self.left_out, "pairs_equal_after_cut": self.equal}


def load_config(path: str) -> dict[str, Any]:
    """Return the config with its optional keys filled in; a missing key ends with exit code 2."""
    import yaml

    try:
        given = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Failure(CONFIG, f"cannot read the config: {error}", where=path, fix="Correct the file") from error
    needed = ("tokenizer", "sequence_len", "kind", "datasets", "output", "probe")
    missing = [key for key in needed if not (isinstance(given, dict) and given.get(key))]
    if missing:
        raise Failure(CONFIG, f"missing keys: {', '.join(missing)}", where=path, fix="Add them")
    optional: dict[str, Any] = {
        "revision": None,
        "trust_remote_code": False,
        "chat_template": None,
        "chat_template_jinja": None,
        "special_tokens": {},
        "added_tokens": [],
        "probe_rows": 8,
        "model_rows": None,
        "preferences": [],
    }
    return {**optional, **given}


def load_tokenizer(config: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the tokenizer with its added tokens and the chat template text, as axolotl sets both up."""
    from transformers import AddedToken, AutoTokenizer

    register_files()
    name = config["tokenizer"]
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            name, revision=config["revision"], trust_remote_code=config["trust_remote_code"]
        )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        fix = "Give a folder with tokenizer files, or bring the model into the Hugging Face cache"
        raise Failure(MODEL, f"cannot load the tokenizer: {reason}", where=name, fix=fix) from error

    def token(text: str) -> AddedToken:
        return AddedToken(text, rstrip=False, lstrip=False, normalized=False)

    special = {kind: text for kind, text in (config["special_tokens"] or {}).items() if isinstance(text, str)}
    tokenizer.add_special_tokens({kind: token(text) for kind, text in special.items()})
    tokenizer.add_tokens([token(text) for text in config["added_tokens"] or []])
    choice = config["chat_template"]
    if choice is None:
        if not tokenizer.chat_template:
            fix = "Name a chat template, for example chatml"
            raise Failure(MODEL, "the tokenizer has no chat template of its own", where=name, fix=fix)
        return tokenizer, tokenizer.chat_template
    try:
        # 8 ms once transformers is loaded, and the one place that knows what axolotl's names stand for.
        from axolotl.utils.chat_templates import get_chat_template

        return tokenizer, get_chat_template(choice, config["chat_template_jinja"], tokenizer)
    except ImportError as error:
        fix = "Run this with the python of the axolotl environment, or set chat_template to null"
        raise Failure(MODEL, f"axolotl is not installed here: {error}", where=sys.executable, fix=fix) from error
    except ValueError as error:
        fix = "Use a name axolotl knows, for example chatml, or null for the tokenizer's own"
        raise Failure(MODEL, str(error), where=f"chat_template: {choice}", fix=fix) from error


def check_end(tokenizer: Any, template: str, config: Mapping[str, Any]) -> None:
    """Raise Failure where an assistant's turn would be trained without its end.

    `eot_tokens` of the config is what the recipe says: null for eos alone, an empty list where no end is wanted.
    """
    from jinja2 import TemplateError

    given, where = config.get("eot_tokens"), f"chat_template: {config['chat_template'] or 'of the tokenizer'}"
    if given == []:
        return
    try:
        tails = tokenizer_tails(tokenizer, template)
    except TemplateError:
        return  # it takes no second question; the rows themselves are rendered next
    if given:
        problem = misplaced(tails, given)
        split = next((token for token in given if len(tokenizer.encode(token, add_special_tokens=False)) != 1), None)
        if split and not problem:
            problem = f"{split} is no token of the vocabulary, so its pieces would be trained"
        if problem:
            raise Failure(CONFIG, problem, where=f"eot_tokens: {given}", fix="name the token that closes an answer")
        return
    end = closing(tails, tokens_of(tokenizer))
    if end is None:
        raise Failure(MODEL, NO_END, where=where, fix=NO_END_FIX)
    if end != tokenizer.eos_token and config["kind"] == "chat":
        what = f"the chat template ends an assistant's turn with {end}, which the recipe does not name"
        raise Failure(MODEL, what, where=where, fix=f"say --set sft.eot_tokens=[{json.dumps(end)}]")


def stored_rows(dataset: Mapping[str, Any]) -> Iterator[tuple[Place, Any]]:
    """Yield each row of a data set with its place; a Hub set comes from the cache where the Hub is off."""
    path = dataset["path"]
    if dataset.get("kind", "local") == "local":
        try:
            for number, row in read_rows(path):
                yield (path, f"line {number}"), row
        except (OSError, ValueError) as error:
            fix = "Give a JSON Lines file in UTF-8"
            raise Failure(DATA, f"cannot read the file: {error}", where=path, fix=fix) from error
        return
    for number, row in enumerate(_hub_rows(path, dataset.get("split") or "train", dataset.get("revision")), 1):
        yield (path, f"row {number}"), row


def _hub_rows(path: str, split: str, revision: str | None) -> Iterable[Any]:
    import datasets
    from huggingface_hub import snapshot_download

    datasets.disable_progress_bars()
    try:
        # By folder: load_dataset("org/name") of datasets 4.8.4 does not look into the Hub cache when offline.
        folder = path if Path(path).is_dir() else snapshot_download(path, repo_type="dataset", revision=revision)
        rows: Iterable[Any] = datasets.load_dataset(folder, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        fix = f"Check the split, or run `hf download --repo-type dataset {path}` where there is a network"
        raise Failure(DATA, f"cannot load split {split!r}: {reason}", where=path, fix=fix) from error
    return rows


def read_conversations(
    dataset: dict[str, Any], kind: str, keys: PassedOver
) -> Iterator[tuple[Place, list[list[Message]]]]:
    """Yield each row as one conversation (chat) or two (prompt with chosen, with rejected).

    Leaves the number of rows and their format in `dataset`, and what of them was not used in `keys`; a row that
    must not be trained on ends with exit code 3.
    """
    dataset |= {"rows": 0, "format": None}
    for place, row in stored_rows(dataset):
        try:
            if kind == "chat":
                found = [conversation(row)]
                # axolotl's entry for a local file names the key, which was known when it was written.
                if dataset.get("kind") == "hub" and any("train" in message for message in found[0]):
                    raise RowError("row", "masks a turn, which is read in local files only: write the split to one")
            else:
                pair = preference(row)
                found = [[*pair.prompt, pair.chosen], [*pair.prompt, pair.rejected]]
            form = row_format(row, "chat" if kind == "chat" else "preference")
            if dataset["format"] not in (None, form):
                raise RowError("row", f"has the format '{form}', the rows before have '{dataset['format']}'")
        except RowError as error:
            where = f"{place[0]} {place[1]}, key {error.key}"
            raise Failure(DATA, str(error), where=where, fix="Correct or delete this row") from error
        keys.add(passed_over(row, "chat" if kind == "chat" else "preference"), place)
        dataset |= {"rows": dataset["rows"] + 1, "format": form}
        yield place, found
    if not dataset["rows"]:
        fix = "Give a data set with rows, or another split"
        raise Failure(DATA, "the data set has no rows", where=dataset["path"], fix=fix)


def token_ids(tokenizer: Any, template: str, rows: list[tuple[Place, list[list[Message]]]]) -> list[list[list[int]]]:
    """Return the tokens of every row's conversations, rendered by the call axolotl makes."""
    from jinja2 import TemplateError

    flat = [messages for _, row in rows for messages in row]
    try:
        ids = iter(_render(tokenizer, template, flat))
    except TemplateError as error:
        if len(rows) > 1:  # Again one by one, to name the row.
            return [token_ids(tokenizer, template, [row])[0] for row in rows]
        (path, number), _ = rows[0]
        fix = "Change the row, or choose another chat_template"
        what = f"the chat template refuses this row: {error}"
        raise Failure(DATA, what, where=f"{path} {number}", fix=fix) from error
    return [[next(ids) for _ in row] for _, row in rows]


def _render(
    tokenizer: Any, template: str, conversations: list[list[Message]], *, open_turn: bool = False
) -> list[list[int]]:
    ids: list[list[int]] = tokenizer.apply_chat_template(
        conversations, chat_template=template, add_generation_prompt=open_turn, tokenize=True, return_dict=False
    )
    return ids


def check_preferences(datasets: list[dict[str, Any]], tokenizer: Any, template: str) -> list[list[Message]]:
    """Return a conversation of each order of roles in the preference data; one the template refuses ends with code 3.

    DPO uses the template that SFT trains, so that its data can be refused before SFT has run.
    """
    orders: dict[tuple[str, ...], tuple[Place, list[list[Message]]]] = {}
    for dataset in datasets:
        for place, row in read_conversations(dict(dataset), "preference", PassedOver()):
            orders.setdefault(tuple(message["role"] for message in row[0]), (place, row))
    if orders:
        token_ids(tokenizer, template, list(orders.values()))
    return [row[0] for _, row in orders.values()]


def check_tokens(config: Mapping[str, Any], tokens: TokenChecks) -> list[str]:
    """Return what should be said of the tokens; ends with exit code 4 where nothing can come of them."""
    from huggingface_hub import snapshot_download

    name, rows = config["tokenizer"], config["model_rows"]
    folder = Path(name) if rows else None
    if folder and not folder.is_dir():
        folder = Path(snapshot_download(name, revision=config["revision"], local_files_only=True))
    try:
        if not (folder and rows):
            return tokens.check(None, None, allow_untrained=True)
        return tokens.check(folder, rows["trained"], allow_untrained=rows["allow_untrained"])
    except TokenError as error:
        where = f"{name}, chat_template {config['chat_template'] or 'of its own'}"
        raise Failure(MODEL, str(error), where=where, fix=error.fix) from error


def run(config: dict[str, Any]) -> dict[str, Any]:
    """Return the statistics of all data sets together and write them, and the probe, to their files."""
    tokenizer, template = load_tokenizer(config)
    check_end(tokenizer, template, config)
    # A marker such as <|im_end|> inside a text becomes the marker itself: it ends a turn early.
    markers = sorted({*tokenizer.all_special_tokens, *(config["added_tokens"] or [])}, key=len, reverse=True)
    control = re.compile("|".join(map(re.escape, markers))) if markers else None
    datasets = [dict(dataset) for dataset in config["datasets"]]
    keys, pairs = PassedOver(), Pairs(config["sequence_len"])
    rows = itertools.chain.from_iterable(read_conversations(item, config["kind"], keys) for item in datasets)
    counts, tokens = Counts(), TokenChecks(tokenizer, template)
    probe: list[str] = []
    while batch := list(itertools.islice(rows, BATCH_ROWS)):
        found = token_ids(tokenizer, template, batch)
        if config["kind"] != "chat":
            prompts = _render(tokenizer, template, [row[0][:-1] for _, row in batch], open_turn=True)
            for prompt, (chosen, rejected) in zip(prompts, found, strict=True):
                pairs.add(prompt, chosen, rejected)
        for (_, row), ids in zip(batch, found, strict=True):
            counts.add(row, [len(conversation_ids) for conversation_ids in ids], control)
            for messages, conversation_ids in zip(row, ids, strict=True):
                tokens.add(messages, conversation_ids)
            if len(probe) < config["probe_rows"]:
                probe.append(json.dumps({"messages": row[0]}, ensure_ascii=False) + "\n")
    keys.check(template)
    pairs.check(", ".join(item["path"] for item in datasets))
    for messages in check_preferences(config["preferences"], tokenizer, template):
        tokens.orders.setdefault(tuple(message["role"] for message in messages), messages)
    stats = {
        "kind": config["kind"],
        "tokenizer": config["tokenizer"],
        "chat_template": config["chat_template"],
        **counts.summary(config["sequence_len"]),
        **(pairs.summary() if config["kind"] != "chat" else {}),
        **keys.summary(),
        "unknown_tokens": tokens.summary(),
        "notes": check_tokens(config, tokens),
        "model_rows": config["model_rows"],
        "datasets": datasets,
    }
    write_whole(config["probe"], "".join(probe))
    write_whole(config["output"], json.dumps(stats, ensure_ascii=False, indent=2) + "\n")
    return stats


def main(argv: list[str]) -> None:
    """Run with the config named on the command line; ends with an exit code and one message on failure."""
    if len(argv) != 2:
        sys.exit("usage: python data_stats.py CONFIG.yaml")
    try:
        stats = run(load_config(argv[1]))
    except Failure as failure:
        print(failure.message, file=sys.stderr)
        raise
    longer = stats["longer_than_sequence_len"]["rows"]
    print(f"{stats['rows']} rows, {stats['tokens']['total']} tokens, {longer} longer than {stats['sequence_len']}")
    for key, rows in stats["unused_keys"].items():
        print(f"not used: {key} ({rows} rows)")


if __name__ == "__main__":
    main(sys.argv)
