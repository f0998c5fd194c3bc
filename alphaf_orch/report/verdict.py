"""What the scores say to do, in one sentence: what became better or worse, and which model to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from alphaf_orch.core.wording import LANGUAGES, Label, Text, in_language, join
from alphaf_orch.report.blocks import Note, Tone, Verdict
from alphaf_orch.report.changes import anchor, change_text, metric_name
from alphaf_orch.report.figures import p_value
from alphaf_orch.report.score_blocks import show_score
from alphaf_orch.scores.difference import Difference
from alphaf_orch.scores.table import Key, ScoreTable

FEW_ROWS = 50  # ours: of fewer questions that show nothing, that they are too few is said and not that nothing is there
ONCE = Label(
    "한 번씩만 학습했으므로 시드를 늘려 확인한 뒤 고르세요",
    "each was trained only once, train with more seeds before you choose",
)
_NAMED = 2  # changes that one sentence names


@dataclass(frozen=True)
class Step:
    """What one model does differently from the one it is compared with: what was shown, by size, and what was not."""

    table: ScoreTable
    after: str
    before: str
    better: tuple[Key, ...]
    worse: tuple[Key, ...]
    tested: tuple[Key, ...]

    @property
    def shown(self) -> bool:
        """Whether anything was shown at all."""
        return bool(self.better or self.worse)

    @property
    def one_seed(self) -> bool:
        """Whether the two were trained apart, once each."""
        return any(_change(self.table, key).one_seed for key in self.tested)

    @property
    def rows(self) -> int:
        """How many questions the largest comparison has."""
        return max((_change(self.table, key).rows for key in self.tested), default=0)


def steps(table: ScoreTable) -> list[Step]:
    """Return what became of the scores from each arm to the one compared with it, in the order of the arms."""
    found = []
    for arm in table.arms:
        mine = [key for key, change in table.changes.items() if key[0] == arm.name and isinstance(change, Difference)]
        if arm.against and any(key[0] == arm.name for key in table.changes):
            kinds = {
                kind: tuple(
                    sorted((key for key in mine if _kind(table, key) == kind), key=lambda key: _rank(table, key))
                )
                for kind in ("better", "worse")
            }
            tested = tuple(key for key in mine if _change(table, key).p is not None)
            found.append(Step(table, arm.name, arm.against, kinds["better"], kinds["worse"], tested))
    return found


def verdict(table: ScoreTable | None) -> Verdict:
    """Return the verdict over a chain of models, each compared with the one before it."""
    if table is None or not table.arms:
        return Verdict(
            Label("아직 평가 점수가 없어 결론을 낼 수 없습니다.", "No verdict: there are no scores yet."), (), "muted"
        )
    found = steps(table)
    if not found:
        text = Label(
            "평가한 모델이 하나뿐이라 비교할 것이 없습니다.",
            "No verdict: only one model has scores, nothing to compare.",
        )
        return Verdict(text, (), "muted")
    told = _headline(found)
    return Verdict(told[0], (*(_point(step) for step in found), *_basis(found)), told[1])


def verdicts(table: ScoreTable) -> list[Verdict]:
    """Return a verdict on each later run: of its last model against the same stage of the first run."""
    last: dict[Text, Step] = {}
    for step in steps(table):
        last[table.arm(step.after).title] = step
    return [
        Verdict(text, (_point(step), *_basis([step])), tone)
        for step in last.values()
        for text, tone in [_headline([step])]
    ]


def regressions(table: ScoreTable | None, figure_id: str) -> list[Note]:
    """Return what became worse as warnings, the gravest first."""
    return [
        Note(
            join([_values(table, key), change_text(table.changes[key], share=_share(table, key)), _asked(table, key)]),
            "worse",
            join([table.pair(step.after), metric_name(table, key, full=True)]),
            anchor(table, figure_id, key),
        )
        for step in (steps(table) if table else ())
        for key in step.worse
        if table
    ]


def _headline(found: Sequence[Step]) -> tuple[Text, Tone]:
    """Return the sentence on the last step of which anything was shown, and what was not of those behind it."""
    deciding = max((i for i, step in enumerate(found) if step.shown), default=None)
    if deciding is None:
        return _nothing(found, whole=len(found) == len(steps(found[0].table))), "warn" if _few(found) else "muted"
    step, behind = found[deciding], found[deciding + 1 :]
    kept, tone = _advice(found[: deciding + 1])
    sentence = _sentence(step.table.title(step.after), step, kept)
    return join([sentence, *([_nothing(behind, whole=False)] if behind else [])], " "), tone


def _advice(found: Sequence[Step]) -> tuple[Label, Tone]:
    """Return which model to take after the last of these steps."""
    step = found[-1]
    after, before = (step.table.title(name) for name in (step.after, _kept(found)))
    if step.one_seed:
        return ONCE, "warn"
    if step.better and step.worse:
        return _both(
            "어느 쪽이 중요한지 정하기 전에는 {} 모델을 유지하세요",
            "weigh which counts more before you leave the {} model", before,
        ), "warn"  # fmt: skip
    if step.worse:
        return _both("{} 모델을 유지하세요", "keep the {} model", before), "bad"
    if _kept(found) != step.before:
        return _both("쓰기 전에 {} 모델과 비교하세요", "compare it with the {} model before you use it", before), "warn"
    return _both("{} 모델을 쓰세요", "use the {} model", after), "good"


def _kept(found: Sequence[Step]) -> str:
    """Return the model before the last step, or one further back where that was itself only a loss."""
    name = found[-1].before
    for step in reversed(found[:-1]):
        if step.after == name and step.worse and not step.better:
            name = step.before
    return name


def _sentence(who: Text, step: Step, advice: Label) -> Label:
    """Return what the step did, the worse first, and what to do about it."""
    table = step.table
    wanted = (*step.worse[: 1 if step.better else _NAMED], *step.better[: 1 if step.worse else _NAMED])
    up, down = (
        [_size(table, key) for key in wanted if (_change(table, key).estimate > 0) is rise] for rise in (True, False)
    )
    more = len(step.worse) + len(step.better) - len(wanted)
    worse_first = _change(table, wanted[0]).estimate < 0
    said = [("하락", "lowered", down), ("상승", "raised", up)]
    said = [each for each in (said if worse_first else reversed(said)) if each[2]]
    ko = ", ".join(f"{size.ko} {verb}{_p(table, key)}" for verb, _, sizes in said for key, size in sizes)
    en = " but ".join(
        f"{verb} {' and '.join(f'{size.en} {_p(table, key)}' for key, size in sizes)}" for _, verb, sizes in said
    )
    others = (
        Label(f" 외 지표 {more}개", f", {more} more metric{'s' if more > 1 else ''} changed") if more else Label("", "")
    )
    return Label(
        f"{in_language(who, 'ko')}: {ko}{others.ko}. {advice.ko}.",
        f"{in_language(who, 'en')} {en}{others.en}: {advice.en}.",
    )


def _size(table: ScoreTable, key: Key) -> tuple[Key, Label]:
    """Return a metric and by how much it changed."""
    change, share = _change(table, key), _share(table, key)
    size = f"{100 * abs(change.estimate):.1f}" if share else f"{abs(change.estimate):.2f}"
    name, lower = metric_name(table, key), change.higher_is_better is False
    ko = f"{in_language(name, 'ko')}{'(낮을수록 좋음)' if lower else ''} {size}{'%p' if share else ''}"
    en = f"{in_language(name, 'en')}{' (lower is better)' if lower else ''} by {size}{' points' if share else ''}"
    return key, Label(ko, en)


def _p(table: ScoreTable, key: Key) -> str:
    p = p_value(_change(table, key).p_told)
    return f"(p{p})" if p.startswith("<") else f"(p={p})"


def _nothing(found: Sequence[Step], *, whole: bool) -> Label:
    """Return in words that nothing was shown of these steps: too few questions, or enough and still nothing.

    They are named where they are not the whole chain.
    """
    table = found[0].table
    pairs = join([*([] if whole else [table.pair(step.after) for step in found])], ", ")
    told = Label("결과를 서로 비교할 수 없습니다.", "the results cannot be compared with each other.")
    if any(step.tested for step in found):
        told = nothing_shown(max(step.rows for step in found))
    if whole:
        return Label(told.ko, told.en[0].upper() + told.en[1:])
    return Label(f"{in_language(pairs, 'ko')}: {told.ko}", f"{in_language(pairs, 'en')}: {told.en}")


def nothing_shown(rows: int) -> Label:
    """Return in words that no difference was shown, or that so few questions could show none."""
    if rows < FEW_ROWS:
        return Label(
            f"문항이 {rows}개뿐이라 어느 모델이 나은지 판단하기에 부족합니다. 문항을 늘려 다시 평가하세요.",
            f"not enough questions to say which model is better ({rows} asked): ask more before you choose.",
        )
    return Label(
        f"모델 간 차이가 확인되지 않았습니다(문항 {rows:,}개). 이 점수만으로는 모델을 바꿀 이유가 없습니다.",
        f"no difference between the models was shown ({rows:,} questions): no reason to change the model.",
    )


def _few(found: Sequence[Step]) -> bool:
    return max(step.rows for step in found) < FEW_ROWS


def _point(step: Step) -> Text:
    """Return the figures of the largest change of a step: of what was shown, else of the tasks' main metrics."""
    table = step.table
    key = next(iter((*step.worse, *step.better, *sorted(step.tested, key=lambda key: _rank(table, key)))), None)
    if key is None:
        return join([table.pair(step.after), Label("비교한 지표 없음", "nothing was compared")])
    told = [_values(table, key), change_text(table.changes[key], share=_share(table, key)), _asked(table, key)]
    return join([join([table.pair(step.after), metric_name(table, key, full=True)]), join(told)], ": ")


