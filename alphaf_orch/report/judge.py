"""What the judge said: win rates, votes, and what makes them doubtful."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaf_orch.core.line_shapes import Summary
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import required_json
from alphaf_orch.core.wording import Label, Text, join, named
from alphaf_orch.report.blocks import Block, Cell, Fold, Note, Table
from alphaf_orch.report.figures import NONE, clip, number, percent
from alphaf_orch.report.judge_cases import judged_cases
from alphaf_orch.report.names import STAGES

_UNREADABLE = 0.02  # share of verdicts; ours
_BIAS = 0.1  # from one half; ours


@dataclass(frozen=True)
class Judged:
    """The results in one folder under `judge/`: its summary, and how to name the two sides of a pair."""

    folder: Path
    summary: Mapping[str, Any]

    @property
    def pair(self) -> tuple[str, str] | None:
        """The two stages, a first; None for votes."""
        return (self.summary["a"], self.summary["b"]) if {"a", "b"} <= self.summary.keys() else None


def judged(paths: RunPaths) -> list[Judged]:
    """Return every judged comparison and vote of the run, in the order of their names."""
    return [Judged(path.parent, required_json(path, Summary)) for path in paths.judged()]


def judge_blocks(paths: RunPaths, found: Sequence[Judged], shown: int) -> list[Block]:
    """Return the figures of every comparison and vote, then judged conversations."""
    blocks: list[Block] = []
    pairs = [each for each in found if each.pair]
    votes = [each for each in found if "stages" in each.summary]
    if pairs:
        blocks.append(Table(_PAIR_HEADER, tuple(_pair_row(each.summary) for each in pairs)))
        blocks.append(Note(_EXPLAINED))
    blocks += [_votes_table(each) for each in votes]
    for each in pairs:
        cases = judged_cases(paths, each.folder, each.pair, shown) if each.pair else []
        if cases:
            blocks.append(
                Fold(
                    join([Label("판정 사례", "Judged conversations"), _title(each.summary)]), tuple(cases), paper=False
                )
            )
    return blocks


def judge_warnings(found: Sequence[Judged]) -> list[Note]:
    """Return what makes a judge's figures doubtful: the order of the answers, unreadable verdicts, missing ones."""
    notes = []
    for each in found:
        summary = each.summary
        where = join([Label("평가 모델", "Judge"), _title(summary) if each.pair else each.folder.name])
        bias = (summary.get("position_bias") or {}).get("value")
        if bias is not None and abs(bias - 0.5) > _BIAS:
            text = Label(
                f"위치 편향: 먼저 보인 답이 이긴 비율 {percent(bias)} (치우침이 없으면 50%)",
                f"position bias: the answer shown first won {percent(bias)} (50% without bias)",
            )
            notes.append(Note(text, "warning", where))
        failures, verdicts = summary.get("parse_failures") or 0, summary.get("verdicts") or 0
        if verdicts and failures / verdicts > _UNREADABLE:
            text = Label(f"읽을 수 없는 판정 {failures} / {verdicts}", f"unreadable verdicts: {failures} of {verdicts}")
            notes.append(Note(text, "warning", where))
        if summary.get("incomplete"):
            text = Label(
                f"두 순서가 모두 판정되지 않아 뺀 프롬프트 {summary['incomplete']}개",
                f"prompts left out, not judged in both orders: {summary['incomplete']}",
            )
            notes.append(Note(text, "warning", where))
        notes += [Note(text, "warning", where) for text in _lost(summary)]
    return notes


def _lost(summary: Mapping[str, Any]) -> Iterator[Label]:
    """Yield what became of everything that was asked where not all of it was judged, then why."""
    lost = {end: summary.get(end) or 0 for end in _ENDS}
    if any(lost.values()):
        judged = number(summary.get("judged"))
        korean = ", ".join(f"{_ENDS[end].ko} {count}" for end, count in lost.items() if count)
        english = ", ".join(f"{count} {_ENDS[end].en}" for end, count in lost.items() if count)
        yield Label(f"판정 {judged}, {korean}", f"{judged} judged, {english}")
    for cause in summary.get("causes") or ():
        end, why, count = _ENDS[cause["end"]], clip(str(cause["why"]), 300), cause["verdicts"]
        yield Label(f"{end.ko}(질문 {count}건): {why}", f"{end.en} ({count} questions): {why}")


def win_rate(each: Judged) -> Cell:
    """Return the win rate of a with its interval."""
    return _estimate(each.summary.get("win_rate"))


def _title(summary: Mapping[str, Any]) -> Text:
    return join([named(STAGES, summary["a"]), named(STAGES, summary["b"])], " : ")


def _estimate(value: Any) -> Cell:
    found = value if isinstance(value, Mapping) else {}
    if found.get("value") is None:
        return Cell(NONE, "muted", str(found.get("note") or ""))
    low, high = found.get("low"), found.get("high")
    spread = f"[{percent(low)}, {percent(high)}]" if low is not None and high is not None else ""
    return Cell(percent(found["value"]), sub=spread or str(found.get("note") or ""))


def _pair_row(summary: Mapping[str, Any]) -> tuple[Cell, ...]:
    controlled = (summary.get("length_controlled") or {}).get("win_rate")
    counts = " / ".join(number(summary.get(key)) for key in ("wins", "ties", "losses"))
    consistency = summary.get("consistency")
    return (
        Cell(_title(summary), sub=str(summary.get("judge") or "")),
        Cell(number(summary.get("judged"))),
        Cell(counts),
        _estimate(summary.get("win_rate")),
        _estimate(controlled),
        _estimate(summary.get("position_bias")),
        Cell(percent(consistency) if consistency is not None else NONE),
        Cell(number(summary.get("parse_failures"))),
    )


def _votes_table(each: Judged) -> Table:
    header = (Label("단계", "Stage"), Label("문항", "Rows"), Label("맞음(O)", "Right (O)"), Label("비율", "Share"),
              Label("읽을 표가 없음", "Without a vote"), Label("만장일치", "Unanimous"))  # fmt: skip
    rows = []
    for stage, found in each.summary["stages"].items():
        unanimous = found.get("unanimous")
        rows.append(
            (
                Cell(named(STAGES, stage)),
                Cell(number(found.get("rows"))),
                Cell(number(found.get("right"))),
                _estimate(found.get("share")),
                Cell(number(found.get("without_vote"))),
                Cell(percent(unanimous) if unanimous is not None else NONE),
            )
        )
    source = str(each.summary.get("source") or each.folder.name)
    return Table(
        header, tuple(rows), join([Label("정답 대조 투표(O/X)", "Votes against the gold answer (O/X)"), source])
    )


_ENDS = {
    "unreadable": Label("읽지 못함", "unreadable"),
    "refused": Label("거부", "refused"),
    "unanswered": Label("응답 없음", "unanswered"),
}
_PAIR_HEADER = (
    Label("비교 (a : b)", "Comparison (a : b)"), Label("프롬프트", "Prompts"),
    Label("승 / 무 / 패", "Win / tie / loss"), Label("a의 승률", "Win rate of a"),
    Label("길이 보정 승률", "Length-controlled"), Label("먼저 보인 답의 승률", "First shown wins"),
    Label("순서 일치", "Same in both orders"), Label("못 읽은 판정", "Unreadable"),
)  # fmt: skip
_EXPLAINED = Label(
    "승률은 무승부를 반으로 센 값이고, 각 프롬프트를 두 순서로 판정했습니다. 대괄호는 95% 구간입니다.",
    "Ties count half; every prompt is judged in both orders. Brackets are 95% intervals.",
)
