"""The quantitative tables of a bake-off: a row for each figure, a column for each candidate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from alphaf_orch.core.wording import Label, Text, join, named
from alphaf_orch.evaluation.tasks.task import Task
from alphaf_orch.experiments.bakeoff.criteria import WRONG_LANGUAGE, Criterion, mean_score, wrong_language
from alphaf_orch.experiments.bakeoff.run import Findings
from alphaf_orch.report.bakeoff.names import ANSWER_TONES, ANSWERS, CRITERIA, FIGURE, NOT_MEASURED, QUESTIONS
from alphaf_orch.report.blocks import Block, Cell, Table
from alphaf_orch.report.changes import change_text, tone
from alphaf_orch.report.figures import number, percent, signed
from alphaf_orch.report.names import POINTS, STAGES, task_title
from alphaf_orch.scores.table import Arm, ScoreTable, build

Row = tuple[Cell, ...]


def quantities(
    findings: Findings, criteria: Mapping[str, Mapping[str, Criterion]], gains: ScoreTable, costs: ScoreTable
) -> list[Block]:
    """Return one table for each criterion; a figure that is not there says why in its place."""
    rows = {
        "versatility": _versatility(findings),
        "korean": _korean(findings),
        "performance": _performance(findings, gains, costs),
    }
    names = [candidate.arm.name for candidate in findings.candidates]
    found: list[Block] = []
    for criterion, title in CRITERIA.items():
        values = [_value(findings, criteria[name][criterion]) for name in names]
        last = (Cell(Label("기준 점수(0~1)", "Value of the criterion (0 to 1)")), *values)
        header: tuple[Text, ...] = (FIGURE, *names)
        found.append(Table(header, (*rows[criterion], last), title, text_columns=len(header)))
    return found


def score_tables(findings: Findings) -> tuple[ScoreTable, ScoreTable]:
    """Return the scores where SFT is for and where it is not, each candidate's SFT against its own base."""
    return _table(findings, findings.bakeoff.tasks), _table(findings, findings.bakeoff.elsewhere)


def _table(findings: Findings, tasks: Sequence[Task]) -> ScoreTable:
    arms = []
    for candidate in findings.candidates:
        name, before = candidate.arm.name, None
        scores = findings.scores(name)
        for stage in ("base", "sft"):
            results = {task.name: scores[stage][task.name] for task in tasks if task.name in scores.get(stage, {})}
            if results:
                arms.append(Arm(f"{name}/{stage}", named(STAGES, stage), results, before, name))
                before = arms[-1].name
    return build(arms)


def _missing(findings: Findings, why: Text) -> Cell:
    shown = why if isinstance(why, Label) else findings.hidden(why)
    return Cell(NOT_MEASURED, "warn", sub=shown)


def _value(findings: Findings, criterion: Criterion) -> Cell:
    if criterion.value is not None:
        return Cell(f"{criterion.value:.3f}")
    lacking = [part.why for part in criterion.lacking if part.why]
    return _missing(findings, lacking[0] if lacking else Label("잴 수 있는 항목이 없음", "nothing could be measured"))


def _row(findings: Findings, label: Text, cell: Callable[[str], Cell], sub: Text = "") -> Row:
    return (Cell(label, sub=sub), *(cell(candidate.arm.name) for candidate in findings.candidates))


def _versatility(findings: Findings) -> list[Row]:
    versions = findings.support.get("versions", {})
    rows = []
    for (library, question), label in QUESTIONS.items():

        def cell(name: str, library: str = library, question: str = question) -> Cell:
            for answer in findings.answers(name):
                if (answer["library"], answer["question"]) == (library, question):
                    why = answer["evidence"] if answer["answer"] == "not asked" else ""
                    return Cell(ANSWERS[answer["answer"]], ANSWER_TONES[answer["answer"]], sub=why)
            return _missing(findings, findings.failed.get("native_support", "native_support"))

        rows.append(_row(findings, join([f"{library} {versions.get(library, '')}".strip(), label]), cell))
    licences = {candidate.arm.name: candidate.preset.licence for candidate in findings.candidates}
    rows.append(_row(findings, Label("라이선스", "Licence"), lambda name: Cell(licences[name])))
    return rows


