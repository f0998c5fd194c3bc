"""The scores of an ablation: what may be concluded, in one sentence; every figure with its interval, by seed."""

from __future__ import annotations

from typing import NamedTuple

from alphaf_orch.core.wording import LANGUAGES, Label, Text, in_language, join, named
from alphaf_orch.experiments.ablation.results import CITATION, AblationResult, Comparison, Key
from alphaf_orch.report.blocks import Block, Card, Cards, Cell, Fold, Note, Table, Verdict
from alphaf_orch.report.changes import interval, marked, tone, verdict_text
from alphaf_orch.report.figures import NONE, p_value, percent, signed
from alphaf_orch.report.names import CI, METRICS, ONE_SEED, POINTS, VERDICTS, direction, rows_in, task_title
from alphaf_orch.report.score_blocks import show_score
from alphaf_orch.report.verdict import FEW_ROWS, ONCE, nothing_shown
from alphaf_orch.scores.difference import Difference, mean_of
from alphaf_orch.scores.significance import SIGNIFICANT

OVERALL = Label("종합 점수", "Overall score")


def verdict(comparison: Comparison) -> Label:
    """Return in one sentence what the comparison shows; where it shows no difference, that sentence says so."""
    found = comparison.overall
    if found is None:
        return Label(
            f"{comparison.after}: 비교할 점수가 없습니다.", f"{comparison.after}: there are no scores to compare."
        )
    said = ONE_SEED if found.verdict in ("better_rows", "worse_rows") else verdict_text(found, share=True)
    before, after = (percent(mean_of(side)) for side in (found.before, found.after))
    moved = (signed(found.estimate, share=True), interval(found, share=True))
    spread = " ".join(part for part in moved if part != NONE)
    p = p_value(found.p_told)
    shown = [_moved(comparison, key, each) for key, each in comparison.tasks.items() if each.verdict != "none"]
    rest = Label(" 과제별로도 확인된 차이가 없습니다.", " No difference was shown on any task either.")
    if shown:
        korean, english = (in_language(join(shown, ", "), language) for language in LANGUAGES)
        rest = Label(f" 과제별로는 {korean}.", f" By task: {english}.")
    seeds = len(comparison.seeds)
    asked = Label(f"시드 {seeds}개, 문항 {found.rows:,}개", f"{seeds} seed(s), {found.rows:,} rows")
    pair = f"{comparison.before} → {comparison.after}"
    return Label(
        f"{pair}: {said.ko}. 종합 {before} → {after}, {spread}%p, p={p} ({asked.ko}).{rest.ko}",
        f"{pair}: {said.en}. Overall {before} → {after}, {spread} pt, p={p} ({asked.en}).{rest.en}",
    )


def _moved(comparison: Comparison, key: Key, found: Difference) -> Text:
    moved = signed(found.estimate, share=key in comparison.shares)
    unit = POINTS if key in comparison.shares else ""
    return join([_name(comparison, key), " ", moved, unit, " (", VERDICTS[found.verdict], ")"], "")


