"""The scores of an ablation: what may be concluded, in one sentence; every figure with its interval, by seed."""

from __future__ import annotations

from alphaf_orch.core.wording import Label, Text, join, named
from alphaf_orch.experiments.ablation.results import CITATION, AblationResult, Comparison, Key
from alphaf_orch.report.blocks import Block, Card, Cards, Cell, Fold, Note, Table, Tone
from alphaf_orch.report.figures import NONE, number, p_value, signed
from alphaf_orch.report.names import CI, MARKS, METRICS, VERDICTS, direction
from alphaf_orch.scores.names import TASKS
from alphaf_orch.scores.seeds import SIGNIFICANT, Effect

OVERALL = Label("종합 점수", "Overall score")
_TONES: dict[str, Tone] = {"better": "good", "worse": "bad", "none": "muted"}


def verdict(comparison: Comparison) -> Label:
    """Return in one sentence what the comparison shows; where it shows no difference, that sentence says so."""
    if comparison.overall is None:
        return Label(
            f"{comparison.after}: 비교할 점수가 없습니다.", f"{comparison.after}: there are no scores to compare."
        )
    effect = comparison.overall
    said = VERDICTS[effect.verdict]
    figures = f"{_percent(effect.before)} → {_percent(effect.after)}"
    found = (signed(effect.difference, share=True), _interval(effect, share=True))
    spread = " ".join(part for part in found if part != NONE)
    p = p_value(_p(effect))
    parts_ko, parts_en = [], []
    for key, each in comparison.tasks.items():
        if each.verdict != "none":
            name, word = _name(key), VERDICTS[each.verdict]
            share = _is_share(each)
            moved = signed(each.difference, share=share)
            parts_ko.append(f"{_ko(name)} {moved}{'%p' if share else ''} ({word.ko})")
            parts_en.append(f"{_en(name)} {moved}{' pt' if share else ''} ({word.en})")
    rest_ko = f" 과제별로는 {', '.join(parts_ko)}." if parts_ko else " 과제별로도 확인된 차이가 없습니다."
    rest_en = f" By task: {', '.join(parts_en)}." if parts_en else " No difference was shown on any task either."
    asked_ko = f"시드 {effect.seeds}개, 문항 {effect.rows:,}개"
    asked_en = f"{effect.seeds} seed(s), {effect.rows:,} rows"
    pair = f"{comparison.before} → {comparison.after}"
    return Label(
        f"{pair}: {said.ko}. 종합 {figures}, {spread}%p, p={p} ({asked_ko}).{rest_ko}",
        f"{pair}: {said.en}. Overall {figures}, {spread} pt, p={p} ({asked_en}).{rest_en}",
    )


def verdict_blocks(result: AblationResult) -> list[Block]:
    """Return the cards and the sentence of each comparison, with what it leaves open."""
    if not result.comparisons:
        return [Note(Label("비교할 조건이 없습니다.", "There is nothing to compare."), "warning")]
    found: list[Block] = []
    for comparison in result.comparisons:
        cards = [_card(join([OVERALL, comparison.after]), comparison.overall)] if comparison.overall else []
        cards += [_card(_name(key), each) for key, each in comparison.tasks.items() if key[1] == CITATION]
        if cards:
            found.append(Cards(tuple(cards)))
        found.append(Note(verdict(comparison), "info" if comparison.overall else "warning"))
        found += [Note(text, "warning", comparison.after) for text in comparison.refused]
    if any(len(comparison.seeds) == 1 for comparison in result.comparisons):
        found.append(
            Note(
                Label(
                    "시드가 하나라서 같은 설정으로 다시 학습하면 점수가 얼마나 달라지는지 알 수 없습니다. 그 흔들림을"
                    " 문항의 흔들림과 같은 크기로 보고 계산했습니다. --seeds 3이면 잴 수 있습니다.",
                    "With one seed nothing is known of how another training with the same settings would score. Its"
                    " noise was taken to be as large as that of the rows; --seeds 3 would measure it.",
                ),
                "warning",
            )
        )
    if any(comparison.overall and comparison.overall.verdict == "none" for comparison in result.comparisons):
        found.append(
            Note(
                Label(
                    "‘차이 확인 안 됨’은 차이가 없다는 증거가 아닙니다. 구간이 이 실험으로 배제하지 못하는 범위입니다.",
                    "“No difference shown” is no proof that there is none: the interval is what this experiment cannot"
                    " rule out.",
                )
            )
        )
    return found


def _card(name: Text, effect: Effect) -> Card:
    share = _is_share(effect)
    note = join([_interval(effect, share=share), VERDICTS[effect.verdict]])
    return Card(name, f"{MARKS[effect.verdict]} {signed(effect.difference, share=share)}", note, _TONES[effect.verdict])


def score_blocks(result: AblationResult) -> list[Block]:
    """Return a table for each comparison, and one by seed."""
    found: list[Block] = [
        block
        for comparison in result.comparisons
        if comparison.effects
        for block in (_table(comparison), _by_seed(comparison))
    ]
    return [*found, Fold(Label("읽는 법과 통계 방법", "How to read this, and the statistics"), _method(result))]


