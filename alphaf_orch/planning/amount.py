"""Whether the data are enough for the GPUs: how many micro batches a rank gets, before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from alphaf_orch.core.errors import DataError

# Attention that axolotl packs into one long row for all rows of a micro batch; sdpa and eager get real rows.
_ONE_LONG_ROW = ("flash", "flex", "xformers", "sage")

Report = Mapping[str, Any]
Recipe = Mapping[str, Any]


def rows_left(report: Report, recipe: Recipe) -> int:
    """Return the rows that are trained on: neither dropped for their length nor held out for evaluation.

    Of n rows datasets' train_test_split holds out ceil(val_set_size * n), or as many as a whole number says.
    """
    rows = int(report["rows"])
    if _drops_long(recipe):
        rows -= int(report["longer_than_sequence_len"]["rows"])
    share = float(recipe.get("val_set_size") or 0)
    return rows - (math.ceil(share * rows) if share < 1 else int(share))


def rows_held_out(report: Report, recipe: Recipe) -> int:
    """Return the rows that are evaluated on instead, of those that are not dropped."""
    return rows_left(report, {**recipe, "val_set_size": 0}) - rows_left(report, recipe)


def micro_batches(report: Report, recipe: Recipe, ranks: int) -> int:
    """Return how many micro batches each rank gets in an epoch; with packing an estimate that may be one off.

    axolotl fills sequences first-fit and drops the last micro batch that is not full (MultipackBatchSampler), and
    accelerate drops the last round that does not reach every rank (BatchSamplerShard). Without packing the last
    round is filled up with rows from the beginning, so that one row is enough.
    """
    rows, micro = rows_left(report, recipe), int(recipe["micro_batch_size"])
    if rows <= 0:
        return 0
    if not recipe.get("sample_packing"):
        full = recipe.get("dataloader_drop_last")
        return rows // micro // ranks if full else math.ceil(math.ceil(rows / micro) / ranks)
    packed = _packed_rows(report, recipe)
    if str(recipe.get("attn_implementation")).removeprefix("kernels-community/").startswith(_ONE_LONG_ROW):
        return math.ceil(packed / micro) // ranks
    return packed // micro // ranks


def planned_steps(report: Report, recipe: Recipe, ranks: int, section: str) -> int:
    """Return the optimizer steps of the whole training; with packing an estimate, as `micro_batches` is.

    axolotl counts them for itself (utils/trainer.py, calculate_total_num_steps): without packing it rounds the epochs
    together up, with packing down. TRL leaves it to transformers, which rounds each epoch up.
    """
    most = recipe.get("max_steps")
    if most is not None and most > 0:
        return int(most)
    epochs, accumulation = float(recipe["num_epochs"]), int(recipe["gradient_accumulation_steps"])
    if section != "sft":
        return math.ceil(epochs * max(1, math.ceil(micro_batches(report, recipe, ranks) / accumulation)))
    if recipe.get("sample_packing"):
        return math.floor(epochs * max(1, micro_batches(report, recipe, 1) // (accumulation * ranks)))
    batch = int(recipe["micro_batch_size"]) * accumulation * ranks
    return math.ceil(epochs * rows_left(report, recipe) / batch)


def check_amount(report: Report, recipe: Recipe, ranks: int, section: str, where: str, *, nodes: int = 1) -> list[str]:
    """Return warnings of steps made of fewer micro batches than planned; raise DataError where there would be none.

    `ranks` are those of all nodes; what is advised are the GPUs of one, as the option takes them.
    """
    if "longer_than_sequence_len" not in report:
        return []
    got, wanted = micro_batches(report, recipe, ranks), int(recipe["gradient_accumulation_steps"])
    micro = int(recipe["micro_batch_size"])
    if got == 0:
        works = ", or ".join(_what_works(report, recipe, ranks, section, nodes))
        raise DataError(
            f"{section} would train no step: {_why_none(report, recipe, ranks)}",
            where=where,
            fix=f"with these data: {works}; or give more" if works else "give more data",
            code="data.no_step",
        )
    rows, held_out = rows_left(report, recipe), rows_held_out(report, recipe)
    warnings = []
    # There axolotl drops the last, incomplete round of an evaluation too (axolotl/core/builders/causal.py).
    if recipe.get("sample_packing") and recipe.get("eval_sample_packing") is False and 0 < held_out < ranks * micro:
        warnings.append(
            f"{section}: {held_out} rows are held out, and {ranks} x {micro} make one evaluation batch: there will be"
            f" no eval loss; --set {section}.val_set_size={ranks * micro} holds out enough"
        )
    if not recipe.get("sample_packing") and rows < ranks * micro:
        warnings.append(f"{section}: {rows} rows for {ranks} x {micro} of a micro batch: some are used twice in a step")
    if got < wanted:
        warnings.append(
            f"{section}: the data give each rank {got} micro batches an epoch, so that a step is made of {got} instead"
            f" of {wanted} (global batch {ranks * micro * got} instead of {ranks * micro * wanted})"
        )
    return warnings


def _drops_long(recipe: Recipe) -> bool:
    return str(recipe.get("excess_length_strategy") or "").lower() == "drop"


def _packed_rows(report: Report, recipe: Recipe) -> int:
    """Return the sequences of sequence_len that packing makes of the rows that are left."""
    longer = int(report["longer_than_sequence_len"]["rows"])
    # Reports of older versions have the tokens of all rows alone.
    tokens = report.get("kept", {}).get("tokens", report["tokens"]["total"])
    packed: int = max(report.get("kept", {}).get("packed", 0), math.ceil(tokens / int(report["sequence_len"])))
    if not _drops_long(recipe):
        packed += longer  # cut to sequence_len, each fills one
    all_rows = int(report["rows"]) - (longer if _drops_long(recipe) else 0)
    return math.ceil(packed * rows_left(report, recipe) / all_rows)


def _why_none(report: Report, recipe: Recipe, ranks: int) -> str:
    rows, longer = int(report["rows"]), int(report["longer_than_sequence_len"]["rows"])
    length = int(report["sequence_len"])
    if _drops_long(recipe) and longer == rows:
        every = "the only row" if rows == 1 else f"each of the {rows} rows"
        return f"{every} is longer than sequence_len {length}, and dropped"
    if rows_left(report, recipe) <= 0:
        dropped = f" ({longer} longer than sequence_len, dropped)" if longer and _drops_long(recipe) else ""
        every = "the only row" if rows == 1 else f"all {rows} rows"
        return f"val_set_size {recipe['val_set_size']} takes {every}{dropped} away"
    needed = ranks * int(recipe["micro_batch_size"])
    if not recipe.get("sample_packing"):
        return f"{rows_left(report, recipe)} rows, and dataloader_drop_last needs {needed}"
    tokens = report.get("kept", {}).get("tokens", report["tokens"]["total"])
    return (
        f"{rows:,} rows of {tokens:,} tokens in all fill {_packed_rows(report, recipe)} packed sequences of {length:,},"
        f" and {ranks} rank(s) x micro_batch_size {recipe['micro_batch_size']} need {needed} of them"
        f" ({needed * length:,} tokens) for one"
    )


def _what_works(report: Report, recipe: Recipe, ranks: int, section: str, nodes: int) -> list[str]:
    """Return the changes with which every rank gets a micro batch: each alone, else together; all of them tried."""

    def enough(changes: Recipe) -> bool:
        length = changes.get("sequence_len")
        found = _none_too_long(report, length) if length else report
        return micro_batches(found, {**recipe, **changes}, changes.get("ranks", ranks)) > 0

    micro = int(recipe["micro_batch_size"])
    batch = ranks * micro * int(recipe["gradient_accumulation_steps"])
    changes: dict[str, dict[str, Any]] = {}
    if int(report["longer_than_sequence_len"]["rows"]) == int(report["rows"]) and _drops_long(recipe):
        longest = int(report["tokens"]["max"])
        changes[f"--set {section}.sequence_len={longest} (if the model reads as much)"] = {"sequence_len": longest}
    option = "--gpus" if section == "sft" else "--dpo-gpus"
    # Fewer GPUs on each node, then one node alone, with as many as it has or fewer.
    fewer = {n: f"{option} {n // nodes}" for n in range(ranks - nodes, 0, -nodes)}
    if nodes > 1:
        of_one = {n: f"--nodes 1 {option} {n}" for n in range(ranks // nodes, 0, -1)}
        fewer = dict(sorted({**of_one, **fewer}.items(), reverse=True))
    fewer = {n: text for n, text in fewer.items() if batch % (n * micro) == 0}
    for count in [n for n in fewer if enough({"ranks": n})][:1] or list(fewer)[-1:]:
        changes[fewer[count]] = {"ranks": count}
    for key, value in (("micro_batch_size", 1), ("sample_packing", False), ("val_set_size", 0)):
        if recipe.get(key) not in (None, value):
            changes[f"--set {section}.{key}={str(value).lower()}"] = {key: value}
    alone = [text for text, change in changes.items() if enough(change)]
    together = {key: value for change in changes.values() for key, value in change.items()}
    return alone or ([" ".join(changes)] if enough(together) else [])


def _none_too_long(report: Report, length: int) -> Report:
    """Return the report as it would be at a sequence_len that no row exceeds."""
    kept = {"rows": report["rows"], "tokens": report["tokens"]["total"], "packed": 0}
    return {**report, "sequence_len": length, "longer_than_sequence_len": {"rows": 0}, "kept": kept}
