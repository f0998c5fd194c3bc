"""The contract's line on turns: what was trained of each turn, and that generation stops where a turn was taught to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from alphaf_orch.programs.merging.contract_weights import Line
from alphaf_orch.programs.turn_end import NO_END, end_ids

ROWS = 32  # ours: trained rows that are looked at; every turn of one is rendered twice
IGNORED = -100  # the label of a token that carries no loss, in torch's cross entropy
# Two, without a shared letter at either end: a text may begin or end as one of them does.
_OTHERS = ("ALPHAFQ", "zzzalphaz")
Messages = list[dict[str, Any]]


@dataclass
class _Seen:
    """Counts over all turns that were looked at."""

    rows: int = 0
    answers_with_end: int = 0
    ends_untrained: int = 0
    answers_without_end: int = 0
    others_trained: int = 0


def spans(tokenizer: Any, messages: Messages, ids: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield where each turn's own tokens begin and end in the ids of a conversation; 0, 0 where that can't be told.

    A turn's text is what changes when another stands in its place.
    """
    for number, message in enumerate(messages):
        start, stop = len(ids), 0
        for other in _OTHERS:
            changed = [*messages[:number], {**message, "content": other}, *messages[number + 1 :]]
            theirs = list(tokenizer.apply_chat_template(changed, tokenize=True, return_dict=False))
            room = min(len(ids), len(theirs))
            before = next((i for i in range(room) if ids[i] != theirs[i]), room)
            behind = next((i for i in range(room - before) if ids[-1 - i] != theirs[-1 - i]), room - before)
            start, stop = min(start, before), max(stop, len(ids) - behind)
        yield (start, stop) if start < stop else (0, 0)


def _look(
    seen: _Seen, tokenizer: Any, messages: Messages, ids: list[int], labels: list[int], ends: set[int], *, last: bool
) -> None:
    """Count what the labels of one trained row say of its turns; `last`: only the last turn is an answer (DPO)."""
    found = list(spans(tokenizer, messages, ids))
    seen.rows += 1
    for number, (message, (start, stop)) in enumerate(zip(messages, found, strict=True)):
        if stop == 0:
            continue
        following = next((begin for begin, end in found[number + 1 :] if end), len(ids))
        end = next((i for i in range(stop, following) if ids[i] in ends), None)
        answer = message["role"] == "assistant" and (not last or number == len(messages) - 1)
        if answer and message.get("train") is not False:
            seen.answers_without_end += end is None
            seen.answers_with_end += end is not None
            seen.ends_untrained += end is not None and labels[end] == IGNORED
        else:
            own = [*range(start, stop), *([end] if end is not None else [])]
            seen.others_trained += any(labels[i] != IGNORED for i in own)


def turns_line(
    tokenizer: Any,
    conversations: Sequence[tuple[Messages, list[int]]],
    trained: Iterable[tuple[int, Any, Any]],
    generation: dict[str, Any],
    *,
    eot_tokens: Sequence[str] | None,
    train_on_inputs: bool,
    trained_turns: str,
) -> Line:
    """Return whether each answer's end carries loss, no other turn does, and generation stops at that end.

    `conversations`: messages with the ids they render to; `trained`: length, ids and labels of each trained row.
    `eot_tokens` None: the end is what the chat template writes behind an answer; an empty list: none is wanted.
    """
    ends = end_ids(tokenizer, eot_tokens)
    eos = generation.get("eos_token_id")
    stops = [eos] if isinstance(eos, int) else list(eos or ())
    names = [tokenizer.convert_ids_to_tokens(i) for i in ends]
    expected = {"ends": names, "ends_untrained": 0, "answers_without_end": 0, "others_trained": 0}
    lacking = NO_END if tokenizer.chat_template else "the tokenizer has no chat template"
    problems = [] if ends or eot_tokens == [] else [lacking]
    unstopped = [name for name, number in zip(names, ends, strict=True) if number not in stops]
    problems += [f"generation_config.json has eos_token_id {eos}, without {unstopped[0]}"] if unstopped else []
    by_ids = {tuple(ids): messages for messages, ids in conversations}
    lengths = {len(ids) for ids in by_ids}
    seen, labelled = _Seen(), True
    known = {*ends, tokenizer.eos_token_id}
    for length, row, labels in trained:
        if not by_ids or seen.rows == ROWS:
            break
        if length not in lengths or (messages := by_ids.pop(tuple(row.as_py()), None)) is None:
            continue
        if labels is None:
            labelled = False
            break
        _look(seen, tokenizer, messages, row.as_py(), labels.as_py(), known, last=trained_turns == "last")
    if seen.ends_untrained:
        of = seen.answers_with_end
        problems.append(f"the end of {seen.ends_untrained} of {of} answers carries no loss: it was not learnt")
    if seen.answers_without_end and eot_tokens != []:
        problems.append(f"{seen.answers_without_end} answers have no end among their trained tokens")
    if seen.others_trained and not train_on_inputs:
        problems.append(f"{seen.others_trained} turns of others carry loss")
    measured = {"ends": names, "stops": stops, **vars(seen)}
    said = "" if labelled else "the trained rows were recorded without labels: only the stops were checked"
    if not conversations:
        said = "the data holds no conversations: only the stops were checked"
    return Line("turn_ends", not problems, measured, expected, "; ".join([*problems, said] if said else problems))
