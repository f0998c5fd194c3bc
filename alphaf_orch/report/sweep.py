"""The report of a sweep of merges: what was tried, what each candidate scored, why one was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from alphaf_orch.core.errors import AlphafError
from alphaf_orch.core.hiding import place
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.wording import Label, Language, Text, in_language, named
from alphaf_orch.experiments.sweep.choice import Choice, Rated
from alphaf_orch.report.blocks import Block, Cell, Note, Report, Section, Table, Tone, Verdict
from alphaf_orch.report.changes import seen_text
from alphaf_orch.report.figures import NONE, ends, number
from alphaf_orch.report.names import STAGES, task_title
from alphaf_orch.report.score_blocks import blocks as score_blocks
from alphaf_orch.report.verdict import FEW_ROWS, nothing_shown
from alphaf_orch.report.write import page, write_report
from alphaf_orch.scores.difference import Difference
from alphaf_orch.scores.loaded import load_run
from alphaf_orch.scores.table import Arm, build

_VERDICTS = {
    "better": Label("더 좋음", "better"),
    "worse": Label("더 나쁨", "worse"),
    "none": Label("차이가 확인되지 않음", "no difference shown"),
}
_HOW = Label(
    "종합 점수는 과제마다 대표 지표 하나를 고르고 과제별 비중을 같게 하여 평균한 값입니다. 차이는 같은 문항끼리 짝지어"
    " 검정했고(문서나 서식을 함께 쓰는 문항은 묶음째), p는 이 비교 전체를 한 묶음으로 보아 홀름 방법으로 보정했습니다."
    " 병합은 학습이 아니므로 결과는 여기 놓인 모델들에 대한 것이며, 다시 학습한 모델에 대해서는 알 수 없습니다. 여러"
    " 후보 가운데 가장 높은 점수를 골랐으므로, 고른 후보의 점수는 실제보다 높게 나왔기 쉽습니다. 최종 판단은 다른 평가"
    " 자료로 확인하세요.",
    "The overall score is the mean of the tasks' main metrics, each task of equal weight. Differences are tested on"
    " paired rows (those that share a document or template as one cluster); p is corrected by Holm's method over all"
    " comparisons here. A merge is no training: what is said holds of these models, not of others trained alike. The"
    " best of several candidates was picked by these very rows, so its score is more likely too high than too low:"
    " confirm it on other questions.",
)


def write_sweep_report(
    paths: RunPaths, place_: RunPaths, choice: Choice, failures: Mapping[str, AlphafError], language: Language
) -> tuple[Path, ...]:
    """Write the sweep's report beside its candidates and return the files, the page first."""
    return write_report(sweep_report(paths, place_, choice, failures), place_.html_report, language)


def sweep_report(paths: RunPaths, place_: RunPaths, choice: Choice, failures: Mapping[str, AlphafError]) -> Report:
    """Return the report: the choice in words, all candidates with their differences, every score."""
    title = Label(f"모델 병합 비교: {paths.name}", f"Merge sweep: {paths.name}")
    chosen: list[Block] = [_opening(choice)]
    chosen.append(_candidates(choice))
    chosen += [
        Note(f"{name}: {place(error.what, paths)}", "warning", Label("실패한 후보", "failed"))
        for name, error in failures.items()
    ]
    chosen.append(Note(_HOW))
    sections = (
        Section("choice", Label("선택", "The choice"), tuple(chosen)),
        Section("scores", Label("점수", "Scores"), tuple(_scores(place_, choice))),
    )
    return page(title, [Label("후보마다 따로 병합하고 평가함", "each candidate merged and scored apart")], sections)


def _opening(choice: Choice) -> Verdict:
    """Return which model to take, and what that rests on."""
    best = choice.of(choice.best)
    own = choice.references[0] if choice.references else None
    found = best.against.get(own.name) if own else None
    advice = Label(f"{best.name} 병합 모델의 종합 점수가 가장 높습니다.", f"{best.name} has the best overall score.")
    tone: Tone = "plain"
    if own and found:
        ends_so: dict[str, tuple[Label, Tone]] = {
            "better": (Label(f"{best.name} 병합 모델을 쓰세요.", f"use the merge {best.name}."), "good"),
            "worse": (Label(f"{own.name} 모델을 유지하세요.", f"keep the {own.name} model."), "bad"),
        }
        nothing = nothing_shown(found.rows)
        told, tone = ends_so.get(found.verdict, (nothing, "warn" if found.rows < FEW_ROWS else "muted"))
        pair = f"{own.name} → {best.name}"
        advice = Label(f"{pair}: {_figures(found)}. {told.ko}", f"{pair}: {_figures(found)}: {told.en}")
    return Verdict(advice, tuple(_explained(choice)), tone)


