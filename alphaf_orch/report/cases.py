"""Wins and losses: rows that a later model gets right and an earlier one wrong, and the other way round."""

from __future__ import annotations

import re
from collections.abc import Sequence

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.wording import Label, Text, join, named
from alphaf_orch.report.blocks import Answer, Block, Fold, Note, SideBySide, Turn
from alphaf_orch.report.figures import clip
from alphaf_orch.report.names import METRICS, ROLES, task_title
from alphaf_orch.scores.compare import mismatch
from alphaf_orch.scores.loaded import Scored, chosen_samples
from alphaf_orch.scores.results import Sample
from alphaf_orch.scores.rows import is_binary

_CHATML = re.compile(r"<\|im_start\|>(\w+)\n(.*?)(?:<\|im_end\|>\n?|\Z)", re.DOTALL)
_LLAMA3 = re.compile(r"<\|start_header_id\|>(\w+)<\|end_header_id\|>\n\n(.*?)(?:<\|eot_id\|>|\Z)", re.DOTALL)

# Metrics for which 1 means that the answer as a whole is right.
_RIGHT_OR_WRONG = {"acc", "acc_norm", "exact_match", "exact_numeric"}


def read_turns(prompt: str) -> tuple[Turn, ...]:
    """Return the messages of a prompt without the markers of its chat template; as it is where none is known."""
    for pattern in (_CHATML, _LLAMA3):
        found = pattern.findall(prompt)
        if found:
            turns = [(role, text.strip()) for role, text in found]
            # An empty last turn is only where the model begins to speak.
            kept = turns[:-1] if not turns[-1][1] else turns
            return tuple(Turn(named(ROLES, role), clip(text)) for role, text in kept)
    return (Turn("", clip(prompt)),)


def case_metric(before: Scored, after: Scored) -> str | None:
    """Return the metric that says right or wrong: the task's first of 0 and 1 that is better when higher."""
    for metric, stored in after.result.metrics.items():
        if stored.higher_is_better and is_binary(before, metric) and is_binary(after, metric):
            return metric
    return None


def case_blocks(before: tuple[RunPaths, Scored, Text], after: tuple[RunPaths, Scored, Text], shown: int) -> list[Block]:
    """Return the first `shown` gained and lost rows (by id) of two results on one task, and how many there are."""
    metric = case_metric(before[1], after[1])
    if metric is None or mismatch(before[1], after[1]):
        return []
    first, second = before[1].scores[metric], after[1].scores[metric]
    gained = sorted(name for name in first if second[name] > first[name])
    lost = sorted(name for name in first if second[name] < first[name])
    wanted = [*gained[:shown], *lost[:shown]]
    if not wanted:
        return []
    task = after[1].result.task
    pair = join([before[2], after[2]], " → ")
    old = chosen_samples(before[0], before[1].result.stage, task, wanted)
    new = chosen_samples(after[0], after[1].result.stage, task, wanted)
    count = Label(
        f"나아진 문항 {len(gained)}개, 나빠진 문항 {len(lost)}개. id 순으로 각각 {shown}개까지 보입니다.",
        f"{len(gained)} rows became right, {len(lost)} wrong; the first {shown} of each by id are shown.",
    )
    cases = [_case(old[name], new[name], metric, before[2], after[2]) for name in wanted]
    return [
        Fold(
            join([task_title(task, after[1].result.title), pair, named(METRICS, metric)]),
            (Note(count), *cases),
            paper=False,
        )
    ]


def _case(old: Sample, new: Sample, metric: str, before: Text, after: Text) -> SideBySide:
    won = new.scores[metric] > old.scores[metric]
    kind = Label("나아짐", "better") if won else Label("나빠짐", "worse")
    return SideBySide(
        join([kind, new.id]),
        read_turns(new.prompt),
        clip(new.gold),
        (_answer(before, old, metric), _answer(after, new, metric)),
    )


def _answer(label: Text, sample: Sample, metric: str) -> Answer:
    right = sample.scores[metric] == 1
    plain: Text = Label("맞음", "right") if right else Label("틀림", "wrong")
    verdict = join(["○" if right else "✕", plain if metric in _RIGHT_OR_WRONG else named(METRICS, metric)], " ")
    return Answer(label, clip(sample.answer), verdict, "good" if right else "bad")


def cases_of(
    pairs: Sequence[tuple[tuple[RunPaths, Scored, Text], tuple[RunPaths, Scored, Text]]], shown: int
) -> list[Block]:
    """Return the cases of every pair of results, or in words that there are none."""
    found = [block for before, after in pairs for block in case_blocks(before, after, shown)]
    if found or not pairs:
        return found
    return [
        Note(Label("두 단계의 정오가 갈린 문항이 없습니다.", "No row is right in one stage and wrong in the other."))
    ]