def _rows(comparison: Comparison) -> list[tuple[Text, str, Effect]]:
    rows: list[tuple[Text, str, Effect]] = []
    if comparison.overall:
        rows.append((join([OVERALL, direction(True)], ""), "", comparison.overall))
    for key, effect in comparison.tasks.items():
        rows.append((join([_name(key), direction(effect.higher_is_better)], ""), "/".join(key), effect))
    return rows


def _table(comparison: Comparison) -> Table:
    rows = []
    for name, sub, effect in _rows(comparison):
        share = _is_share(effect)
        tone = _TONES[effect.verdict]
        rows.append(
            (
                Cell(name, sub=sub), Cell(f"{effect.rows:,}"), Cell(_figure(effect.before, share=share)),
                Cell(_figure(effect.after, share=share)),
                Cell(f"{MARKS[effect.verdict]} {signed(effect.difference, share=share)}", tone),
                Cell(_interval(effect, share=share)), Cell(p_value(effect.p)), Cell(p_value(_p(effect))),
                Cell(VERDICTS[effect.verdict], tone),
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
    for name, _, effect in _rows(comparison):
        share = _is_share(effect)
        figures = zip(comparison.seeds, effect.before_by_seed, effect.after_by_seed, strict=True)
        for position, (seed, before, after) in enumerate(figures):
            rows.append(
                (
                    Cell("" if position else name), Cell(str(seed)), Cell(_figure(before, share=share)),
                    Cell(_figure(after, share=share)), Cell(signed(after - before, share=share)),
                )
            )  # fmt: skip
    header: tuple[Text, ...] = (
        Label("점수", "Score"), Label("시드", "Seed"), comparison.before, comparison.after, Label("차이", "Difference"),
    )  # fmt: skip
    return Table(header, tuple(rows), Label("시드별", "By seed"))


def _method(result: AblationResult) -> tuple[Note, ...]:
    tests = sum(len(comparison.effects) for comparison in result.comparisons)
    texts = (
        Label(
            "종합 점수는 과제마다 주 지표(0~1, 높을수록 좋은 것)를 같은 비중으로 평균한 값입니다.",
            "The overall score is the mean of the tasks' main metrics (shares, higher is better), each task of equal"
            " weight.",
        ),
        Label(
            "두 실험군은 같은 시드, 같은 문항끼리 짝지어 비교합니다. 문항과 시드는 모두 표본이므로 구간에는 두 흔들림이"
            " 함께 들어갑니다.",
            "Two arms are compared on the same rows under the same seed. Rows and seeds are both samples, so the"
            " interval holds the noise of both.",
        ),
        Label(
            "p는 새터스웨이트 자유도의 t 검정과 문항별 부호 순열 검정 가운데 큰 값입니다. 계산식은 docs/ablation.md에"
            " 있습니다.",
            "p is the larger one of a t test with Satterthwaite's degrees of freedom and a sign-flip test over the"
            " rows; docs/ablation.md has the formula.",
        ),
        Label(
            f"이 실험의 검정 {tests}개 전체에 홀름 보정을 하고, {SIGNIFICANT:g} 미만일 때만 차이가 있다고 적습니다.",
            f"Holm's correction is over all {tests} tests of the experiment; only p < {SIGNIFICANT:g} counts as a"
            " difference.",
        ),
    )
    return tuple(Note(text) for text in texts)


def _is_share(effect: Effect) -> bool:
    return all(0 <= value <= 1 for value in (*effect.before_by_seed, *effect.after_by_seed))


def _figure(value: float, *, share: bool) -> str:
    return _percent(value) if share else number(value)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def _interval(effect: Effect, *, share: bool) -> str:
    """Return the interval; a dash where all rows differ by the same, which leaves nothing to measure noise by."""
    if effect.low == effect.high:
        return NONE
    return f"[{signed(effect.low, share=share)}, {signed(effect.high, share=share)}]"


def _p(effect: Effect) -> float:
    return effect.p if effect.p_holm is None else effect.p_holm


def _name(key: Key) -> Text:
    return join([named(TASKS, key[0]), named(METRICS, key[1])])


def _ko(text: Text) -> str:
    return text if isinstance(text, str) else text.ko


def _en(text: Text) -> str:
    return text if isinstance(text, str) else text.en


def cli_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Return the rows that the command line prints of a comparison, in English as all of its output."""
    rows: list[tuple[str, ...]] = []
    for name, _, effect in _rows(comparison):
        share = _is_share(effect)
        rows.append(
            (
                _en(name), _figure(effect.before, share=share), _figure(effect.after, share=share),
                signed(effect.difference, share=share), _interval(effect, share=share), p_value(_p(effect)),
                VERDICTS[effect.verdict].en,
            )
        )  # fmt: skip
    return rows