def _basis(found: Sequence[Step]) -> list[Label]:
    """Return how the p values were corrected."""
    table = found[0].table
    tests = sum(isinstance(change, Difference) and change.p is not None for change in table.changes.values())
    if not tests:
        return []
    return [
        Label(
            f"같은 문항끼리 짝지은 검정이며, p는 이 보고서의 검정 {tests}개 전체에 홀름 보정한 값입니다.",
            f"Paired tests on the same questions; p is corrected by Holm over all {tests} tests of this report.",
        )
    ]


def _values(table: ScoreTable, key: Key) -> Text:
    (after, task, metric), share = key, _share(table, key)
    before = table.arm(after).against or after
    values = [table.scores.get((name, task, metric)) for name in (before, after)]
    return " → ".join(show_score(each.value if each else None, share=share) for each in values)


def _asked(table: ScoreTable, key: Key) -> Label:
    rows = _change(table, key).rows
    return Label(f"문항 {rows:,}개", f"n={rows:,}")


def _kind(table: ScoreTable, key: Key) -> str:
    return _change(table, key).verdict.removesuffix("_rows")


def _rank(table: ScoreTable, key: Key) -> tuple[bool, bool, float]:
    """Return what puts main metrics first, shares before others, and the largest change before smaller ones."""
    _, task, metric = key
    return metric != table.metrics(task)[0], not _share(table, key), -abs(_change(table, key).estimate)


def _share(table: ScoreTable, key: Key) -> bool:
    return (key[1], key[2]) in table.shares


def _change(table: ScoreTable, key: Key) -> Difference:
    return cast(Difference, table.changes[key])  # a step names no other


def _both(ko: str, en: str, value: Text) -> Label:
    return Label(*(text.format(in_language(value, each)) for text, each in zip((ko, en), LANGUAGES, strict=True)))
