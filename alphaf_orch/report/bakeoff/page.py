"""The report of a bake-off as one value: ranking, quantities, what SFT changed, answers, evidence, what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alphaf_orch.core.wording import Label, Text, join
from alphaf_orch.experiments.bakeoff.criteria import CRITERIA as NAMES
from alphaf_orch.experiments.bakeoff.criteria import Criterion
from alphaf_orch.experiments.bakeoff.ranking import Place, Weights, leaders, rank, sensitivity
from alphaf_orch.experiments.bakeoff.run import Findings
from alphaf_orch.report.bakeoff.evidence import evidence
from alphaf_orch.report.bakeoff.names import CANDIDATE, CRITERIA, HOW, PARTS, WEIGHTS_CHOSEN, WEIGHTS_SOURCE, listed
from alphaf_orch.report.bakeoff.sheet import sheet_blocks
from alphaf_orch.report.bakeoff.tables import quantities, score_tables
from alphaf_orch.report.blocks import Block, Cell, Fold, Note, Report, Section, Table, Verdict
from alphaf_orch.report.figures import NONE, number
from alphaf_orch.report.run.compare import comparison_sections
from alphaf_orch.report.score_blocks import blocks as score_blocks
from alphaf_orch.report.write import page

Criteria = Mapping[str, Mapping[str, Criterion]]


def bakeoff_report(findings: Findings, weights: Weights, *, chosen: bool) -> Report:
    """Return the report; `chosen` says that the user gave the weights."""
    criteria = findings.criteria()
    gains, costs = score_tables(findings)
    parts: list[tuple[str, Text, Sequence[Block]]] = [
        ("ranking", Label("순위", "Ranking"), _ranking(criteria, weights, chosen=chosen)),
        ("failed", Label("실패한 것", "What failed"), _failed(findings)),
        ("quantities", Label("정량 비교", "Quantities"), quantities(findings, criteria, gains, costs)),
        ("gain", Label("SFT가 바꾼 점수", "What SFT changed"), score_blocks(gains, "gain")),
        ("forgetting", Label("다른 곳에서 잃은 점수(망각)", "What SFT cost elsewhere"), score_blocks(costs, "cost")),
        ("sheet", Label("정성 비교", "Answers side by side"), sheet_blocks(findings)),
        ("evidence", Label("근거", "Evidence"), evidence(findings)),
    ]
    sections = [Section(name, title, tuple(blocks)) for name, title, blocks in parts if blocks]
    runs = [findings.runs[name] for name in criteria if name in findings.runs]
    sections += comparison_sections(runs) if len(runs) > 1 else []
    experiment = findings.bakeoff.experiment
    asked = ", ".join(map(str, experiment.request["models"]))
    return page(experiment.name, [Label("베이스 모델 비교", "Base model bake-off"), asked], sections)


def _ranking(criteria: Criteria, weights: Weights, *, chosen: bool) -> list[Block]:
    places = rank(criteria, weights)
    shown = [join([CRITERIA[name], f"× {number(weights[name])}"], " ") for name in NAMES]
    header: tuple[Text, ...] = (Label("순위", "Place"), CANDIDATE, Label("총점", "Total"), *shown)
    rows = tuple(_place_row(place, criteria[place.candidate]) for place in places)
    found: list[Block] = [_verdict(criteria, weights), Table(header, rows, text_columns=2)]
    for place in places:
        lacking = [each for each in criteria[place.candidate].values() if each.value is None and weights[each.name]]
        for criterion in lacking:
            missing = join([PARTS.get(part.name, part.name) for part in criterion.lacking], ", ")
            text = join([Label("빠진 항목: ", "lacks "), missing], "")
            found.append(Note(text, "warning", join([place.candidate, CRITERIA[criterion.name]])))
    found.append(Note(WEIGHTS_CHOSEN if chosen else WEIGHTS_SOURCE))
    found.append(_sensitivity(criteria, weights))
    return [*found, Fold(Label("점수를 매긴 방법", "How the numbers come about"), tuple(Note(text) for text in HOW))]


def _verdict(criteria: Criteria, weights: Weights) -> Verdict:
    """Return who leads, and how far that may be trusted."""
    first = leaders(criteria, weights)
    if not first:
        nobody = Label(
            "모든 기준을 갖춘 후보가 없어 순위를 정하지 못합니다.", "No candidate has every criterion: no one leads."
        )
        return Verdict(nobody, (), "warn")
    lead = Label("이 가중치에서 1위", "first under these weights")
    if len(first) > 1:
        lead = Label("이 가중치에서 공동 1위", "first together under these weights")
    caution = Label(
        "총점은 점추정이고 후보마다 한 번만 학습했습니다. 다른 시드라면 가까운 후보의 순위는 바뀔 수 있습니다. 문항의"
        " 차이가 우연이 아닌지는 아래 검정에서 확인하세요.",
        "Totals are point estimates of one training each: another seed could rank close candidates otherwise. The tests"
        " below say which differences of the rows are more than chance.",
    )
    return Verdict(join([", ".join(first), lead], ": "), (caution,))


def _place_row(place: Place, own: Mapping[str, Criterion]) -> tuple[Cell, ...]:
    if place.place is None:
        where = Cell(NONE, "muted")
    elif place.whole:
        where = Cell(str(place.place), "good" if place.place == 1 else "plain")
    else:
        on = join([CRITERIA[name] for name in place.has], ", ")
        alone = join(
            [on, Label(f"만으로 {place.of}개 가운데 {place.place}위", f" only: {place.place} of {place.of}")], ""
        )
        where = Cell(NONE, "warn", sub=join(["(", alone, ")"], ""))
    values = [own[name].value for name in NAMES]
    total = Cell(NONE, "muted")
    if place.total is not None:
        total = Cell(f"{place.total:.3f}", "plain" if place.whole else "muted")
    cells = [Cell(f"{value:.3f}") if value is not None else Cell(NONE, "warn") for value in values]
    return (where, Cell(place.candidate), total, *cells)


def _sensitivity(criteria: Criteria, weights: Weights) -> Table:
    today = leaders(criteria, weights)
    rows = []
    for each in sensitivity(criteria, weights):
        same = each.leaders == today
        kept = Label("그대로", "the same") if same else Label("바뀜", "changes")
        title = join([CRITERIA[each.criterion], "× 2" if each.factor > 1 else "× ½"], " ")
        rows.append((Cell(title), Cell(listed(each.leaders)), Cell(kept, "muted" if same else "warn")))
    header = (Label("가중치 하나를 바꾸면", "If one weight changes"), Label("1위", "First"), Label("결과", "Outcome"))
    return Table(header, tuple(rows), text_columns=3)


def _failed(findings: Findings) -> list[Block]:
    found: list[Block] = []
    for candidate in findings.candidates:
        outcome = findings.outcomes[candidate.arm.name]
        if outcome.state != "done":
            said = findings.hidden(outcome.error)
            text = Label(f"종료 코드 {outcome.exit_code}. {said}", f"exit code {outcome.exit_code}. {said}")
            coming = outcome.state == "under way"
            found.append(Note(said if coming else text, "info" if coming else "error", candidate.arm.name))
    found += [Note(findings.hidden(error), "error", about) for about, error in findings.failed.items()]
    return found