def explained(choice: Choice, language: Language = "en") -> list[str]:
    """Return in sentences what was chosen and what the scores can and cannot show."""
    return [in_language(each, language) for each in _explained(choice)]


def _explained(choice: Choice) -> list[Label]:
    best, overall = choice.of(choice.best), f"{choice.of(choice.best).overall:.3f}"
    titles = {task: task_title(task, choice.titles.get(task, {})) for task in choice.metrics}
    korean = ", ".join(in_language(title, "ko") for title in titles.values())
    english = ", ".join(f"{in_language(titles[task], 'en')} {metric}" for task, metric in choice.metrics.items())
    told = [
        Label(
            f"선택: {best.name}, 종합 {overall}. {korean}의 대표 지표를 같은 비중으로 평균한 값이 가장 높음",
            f"chosen: {best.name}, overall {overall}: the highest mean of {english}, each task of equal weight",
        )
    ]
    if choice.runner_up is not None:
        second, words = sorted(choice.rated, key=lambda each: -each.overall)[1], _said(choice.runner_up)
        told.append(
            Label(
                f"2위 {second.name}({second.overall:.3f}) 대비: {words.ko}",
                f"against the second, {second.name} ({second.overall:.3f}): {words.en}",
            )
        )
    for other in choice.references:
        found, gap = best.against.get(other.name), f"{best.overall - other.overall:+.3f}"
        untested = Label(f"{gap}, 문항별 값이 없어 검정하지 않음", f"{gap}, not tested: no values by row")
        words = _said(found) if found else untested
        told.append(
            Label(
                f"{other.name}({other.overall:.3f}) 대비: {words.ko}",
                f"against {other.name} ({other.overall:.3f}): {words.en}",
            )
        )
    return told


def said(found: Difference) -> str:
    """Return a difference with its interval, its corrected p and the verdict, as the command line prints it."""
    return _said(found).en


def _said(found: Difference) -> Label:
    told = _verdict(found)
    return Label(f"{_figures(found)}: {told.ko}", f"{_figures(found)}: {told.en}")


def _verdict(found: Difference) -> Label:
    said, seen = _VERDICTS[found.verdict], seen_text(found, share=True, points=False)
    return Label(f"{said.ko}({seen.ko})", f"{said.en} ({seen.en})") if seen else said


def _figures(found: Difference) -> str:
    spread = ""
    if found.low is not None and found.high is not None:
        spread = " " + ends(found.low, found.high, lambda value, more: f"{value:+.{3 + more}f}")
    return f"{found.estimate:+.3f}{spread}, p {found.p_told:.3f}"


def _candidates(choice: Choice) -> Table:
    others = [reference.name for reference in choice.references]
    header: list[Text] = [Label("모델", "Model"), Label("종합 점수", "Overall")]
    header += [task_title(task, title) for task, title in choice.titles.items()]
    header += [Label(f"{name} 대비", f"against {name}") for name in others]
    rows = [_row(rated, choice, others) for rated in (*choice.rated, *choice.references)]
    return Table(tuple(header), tuple(rows), Label("후보와 비교 대상", "Candidates, and what they are compared with"))


def _row(rated: Rated, choice: Choice, others: Sequence[str]) -> tuple[Cell, ...]:
    best = rated.name == choice.best
    name = Cell(named(STAGES, rated.name), "good" if best else "plain", Label("선택됨", "chosen") if best else "")
    cells = [name, Cell(number(round(rated.overall, 4)))]
    cells += [Cell(number(round(rated.by_task[task], 4)) if task in rated.by_task else NONE) for task in choice.metrics]
    for other in others:
        found = rated.against.get(other)
        if found is None:
            cells.append(Cell(NONE, "muted"))
            continue
        cells.append(Cell(_figures(found), sub=_verdict(found)))
    return tuple(cells)


def _scores(place_: RunPaths, choice: Choice) -> list[Block]:
    scored = load_run(place_).scored
    own = choice.references[0].name if choice.references else None
    arms = [
        Arm(rated.name, named(STAGES, rated.name), scored[rated.name], own if rated.name != own else None)
        for rated in (*choice.references, *choice.rated)
        if rated.name in scored
    ]
    return score_blocks(build(arms), "sweep")
