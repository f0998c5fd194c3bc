"""How many tokens of the tokenised rows are trained: none, where every label is masked, is said before the training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alphaf_orch.programs.common import DATA, Failure

ROWS = 10_000  # ours: rows that are counted; of more, only until one has a label
IGNORED = -100  # torch's own `ignore_index`, which axolotl masks by
_BATCH = 1024


def check_trained_tokens(prepared: Path) -> str:
    """Return a line with how many tokens are trained in the rows saved below a folder; raise Failure for none."""
    rows = tokens = trained = 0
    for labels in _labels(prepared):
        rows += len(labels)
        flat = labels.flatten().to_numpy(zero_copy_only=False)
        tokens += len(flat)
        trained += int((flat != IGNORED).sum())
        if rows >= ROWS and trained:
            break
    if rows and not trained:
        what = f"every label is masked: no token of {rows:,} tokenised rows is trained"
        fix = (
            "look at which turns are trained (`train`, `train_on_inputs`, `roles_to_train`), at chat_template, whose"
            " turns must be found in the rendered text, and at sequence_len, which may end before the answers"
        )
        raise Failure(DATA, what, where=prepared, fix=fix, code="data.all_masked")
    return f"trained tokens: {trained:,} of {tokens:,} in {rows:,} rows"


def _labels(prepared: Path) -> Iterator[Any]:
    """Yield the labels of all data sets that lie there, a batch of rows at a time."""
    import datasets
    import pyarrow

    datasets.disable_progress_bars()
    for folder in sorted({file.parent for file in prepared.rglob("state.json")}):
        table = datasets.load_from_disk(str(folder)).data
        if "labels" not in table.column_names:
            continue
        for batch in table.to_batches(max_chunksize=_BATCH):
            labels = batch.column("labels")
            if pyarrow.types.is_list(labels.type) or pyarrow.types.is_large_list(labels.type):
                yield labels
