"""The rows of data sets, local or of the Hub, each with its place for an error to name, and keys that nothing reads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from alphaf_orch.programs.common import DATA, Failure
from alphaf_orch.programs.mistakes import Mistakes
from alphaf_orch.programs.row_keys import RowError, is_metadata
from alphaf_orch.programs.rows import Kind, Message, conversation, passed_over, preference, read_rows, row_format

Place = tuple[str, str]  # data set and row, as an error names them
Row = tuple[Place, list[list[Message]]]  # a chat row's one conversation, a preference row's two


class PassedOver:
    """The keys of rows and turns that nothing reads: in how many rows each has a value, and where it came first."""

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.first: dict[str, Place] = {}

    def add_counted(self, unused: Mapping[str, int]) -> None:
        """Count what was left behind when the canonical copy was made: no template can read that."""
        self.rows.update(unused)

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
                raise Failure(DATA, what, where=f"{path} {number}, key {name}", fix=fix, code="data.key_not_trained")

    def summary(self) -> dict[str, Any]:
        """Return the keys that have a value, with their rows; unknown are those that are no metadata by their name."""
        used = {key: rows for key, rows in sorted(self.rows.items()) if rows}
        return {"unused_keys": used, "unknown_keys": [key for key in used if not is_metadata(key)]}


def stored_rows(dataset: Mapping[str, Any]) -> Iterator[tuple[Place, Any]]:
    """Yield each row of a data set with its place; a Hub set comes from the cache where the Hub is off.

    The place of a row in a canonical copy is that in the source, as people know it.
    """
    path, origin = dataset["path"], dataset.get("origin")
    if dataset.get("kind", "local") == "local":
        try:
            for number, row in read_rows(path):
                yield (origin or path, f"row {number}" if origin else f"line {number}"), row
        except (OSError, ValueError) as error:
            fix = "Give a JSON Lines file in UTF-8"
            raise Failure(
                DATA, f"cannot read the file: {error}", where=path, fix=fix, code="data.unreadable"
            ) from error
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
        raise Failure(
            DATA, f"cannot load split {split!r}: {reason}", where=path, fix=fix, code="data.unreadable"
        ) from error
    return rows


def read_conversations(dataset: dict[str, Any], kind: Kind, keys: PassedOver) -> Iterator[Row]:
    """Yield each row as one conversation (chat) or two (prompt with chosen, with rejected).

    Leaves the number of rows and their format in `dataset`, and what of them was not used in `keys`; rows that must
    not be trained on end with exit code 3, told together behind the last row.
    """
    dataset |= {"rows": 0, "format": None}
    keys.add_counted(dataset.get("unused") or {})
    mistakes: Mistakes | None = None
    for place, row in stored_rows(dataset):
        try:
            found = conversations_of(row, kind, on_hub=dataset.get("kind") == "hub")
            form = row_format(row, kind)
            if dataset["format"] not in (None, form):
                raise RowError(
                    "row",
                    f"has the format '{form}', the rows before have '{dataset['format']}'",
                    code="data.mixed_formats",
                )
        except RowError as error:
            unit, _, number = place[1].partition(" ")
            mistakes = mistakes or Mistakes(place[0], "line" if unit == "line" else "row")
            mistakes.add(int(number), str(error), key=error.key, fix="Correct or delete this row", code=error.code)
            continue
        keys.add(passed_over(row, kind), place)
        dataset |= {"rows": dataset["rows"] + 1, "format": form}
        yield place, found
    if mistakes:
        mistakes.check(partial(Failure, DATA))
    if not dataset["rows"]:
        fix = "Give a data set with rows, or another split"
        raise Failure(DATA, "the data set has no rows", where=dataset["path"], fix=fix, code="data.no_rows")


def conversations_of(row: Any, kind: Kind, *, on_hub: bool = False) -> list[list[Message]]:
    """Return a row's one conversation (chat) or two (preference); raise RowError where it must not be trained on."""
    if kind == "preference":
        pair = preference(row)
        return [[*pair.prompt, pair.chosen], [*pair.prompt, pair.rejected]]
    messages = conversation(row)
    # axolotl's entry for a local file names the key, which was known when it was written.
    if on_hub and any("train" in message for message in messages):
        raise RowError(
            "row", "masks a turn, which is read in local files only: write the split to one", code="data.wrong_mask"
        )
    return [messages]
