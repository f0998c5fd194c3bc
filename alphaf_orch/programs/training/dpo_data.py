"""Preference rows for the DPO program: loading them, and measuring what their tokenisation would lose."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alphaf_orch.programs.common import DATA, Failure, write_whole
from alphaf_orch.programs.dpo_config import DatasetSpec
from alphaf_orch.programs.row_keys import RowError
from alphaf_orch.programs.rows import Preference, preference
from alphaf_orch.programs.training.data_rows import stored_rows
from alphaf_orch.programs.training.pairs import Pairs
from alphaf_orch.programs.turn_end import end_ids


@dataclass(frozen=True)
class TokenReport:
    """What sequence_len and the chat template do to the rows, counted in rows."""

    rows: int
    truncated: int  # longer than sequence_len: the end of an answer, with its end-of-turn token, is cut off
    dropped: int  # the prompt alone fills sequence_len: TRL leaves the row out
    unstable: int  # the prompt's tokens are not the start of the whole conversation's tokens
    without_end: int  # the answer does not close its turn with the chat template's end token, or eos
    equal: int = 0  # both answers are the same tokens once cut: such a pair has no gradient


def load_preferences(datasets: list[DatasetSpec]) -> list[dict[str, Any]]:
    """Return all rows in TRL's conversational form: prompt, and chosen/rejected holding the last turn alone.

    Raises Failure naming the row that must not be trained on, or data that cannot be read.
    """
    found: list[dict[str, Any]] = []
    for spec in datasets:
        before = len(found)
        for place, row in stored_rows(asdict(spec)):
            pair = _preference(row, " ".join(place))
            found.append({"prompt": pair.prompt, "chosen": [pair.chosen], "rejected": [pair.rejected]})
        if len(found) == before:
            raise Failure(DATA, "the dataset has no rows", where=spec.path, fix="name another one", code="data.no_rows")
    return found


def _preference(row: Any, place: str) -> Preference:
    try:
        return preference(row)
    except RowError as error:
        raise Failure(DATA, str(error), where=place, fix="mend or remove the row", code=error.code) from error


def token_report(tokenizer: Any, pairs: list[dict[str, Any]], sequence_len: int) -> TokenReport:
    """Return the counts that TRL's tokenisation of the rows at max_length=sequence_len will show."""
    truncated = unstable = without_end = 0
    cut = Pairs(sequence_len)
    ends = {*end_ids(tokenizer), tokenizer.eos_token_id}
    for pair in pairs:
        prompt = token_ids(tokenizer, pair["prompt"], add_generation_prompt=True)
        answers = [token_ids(tokenizer, pair["prompt"] + pair[side]) for side in ("chosen", "rejected")]
        cut.add(prompt, *answers)
        truncated += len(prompt) < sequence_len < max(map(len, answers))
        unstable += any(ids[: len(prompt)] != prompt for ids in answers)
        # ChatML writes a newline behind its end-of-turn token, Phi a newline and eos.
        without_end += any(ends.isdisjoint(ids[len(prompt) :][-3:]) for ids in answers)
    return TokenReport(len(pairs), truncated, cut.left_out, unstable, without_end, cut.equal)


def token_ids(tokenizer: Any, messages: list[dict[str, str]], *, add_generation_prompt: bool = False) -> list[int]:
    """Return the chat template's tokens of the messages, as TRL makes them."""
    encoded = tokenizer.apply_chat_template(
        messages, tokenize=True, return_dict=True, add_generation_prompt=add_generation_prompt
    )
    return list(encoded["input_ids"])


def check_report(report: TokenReport, sequence_len: int) -> list[str]:
    """Return warnings to print; raise Failure where so much would be lost that training is pointless."""
    where = f"{report.rows} preference rows at sequence_len {sequence_len}"
    kept = report.rows - report.dropped
    if kept == 0 or report.truncated == kept:
        what = "no row fits: every answer would be cut off"
        raise Failure(DATA, what, where=where, fix="raise sequence_len", code="data.nothing_fits")
    if 2 * report.equal > kept:
        what = f"in {report.equal} of {kept} rows both answers are the same once cut: nothing can be learnt from them"
        fix = "raise sequence_len, or give answers that differ before the cut"
        raise Failure(DATA, what, where=where, fix=fix, code="data.answers_equal")
    if report.unstable > report.rows / 100:
        what = (
            f"in {report.unstable} rows the chat template does not continue its own prompt, so prompt tokens would"
            " carry loss"
        )
        fix = "use a template whose generation prompt is how an assistant's turn begins (ChatML is)"
        raise Failure(DATA, what, where=where, fix=fix, code="data.template_unstable")
    return _warnings(report, where)


def _warnings(report: TokenReport, where: str) -> list[str]:
    warnings = []
    cut = report.truncated + report.dropped
    if cut > report.rows / 10:
        warnings.append(
            f"{cut} of {where} ({cut / report.rows:.0%}) are too long: {report.truncated} lose the end of an"
            f" answer, {report.dropped} are left out; raise sequence_len or shorten the data"
        )
    if report.equal:
        warnings.append(f"in {report.equal} of {where} both answers are the same once cut: they teach nothing")
    if report.unstable:
        warnings.append(f"{report.unstable} rows are tokenised otherwise across the prompt's end (leading blanks?)")
    if report.without_end:
        warnings.append(
            f"{report.without_end} rows: the chat template does not end the answer with a token of its own or eos,"
            " so the model is not taught to stop there"
        )
    return warnings


def write_probe(path: Path, trainer: Any, *, limit: int = 8) -> None:
    """Write the first rows that fit, as the collator makes them: {"messages", "input_ids", "labels"} a line.

    A label is the id where the trainer's loss counts, -100 elsewhere.
    """
    lines = []
    for row in trainer.train_dataset:
        batch = trainer.data_collator([row])
        length = len(row["prompt_ids"]) + len(row["chosen_ids"])
        ids, counted = (batch[key][0][:length].tolist() for key in ("input_ids", "completion_mask"))
        # A row cut at max_length equals no conversation, so it could not be compared with one.
        if len(ids) == length:
            labels = [number if inside else -100 for number, inside in zip(ids, counted, strict=True)]
            messages = [{"role": m["role"], "content": m["content"]} for m in row["prompt"] + row["chosen"]]
            lines.append(json.dumps({"messages": messages, "input_ids": ids, "labels": labels}, ensure_ascii=False))
        if len(lines) == limit:
            break
    write_whole(path, "".join(line + "\n" for line in lines))
