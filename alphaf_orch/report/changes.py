"""Comparisons of models in words and tables: what changed, by how much, how it was tested."""

from __future__ import annotations

from alphaf_orch.core.wording import Label, Text, join, named
from alphaf_orch.report.blocks import Cell, Note, Table, Tone
from alphaf_orch.report.figures import NONE, p_value, signed
from alphaf_orch.report.names import CI, MARKS, METHODS, METRICS, TESTS, VERDICTS
from alphaf_orch.scores import resampling as resampling
from alphaf_orch.scores.compare import Change, Verdict
from alphaf_orch.scores.names import TASKS
from alphaf_orch.scores.table import ScoreTable


def outcome(table: ScoreTable) -> Table | None:
    """Return how many metrics became better or worse from arm to arm; None where nothing was compared."""
    kinds: tuple[Verdict, ...] = ("better", "worse", "none", "refused")
    tones: tuple[Tone, ...] = ("good", "bad", "muted", "warn")
    rows = []
    for arm in table.arms:
        found = [change.verdict for change in table.changes.values() if change.after == arm.name]
        if any(verdict in kinds for verdict in found):
            counts = [found.count(kind) for kind in kinds]
            cells = [Cell(str(n), each if n else "muted") for n, each in zip(counts, tones, strict=True)]
            rows.append((Cell(join([table.title(arm.against or ""), table.title(arm.name)], " → ")), *cells))
    header: tuple[Text, ...] = (Label("지표 수", "Number of metrics"), *(VERDICTS[kind] for kind in kinds))
    return Table(header, tuple(rows)) if rows else None


def change_warning(table: ScoreTable, change: Change) -> Text:
    """Return in words that two results were not compared, and why."""
    return join(
        [
            named(TASKS, change.task),
            join([table.title(change.before), table.title(change.after)], " → "),
            Label("비교하지 않음", "not compared"),
            change.refused,
        ]
    )


def change_text(change: Change, *, share: bool) -> Text:
    """Return a change with its interval and p on one line."""
    if change.refused:
        return Label("✕ 비교하지 않음", "✕ not compared")
    unit: Text = Label("%p", " pt") if share else ""
    parts: list[Text] = [join([f"{MARKS[change.verdict]} {signed(change.difference, share=share)}".strip(), unit], "")]
    if change.low is not None and change.high is not None:
        parts.append(f"[{signed(change.low, share=share)}, {signed(change.high, share=share)}]")
    if change.p_holm is not None:
        p = p_value(change.p_holm)
        parts.append(f"p{p}" if p.startswith("<") else f"p={p}")
    return join(parts, " ")


def tone(change: Change) -> Tone:
    """Return the colour of a change."""
    tones: dict[str, Tone] = {"better": "good", "worse": "bad", "refused": "warn"}
    return tones.get(change.verdict, "muted")


def comparisons(table: ScoreTable) -> Table:
    """Return every comparison with its test."""
    header: tuple[Text, ...] = (
        Label("비교", "Comparison"), Label("과제 · 지표", "Task · metric"), Label("결과", "Result"),
        Label("차이", "Difference"), CI, Label("짝지은 문항", "Pairs"), Label("0→1 / 1→0", "0→1 / 1→0"),
        Label("검정", "Test"), "p", Label("p (홀름)", "p (Holm)"),
    )  # fmt: skip
    rows = []
    for change in table.changes.values():
        share = (change.task, change.metric) in table.shares
        title = join([named(TASKS, change.task), named(METRICS, change.metric)])
        moved = f"{change.gained} / {change.lost}" if change.test == "mcnemar" else NONE
        spread = NONE
        if change.low is not None and change.high is not None:
            spread = f"[{signed(change.low, share=share)}, {signed(change.high, share=share)}]"
        pair = join([table.title(change.before), table.title(change.after)], " → ")
        verdict = Cell(VERDICTS[change.verdict], tone(change))
        if change.refused:
            cells = [Cell(pair), Cell(title), verdict, *[Cell(NONE, "muted")] * 7]
        else:
            cells = [
                Cell(pair), Cell(title), verdict, Cell(signed(change.difference, share=share)), Cell(spread),
                Cell(f"{change.n:,}"), Cell(moved), Cell(TESTS[change.test]),
                Cell(p_value(change.p) if change.p is not None else NONE),
                Cell(p_value(change.p_holm) if change.p_holm is not None else NONE),
            ]  # fmt: skip
        rows.append(tuple(cells))
    return Table(header, tuple(rows), text_columns=3)


def method(table: ScoreTable) -> tuple[Note, ...]:
    """Return in words how intervals and tests were made and how to read them."""
    tests = sum(change.p is not None for change in table.changes.values())
    methods = join([METHODS[name] for name in sorted({s.method for s in table.scores.values() if s.method})], ", ")
    notes = [Note(join([Label("대괄호는 95% 구간: ", "Brackets are 95% intervals: "), methods, "."], ""))]
    if not tests:
        return tuple(notes)
    flips, draws = f"{resampling.EXCHANGES:,}", f"{resampling.DRAWS:,}"
    for ko, en in (
        (
            "비교는 같은 문항(id)끼리 짝지어 합니다. ↑는 높을수록, ↓는 낮을수록 좋은 지표입니다.",
            "Comparisons pair the same rows (by id). ↑ higher is better, ↓ lower is better.",
        ),
        (
            "0/1 지표는 맥니마 정확 검정, 그 밖의 지표는 두 모델의 결과를 문항마다 맞바꾸는"
            f" 대응 순열 검정({flips}회)입니다.",
            "0/1 metrics are tested by McNemar's exact test, others by a paired permutation test that exchanges the"
            f" two models' results row by row ({flips} times).",
        ),
        (
            f"차이의 구간은 대응 부트스트랩({draws}회)이며 보정하지 않은 95% 구간입니다.",
            f"Intervals of differences are paired bootstrap ({draws} draws), 95% each, without correction.",
        ),
        (
            f"p는 이 표의 검정 {tests}개 전체에 홀름 보정을 한 값이고, 0.05 미만일 때만 ▲ 또는 ▼로 적습니다.",
            f"p is corrected by Holm over all {tests} tests here; only p < 0.05 is marked ▲ or ▼.",
        ),
        (
            "≈는 차이가 확인되지 않았다는 뜻이며, 차이가 없다는 증거는 아닙니다.",
            "≈ means that no difference was shown; it is no proof that there is none.",
        ),
    ):
        notes.append(Note(Label(ko, en)))
    return tuple(notes)