def verdict_blocks(result: AblationResult) -> list[Block]:
    """Return the cards and the sentence of each comparison, with what it leaves open."""
    if not result.comparisons:
        return [Note(Label("비교할 조건이 없습니다.", "There is nothing to compare."), "warning")]
    found: list[Block] = []
    for comparison in result.comparisons:
        found.append(_opening(comparison))
        cards = [_card(join([OVERALL, comparison.after]), comparison.overall)] if comparison.overall else []
        cards += [
            _card(_name(comparison, key), each, share=key in comparison.shares)
            for key, each in comparison.tasks.items()
            if key[1] == CITATION
        ]
        if cards:
            found.append(Cards(tuple(cards)))
        for task, reason in comparison.refused.items():
            text = join([_title(comparison, task), reason], ": ")
            found.append(Note(text, "warning", comparison.after))
    if any(len(comparison.seeds) == 1 for comparison in result.comparisons):
        found.append(
            Note(
                Label(
                    "시드가 하나라서 같은 설정으로 다시 학습하면 점수가 얼마나 달라지는지 알 수 없습니다. 그래서"
                    " 문항의 정오가 달라졌다고만 할 수 있고, 설정 때문이라고는 할 수 없습니다. 구간은 그 흔들림을"
                    " 문항의 흔들림과 같은 크기로 본 값입니다. --seeds 3이면 잴 수 있습니다.",
                    "With one seed nothing is known of how another training with the same settings would score: that"
                    " rows differ is all that can be said, never that the setting did it. For the interval that noise"
                    " was taken to be as large as that of the rows; --seeds 3 would measure it.",
                ),
                "warning",
            )
        )
    if any(comparison.overall and comparison.overall.verdict == "none" for comparison in result.comparisons):
        found.append(
            Note(
                Label(
                    "‘차이 확인 안 됨’은 차이가 없다는 증거가 아닙니다. 구간이 이 실험으로 배제하지 못하는 범위입니다."
                    " 실제 차이가 괄호 안의 크기 이상이었다면 80%의 확률로 보였을 것입니다. 더 작은 차이를 보려면"
                    " --detect로 문항과 시드 수를 먼저 셈해 보세요.",
                    "“No difference shown” is no proof that there is none: the interval is what this experiment cannot"
                    " rule out. A true difference of the size in brackets would have been shown with 80% power;"
                    " `--detect` plans rows and seeds for a smaller one.",
                )
            )
        )
    return found


def _opening(comparison: Comparison) -> Verdict:
    """Return what is to be done about a comparison, and the sentence with its figures."""
    found = comparison.overall
    if found is None:
        return Verdict(verdict(comparison), (), "warn")
    before, after = comparison.before, comparison.after
    size, up = f"{100 * abs(found.estimate):.1f}", found.estimate > 0
    p = p_value(found.p_told)
    p = f"p{p}" if p.startswith("<") else f"p={p}"
    higher = Label("높음" if up else "낮음", "higher" if up else "lower")
    said = Label(
        f"{after}: {before}보다 종합 점수가 {size}%p {higher.ko}({p})",
        f"{after} scored {size} points {higher.en} than {before} ({p})",
    )
    if found.verdict in ("better_rows", "worse_rows"):
        text = Label(f"{said.ko}. {ONCE.ko}.", f"{said.en}: {ONCE.en}.")
        return Verdict(text, (verdict(comparison),), "warn")
    if found.verdict in ("better", "worse"):
        kept = after if found.verdict == "better" else before
        text = Label(f"{said.ko}. {kept} 설정을 쓰세요.", f"{said.en}: use {kept}.")
        return Verdict(text, (verdict(comparison),), "good" if found.verdict == "better" else "bad")
    told = nothing_shown(found.rows)
    text = Label(f"{before} → {after}: {told.ko}", f"{before} → {after}: {told.en}")
    return Verdict(text, (verdict(comparison),), "warn" if found.rows < FEW_ROWS else "muted")


def _card(name: Text, found: Difference, *, share: bool = True) -> Card:
    asked = Label(f"문항 {found.rows:,}개", f"n={found.rows:,}")
    note = join([interval(found, share=share), asked, verdict_text(found, share=share)])
    return Card(name, marked(found, share=share), note, tone(found))


def score_blocks(result: AblationResult) -> list[Block]:
    """Return a table for each comparison, and one by seed."""
    found: list[Block] = [
        block
        for comparison in result.comparisons
        if comparison.tests
        for block in (_table(comparison), _by_seed(comparison))
    ]
    return [*found, Fold(Label("읽는 법과 통계 방법", "How to read this, and the statistics"), _method(result))]


class _Line(NamedTuple):
    name: Text
    sub: str
    found: Difference
    share: bool


def _lines(comparison: Comparison) -> list[_Line]:
    lines = [_Line(join([OVERALL, direction(True)], ""), "", comparison.overall, True)] if comparison.overall else []
    for key, found in comparison.tasks.items():
        name = join([_name(comparison, key), direction(found.higher_is_better)], "")
        lines.append(_Line(name, "/".join(key), found, key in comparison.shares))
    return lines


