"""The scores of several models side by side, with intervals, paired tests, and in words how to read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alphaf_orch.core.wording import Label, Text, join, named
from alphaf_orch.report.blocks import Block, Cell, Fold, Note, Table
from alphaf_orch.report.changes import anchor, change_text, comparisons, method, refusals, title_of, tone
from alphaf_orch.report.figures import NONE, ends, number, percent
from alphaf_orch.report.names import METRIC, METRICS, direction, rows_in
from alphaf_orch.report.plots import bar_figure, folded
from alphaf_orch.scores.compare import Score, stored_score
from alphaf_orch.scores.results import Metric
from alphaf_orch.scores.table import Arm, ScoreTable

_BARS = 12  # scores in one plot


def show_score(value: float | None, *, share: bool, more: int = 0) -> str:
    """Return a score as a percentage or a number, with `more` digits than the usual ones."""
    if value is None:
        return NONE
    return percent(value, 1 + more) if share else number(round(value, 4 + more), 4 + more)


def score_interval(found: Score, *, share: bool) -> str:
    """Return the interval of a score; empty where it has none."""
    if found.low is None or found.high is None:
        return ""
    return ends(found.low, found.high, lambda value, more: show_score(value, share=share, more=more))


def error_shown(metric: Metric, sign: str, units: float | None = None) -> str:
    """Return a stored figure's standard error behind a sign; where it is 0, a share's interval: all rows were alike."""
    if metric.stderr:
        return f"{sign}{metric.stderr:.3f}"
    share = metric.higher_is_better is not None and 0 <= metric.value <= 1
    found = stored_score(metric, share=share, units=units)
    return "" if found.low is None else f" [{found.low:.3f}, {found.high:.3f}]"


def blocks(table: ScoreTable, figure_id: str) -> list[Block]:
    """Return a plot and a table for each task of every group, then all comparisons and how they were made."""
    if not table.arms:
        return [Note(Label("평가 결과가 아직 없습니다.", "No scores yet."))]
    found: list[Block] = [Note(text, "warning") for text in refusals(table)]
    for position, (group, arms) in enumerate(table.groups):
        found += _figures(table, arms, group, f"{figure_id}-{position}")
        tasks = [task for task in table.tasks if any(task in arm.tasks for arm in arms)]
        quiet = {
            task: [metric for metric in table.metrics(task) if _quiet(table, arms, task, metric)] for task in tasks
        }
        for task in tasks:
            rest = [metric for metric in table.metrics(task) if metric not in quiet[task]]
            if rest:
                found.append(_task_table(table, arms, group, task, rest, figure_id))
        folded_away = [
            _task_table(table, arms, group, task, metrics, figure_id) for task, metrics in quiet.items() if metrics
        ]
        if folded_away:
            found.append(Fold(_quiet_title(quiet), tuple(folded_away), paper=False))
    if table.changes:
        found.append(Fold(Label("모든 비교와 검정", "Every comparison and test"), (comparisons(table),), paper=False))
    return [*found, Fold(Label("읽는 법과 통계 방법", "How to read this, and the statistics"), method(table))]


def _quiet(table: ScoreTable, arms: Sequence[Arm], task: str, metric: str) -> bool:
    """Return whether a metric only guards against something that no answer of any model did."""
    values = [table.scores.get((arm.name, task, metric)) for arm in arms]
    return table.higher_is_better(task, metric) is False and all(each is None or each.value == 0 for each in values)


def _quiet_title(quiet: Mapping[str, Sequence[str]]) -> Text:
    names = dict.fromkeys(named(METRICS, metric) for metrics in quiet.values() for metric in metrics)
    return join([Label("모두 0인 점검 지표", "Guards, all zero"), join(list(names), ", ")], ": ")


def _task_table(
    table: ScoreTable, arms: Sequence[Arm], group: Text, task: str, metrics: Sequence[str], figure_id: str
) -> Table:
    with_it = [arm for arm in arms if task in arm.tasks]
    header: list[Text] = [METRIC, Label("문항", "n")]
    header += [join([arm.title, _against(table, arm)], " ") for arm in with_it]
    rows = []
    for metric in metrics:
        found = [table.scores.get((arm.name, task, metric)) for arm in with_it]
        counts = sorted({each.n for each in found if each})
        name = join([named(METRICS, metric), direction(table.higher_is_better(task, metric))], "")
        clusters = max((rows_in(each.n, each.clusters) for each in found if each), key=bool, default="")
        shown = Cell(" / ".join(f"{n:,}" for n in counts), sub=clusters)
        place = anchor(table, figure_id, (with_it[0].name, task, metric))
        cells = [Cell(name, sub=metric if metric in METRICS else "", anchor=place), shown]
        cells += [_score_cell(table, arm, task, metric) for arm in with_it]
        rows.append(tuple(cells))
    title = title_of(table, task)
    caption = join([group, title, task if title != task else ""])
    return Table(tuple(header), tuple(rows), caption)


def _against(table: ScoreTable, arm: Arm) -> Text:
    if not arm.against or all(after != arm.name for after, _, _ in table.changes):
        return ""
    return join(["(", Label("대 ", "vs "), table.arm(arm.against).title, ")"], "")


def _score_cell(table: ScoreTable, arm: Arm, task: str, metric: str) -> Cell:
    found = table.scores.get((arm.name, task, metric))
    if found is None:
        return Cell(NONE, "muted")
    share = (task, metric) in table.shares
    spread = score_interval(found, share=share)
    change = table.changes.get((arm.name, task, metric))
    if change is None:
        return Cell(show_score(found.value, share=share), sub=spread)
    shown = change_text(change, share=share)
    return Cell(show_score(found.value, share=share), sub=spread, change=shown, change_tone=tone(change))


def _figures(table: ScoreTable, arms: Sequence[Arm], group: Text, figure_id: str) -> list[Block]:
    """Return bars of every share that is better when higher; where these are many, of the tasks' main metrics."""
    tasks = [task for task in table.tasks if any(task in arm.tasks for arm in arms)]
    every = [(task, metric) for task in tasks for metric in table.metrics(task)]
    main = {(task, table.metrics(task)[0]) for task in tasks}
    shown = [key for key in every if key in table.shares and table.higher_is_better(*key)]
    if len(shown) > _BARS:
        shown = [key for key in shown if key in main]
    parts = [shown[start : start + _BARS] for start in range(0, len(shown), _BARS)]
    return [_figure(table, arms, group, part, f"{figure_id}-{number}") for number, part in enumerate(parts)]


def _figure(
    table: ScoreTable, arms: Sequence[Arm], group: Text, wanted: Sequence[tuple[str, str]], figure_id: str
) -> Block:
    bars = [(arm.title, [_bar(table.scores.get((arm.name, *key))) for key in wanted]) for arm in arms]
    rows = []
    names = [(title_of(table, task), named(METRICS, metric)) for task, metric in wanted]
    for (task, metric), name in zip(wanted, names, strict=True):
        found = [table.scores.get((arm.name, task, metric)) for arm in arms]
        values = [show_score(each.value if each else None, share=True) for each in found]
        rows.append((Cell(join(name)), *map(Cell, values)))
    one_task = len({task for task, _ in wanted}) == 1
    short = [join([folded(part) for part in (name[1:] if one_task else name)], "\n") for name in names]
    values_table = Table((METRIC, *(arm.title for arm in arms)), tuple(rows))
    title = join([group, Label("점수와 95% 구간", "Scores with 95% intervals")])
    return bar_figure(figure_id, title, short, bars, values_table, Label("점수", "score"))


def _bar(found: Score | None) -> tuple[float, float, float] | None:
    if found is None:
        return None
    low = found.low if found.low is not None else found.value
    return found.value, low, found.high if found.high is not None else found.value
