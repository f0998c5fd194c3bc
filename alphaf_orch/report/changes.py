"""Comparisons of models in words and tables: what changed, by how much, how it was tested."""

from __future__ import annotations

from collections.abc import Sequence

from alphaf_orch.core.wording import Label, Text, join, named
from alphaf_orch.report.blocks import Cell, Link, Note, Table, Tone
from alphaf_orch.report.figures import NONE, ends, p_value, signed
from alphaf_orch.report.names import CI, MARKS, METHODS, METRICS, ONE_SEED, POINTS, TESTS, VERDICTS, rows_in, task_title
from alphaf_orch.scores import resampling
from alphaf_orch.scores.difference import Difference, Refused, Verdict
from alphaf_orch.scores.power import POWER, could_see
from alphaf_orch.scores.significance import SIGNIFICANT
from alphaf_orch.scores.table import Key, ScoreTable

CLUSTERED = Label(
    "문서나 서식을 함께 쓰는 문항은 서로 독립이 아니므로 묶음째 뽑고, 묶음째 맞바꾸고, 묶음의 합으로 계산합니다.",
    "Rows that share a document or a template are not independent: they are drawn, exchanged and summed by cluster.",
)


def outcome(table: ScoreTable, figure_id: str) -> Table | None:
    """Return how many metrics became better or worse from arm to arm, and which; None where nothing was compared."""
    every = {change.verdict for change in table.changes.values()}
    tones: dict[Verdict, Tone] = {"worse": "bad", "better": "good", "none": "muted"}
    if every & {"better_rows", "worse_rows"}:
        tones = {"worse_rows": "warn", "better_rows": "warn", **tones}
    if "refused" in every:
        tones["refused"] = "warn"
    rows = []
    for arm in table.arms:
        found = {key: change.verdict for key, change in table.changes.items() if key[0] == arm.name}
        if any(verdict in tones for verdict in found.values()):
            by_kind = [(tone, [key for key in found if found[key] == kind]) for kind, tone in tones.items()]
            cells = [_counted(table, figure_id, keys, tone) for tone, keys in by_kind]
            rows.append((Cell(table.pair(arm.name)), *cells))
    header: tuple[Text, ...] = (Label("지표 수", "Number of metrics"), *(VERDICTS[kind] for kind in tones))
    return Table(header, tuple(rows), text_columns=len(header)) if rows else None


def _counted(table: ScoreTable, figure_id: str, keys: Sequence[Key], tone: Tone) -> Cell:
    """Return how many, and the names of those that became better or worse, which lead to their rows."""
    if not keys:
        return Cell("0", "muted")
    moved = [key for key in keys if table.changes[key].verdict not in ("none", "refused")]
    links = [Link(metric_name(table, key), anchor(table, figure_id, key)) for key in moved]
    return Cell(str(len(keys)), tone, links=tuple(links))


def anchor(table: ScoreTable, figure_id: str, key: Key) -> str:
    """Return the id of the row that a change stands in; positions, because names are data."""
    after, task, metric = key
    group = next(i for i, (_, arms) in enumerate(table.groups) if any(arm.name == after for arm in arms))
    return f"{figure_id}-row-{group}-{table.tasks.index(task)}-{table.metrics(task).index(metric)}"


def metric_name(table: ScoreTable, key: Key, *, full: bool = False) -> Text:
    """Return what a metric is called, behind its task where that is wanted or another task has such a metric."""
    _, task, metric = key
    several = sum(metric in table.metrics(each) for each in table.tasks) > 1
    return join([title_of(table, task) if full or several else "", named(METRICS, metric)])


def title_of(table: ScoreTable, task: str) -> Text:
    """Return what a task of the table is called."""
    return task_title(task, table.stored_title(task))


def refusals(table: ScoreTable) -> list[Text]:
    """Return in words which results were not compared, and why; once for all metrics of a task."""
    found = []
    for (after, task, _), change in table.changes.items():
        if isinstance(change, Refused):
            title = title_of(table, task)
            found.append(join([title, table.pair(after), Label("비교하지 않음", "not compared"), change.reason]))
    return list(dict.fromkeys(found))


def change_text(change: Difference | Refused, *, share: bool) -> Text:
    """Return a change with its interval and p on one line."""
    if isinstance(change, Refused):
        return Label("✕ 비교하지 않음", "✕ not compared")
    parts: list[Text] = [join([marked(change, share=share), POINTS if share else ""], "")]
    if change.low is not None:
        parts.append(interval(change, share=share))
    if change.p_holm is not None:
        p = p_value(change.p_holm)
        parts.append(f"p{p}" if p.startswith("<") else f"p={p}")
    seen = seen_text(change, share=share)
    if seen:
        parts.append(Label(f"({seen.ko})", f"({seen.en})"))
    return join(parts, " ")


def seen_text(found: Difference | Refused, *, share: bool, points: bool = True) -> Label | None:
    """Return from which size on a difference that was not shown would have been; None for another verdict.

    A share is told in points, or as it is.
    """
    seen = could_see(found) if isinstance(found, Difference) and found.verdict == "none" else None
    if seen is None:
        return None
    if share and seen >= 1:
        return Label("어떤 차이도 보이지 않았을 것", "none would have been seen")
    if share and points:
        ko, en = f"{100 * seen:.1f}%p", f"{100 * seen:.1f} pt"
    else:
        ko = en = f"{seen:.3f}" if share else f"{seen:.2f}"
    return Label(f"{ko} 이상이면 보였을 것", f"seen from {en} on")


def marked(found: Difference, *, share: bool) -> str:
    """Return a difference behind the mark of its verdict."""
    return f"{MARKS[found.verdict]} {signed(found.estimate, share=share)}".strip()