def _table(comparison: Comparison) -> Table:
    rows = []
    for name, sub, found, share in _lines(comparison):
        before, after = (Cell(show_score(mean_of(side), share=share)) for side in (found.before, found.after))
        rows.append(
            (
                Cell(name, sub=sub), Cell(f"{found.rows:,}", sub=rows_in(found.rows, found.clusters)), before, after,
                Cell(marked(found, share=share), tone(found)), Cell(interval(found, share=share)),
                Cell(p_value(found.p)), Cell(p_value(found.p_told)),
                Cell(verdict_text(found, share=share), tone(found)),
            )
        )  # fmt: skip
    header: tuple[Text, ...] = (
        Label("점수", "Score"), Label("문항", "n"), comparison.before, comparison.after, Label("차이", "Difference"),
        CI, "p", Label("p (홀름)", "p (Holm)"), Label("결과", "Result"),
    )  # fmt: skip
    seeds = ", ".join(str(seed) for seed in comparison.seeds)
    caption = Label(f"시드 {seeds}의 평균", f"mean over seeds {seeds}")
    return Table(header, tuple(rows), join([f"{comparison.before} → {comparison.after}", caption]))


def _by_seed(comparison: Comparison) -> Table:
    rows = []
    for name, _, found, share in _lines(comparison):
        for position, (seed, *scores) in enumerate(zip(comparison.seeds, found.before, found.after, strict=True)):
            cells = (Cell(show_score(each, share=share)) for each in scores)
            moved = Cell(signed(scores[1] - scores[0], share=share))
            rows.append((Cell("" if position else name), Cell(str(seed)), *cells, moved))
    header: tuple[Text, ...] = (
        Label("점수", "Score"), Label("시드", "Seed"), comparison.before, comparison.after, Label("차이", "Difference"),
    )  # fmt: skip
    return Table(header, tuple(rows), Label("시드별", "By seed"))


def _method(result: AblationResult) -> tuple[Note, ...]:
    tests = sum(len(comparison.tests) for comparison in result.comparisons)
    texts = (
        Label(
            "종합 점수는 과제마다 주 지표(0~1, 높을수록 좋은 것)를 같은 비중으로 평균한 값입니다.",
            "The overall score is the mean of the tasks' main metrics (shares, higher is better), each task of equal"
            " weight.",
        ),
        Label(
            "두 비교군은 같은 시드, 같은 문항끼리 짝지어 비교합니다. 문항과 시드는 모두 표본이므로 구간에는 두 흔들림이"
            " 함께 들어갑니다.",
            "Two arms are compared on the same rows under the same seed. Rows and seeds are both samples, so the"
            " interval holds the noise of both.",
        ),
        Label(
            "p는 새터스웨이트 자유도의 t 검정과 묶음별 부호 순열 검정 가운데 큰 값입니다. 문서나 서식을 함께 쓰지 않는"
            " 문항은 저마다 한 묶음입니다. 계산식은 docs/ablation.md에 있습니다.",
            "p is the larger one of a t test with Satterthwaite's degrees of freedom and a sign-flip test over the"
            " clusters; a row that shares no document or template is a cluster. docs/ablation.md has the formula.",
        ),
        Label(
            f"이 실험의 검정 {tests}개 전체에 홀름 보정을 하고, {SIGNIFICANT:g} 미만일 때만 차이가 있다고 적습니다.",
            f"Holm's correction is over all {tests} tests of the experiment; only p < {SIGNIFICANT:g} counts as a"
            " difference.",
        ),
    )
    return tuple(Note(text) for text in texts)


def _name(comparison: Comparison, key: Key) -> Text:
    return join([_title(comparison, key[0]), named(METRICS, key[1])])


def _title(comparison: Comparison, task: str) -> Text:
    return task_title(task, comparison.titles.get(task, {}))


def cli_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return the rows that the command line prints of a comparison, in English as all of its output."""
    return [
        (
            in_language(name, "en"), *(show_score(mean_of(side), share=share) for side in (found.before, found.after)),
            signed(found.estimate, share=share), interval(found, share=share), p_value(found.p_told),
            verdict_text(found, share=share).en,
        )
        for name, _, found, share in _lines(comparison)
    ]  # fmt: skip