def _korean(findings: Findings) -> list[Row]:
    bakeoff = findings.bakeoff
    rows = [
        _score_row(findings, f"{stage}", tasks, where)
        for where, tasks in (
            (Label("일반 한국어", "General Korean"), bakeoff.elsewhere),
            (Label("학습 분야", "What SFT is for"), bakeoff.tasks),
        )
        for stage in ("base", "sft")
    ]
    for key, label, show in (
        ("tokens_per_syllable", Label("한글 한 글자당 토큰 수 ↓", "Tokens per Korean syllable ↓"), number),
        ("one_token_syllables", Label("토큰 하나로 적는 글자 ↑", "Syllables that are one token ↑"), percent),
        ("pieces", Label("글자 조각이나 모르는 토큰 ↓", "Tokens that are bytes or unknown ↓"), percent),
    ):

        def cell(name: str, key: str = key, show: Callable[..., str] = show) -> Cell:
            found = findings.tokenizers.get("tokenizers", {}).get(name)
            if found and key in found:
                return Cell(show(found[key]))
            candidate = next(each for each in findings.candidates if each.arm.name == name)
            why = found["error"] if found else findings.failed.get("tokenizer_facts") or candidate.lacks
            return _missing(findings, why or findings.lacks(name))

        rows.append(_row(findings, label, cell))

    def wrong(name: str) -> Cell:
        rate = wrong_language(bakeoff, findings.scores(name))
        nobody = Label("이 지표가 있는 과제가 없음", "no task has this metric")
        return _missing(findings, findings.lacks(name) or nobody) if rate is None else Cell(percent(rate))

    rows.append(_row(findings, Label("다른 언어로 답한 비율(SFT) ↓", "Wrong language (SFT) ↓"), wrong, WRONG_LANGUAGE))
    return rows


def _score_row(findings: Findings, stage: str, tasks: Sequence[Task], where: Text) -> Row:
    titles = {task.name: task_title(task.name, task.title) for task in tasks}

    def cell(name: str) -> Cell:
        results = findings.scores(name).get(stage, {})
        value, why = mean_score(results, tasks, findings.lacks(name))
        if value is None:
            return _missing(findings, why)
        parts = [(title, next(iter(results[task].result.metrics.values()))) for task, title in titles.items()]
        return Cell(percent(value), sub=join([join([title, percent(each.value)], " ") for title, each in parts], "\n"))

    return _row(findings, join([where, named(STAGES, stage)]), cell)


def _performance(findings: Findings, gains: ScoreTable, costs: ScoreTable) -> list[Row]:
    bakeoff = findings.bakeoff
    before = _score_row(findings, "base", bakeoff.tasks, Label("점수", "Score"))
    after = _score_row(findings, "sft", bakeoff.tasks, Label("점수", "Score"))
    away = join([task_title(task.name, task.title) for task in bakeoff.elsewhere], ", ")
    gained = _row(findings, Label("SFT로 오른 점수", "Gain by SFT"), _change(findings, bakeoff.tasks, gains))
    lost = _row(
        findings,
        Label("다른 곳의 변화(망각)", "Change elsewhere (forgetting)"),
        _change(findings, bakeoff.elsewhere, costs),
        away,
    )
    return [before, after, gained, lost]


def _change(findings: Findings, tasks: Sequence[Task], table: ScoreTable) -> Callable[[str], Cell]:
    """Return what SFT changed: the mean over the tasks, and below it each task with its interval and paired test."""

    def cell(name: str) -> Cell:
        scores, lacks = findings.scores(name), findings.lacks(name)
        before, no_before = mean_score(scores.get("base", {}), tasks, lacks)
        after, no_after = mean_score(scores.get("sft", {}), tasks, lacks)
        if before is None or after is None:
            return _missing(findings, no_after or no_before)
        shown, tones = [], set()
        for task in tasks:
            metric = table.metrics(task.name)[0]
            change = table.changes.get((f"{name}/sft", task.name, metric))
            if change:
                text = change_text(change, share=(task.name, metric) in table.shares)
                shown.append(join([task_title(task.name, task.title), text], " "))
                tones.add(tone(change))
        points = join([signed(after - before, share=True), POINTS], "")
        seen = tones & {"good", "bad", "warn"}
        return Cell(points, sub=join(shown, "\n"), tone=seen.pop() if len(seen) == 1 else "plain")

    return cell