def interval(found: Difference, *, share: bool) -> str:
    """Return the interval of a difference; a dash where it has none."""
    if found.low is None or found.high is None:
        return NONE
    return ends(found.low, found.high, lambda value, more: signed(value, share=share, more=more))


def verdict_text(found: Difference | Refused, *, share: bool) -> Label:
    """Return the verdict in words; of a difference that was not shown, from which size on it would have been."""
    said, seen = VERDICTS[found.verdict], seen_text(found, share=share)
    if seen is None:
        return said
    return Label(f"{said.ko}({seen.ko})", f"{said.en} ({seen.en})")


def tone(found: Difference | Refused) -> Tone:
    """Return the colour of a difference."""
    tones: dict[str, Tone] = {
        "better": "good", "worse": "bad", "better_rows": "warn", "worse_rows": "warn", "refused": "warn"
    }  # fmt: skip
    return tones.get(found.verdict, "muted")


def comparisons(table: ScoreTable) -> Table:
    """Return every comparison with its test."""
    header: tuple[Text, ...] = (
        Label("비교", "Comparison"), Label("과제 · 지표", "Task · metric"), Label("결과", "Result"),
        Label("차이", "Difference"), CI, Label("짝지은 문항", "Pairs"), Label("0→1 / 1→0", "0→1 / 1→0"),
        Label("검정", "Test"), "p", Label("p (홀름)", "p (Holm)"),
    )  # fmt: skip
    return Table(header, tuple(_row(table, key) for key in table.changes), text_columns=3)


def _row(table: ScoreTable, key: Key) -> tuple[Cell, ...]:
    (after, task, metric), change = key, table.changes[key]
    title = join([title_of(table, task), named(METRICS, metric)])
    share = (task, metric) in table.shares
    about = (Cell(table.pair(after)), Cell(title), Cell(verdict_text(change, share=share), tone(change)))
    if isinstance(change, Refused):
        return (*about, *[Cell(NONE, "muted")] * 7)
    moved = f"{change.gained} / {change.lost}" if change.kind == "mcnemar" else NONE
    return (
        *about, Cell(signed(change.estimate, share=share)), Cell(interval(change, share=share)),
        Cell(f"{change.rows:,}", sub=rows_in(change.rows, change.clusters)), Cell(moved), Cell(TESTS[change.kind]),
        Cell(p_value(change.p)), Cell(p_value(change.p_holm)),
    )  # fmt: skip


def method(table: ScoreTable) -> tuple[Note, ...]:
    """Return in words how intervals and tests were made and how to read them."""
    tests = sum(isinstance(change, Difference) and change.p is not None for change in table.changes.values())
    methods = join([METHODS[name] for name in sorted({s.method for s in table.scores.values() if s.method})], ", ")
    notes = [Note(join([Label("대괄호는 95% 구간: ", "Brackets are 95% intervals: "), methods, "."], ""))]
    if not tests:
        return tuple(notes)
    flips, draws = f"{resampling.EXCHANGES:,}", f"{resampling.DRAWS:,}"
    clustered = any(isinstance(change, Difference) and change.clusters for change in table.changes.values())
    for text, meant in (
        (CLUSTERED, clustered or any(each.clusters for each in table.scores.values())),
        (
            Label(
                f"△, ▽: {ONE_SEED.ko}. 같은 설정으로 다시 학습했을 때의 점수는 모릅니다.",
                f"△, ▽: {ONE_SEED.en}: nothing is known of how another training of either would score.",
            ),
            any(isinstance(change, Difference) and change.one_seed for change in table.changes.values()),
        ),
    ):
        if meant:
            notes.append(Note(text))
    for ko, en in (
        (
            "비교는 같은 문항(id)끼리 짝지어 합니다. ↑는 높을수록, ↓는 낮을수록 좋은 지표입니다.",
            "Comparisons pair the same rows (by id). ↑ higher is better, ↓ lower is better.",
        ),
        (
            "0/1 지표는 맥니머(McNemar) 정확 검정, 그 밖의 지표는 두 모델의 결과를 문항마다 맞바꾸는"
            f" 대응 순열 검정({flips}회)입니다.",
            "0/1 metrics are tested by McNemar's exact test, others by a paired permutation test that exchanges the"
            f" two models' results row by row ({flips} times).",
        ),
        (
            f"차이의 구간은 대응 부트스트랩({draws}회)이며 보정하지 않은 95% 구간입니다. 가능한 범위를 넘지 않고, 모든"
            " 문항이 같게 나왔어도 폭이 0이 되지 않으며, 검정이 0을 배제하지 못하면 0을 포함합니다.",
            f"Intervals of differences are paired bootstrap ({draws} draws), 95% each, without correction. They never"
            " leave the possible range, never have width zero, even where all rows agree, and hold 0 wherever the test"
            " cannot rule it out.",
        ),
        (
            f"p는 이 표의 검정 {tests}개 전체에 홀름 보정을 한 값이고, {SIGNIFICANT:g} 미만일 때만 ▲ 또는 ▼로"
            " 적습니다.",
            f"p is corrected by Holm over all {tests} tests here; only p < {SIGNIFICANT:g} is marked ▲ or ▼.",
        ),
        (
            "≈는 차이가 확인되지 않았다는 뜻이며, 차이가 없다는 증거는 아닙니다. 실제 차이가 괄호 안의 크기"
            f" 이상이었다면 {POWER:.0%}의 확률로 보였을 것입니다(보정한 수준에서).",
            "≈ means that no difference was shown; it is no proof that there is none. A true difference of the size in"
            f" brackets would have been shown with {POWER:.0%} power, at the corrected level.",
        ),
    ):
        notes.append(Note(Label(ko, en)))
    return tuple(notes)
