"""What a run is and how far it came: its head, the chain of stages, the training curves."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from alphaf_orch.core.hiding import hide, place
from alphaf_orch.core.wording import Label, Text, join, named
from alphaf_orch.planning.allowed import lines
from alphaf_orch.planning.stages import STAGE_ORDER
from alphaf_orch.report.blocks import Block, Card, Cards, Cell, KeyValues, Measured, Note, Table, Tone
from alphaf_orch.report.changes import title_of, tone
from alphaf_orch.report.figures import NONE, duration, mebibytes, moment, number
from alphaf_orch.report.names import MARKS, METRICS, PROCESSES, STAGES, STATES
from alphaf_orch.report.score_blocks import score_interval, show_score
from alphaf_orch.scores.loaded import RunData
from alphaf_orch.scores.table import ScoreTable

_STATE_TONES: dict[str, Tone] = {"done": "good", "failed": "bad", "interrupted": "warn", "running": "warn"}

_CARDS = 8  # tasks with a card of their own
_MOVED = {"better", "worse", "better_rows", "worse_rows"}


def head(run: RunData) -> KeyValues:
    """Return what was trained, by what, when and where."""
    manifest = run.manifest
    machine = manifest.get("machine", {})
    gpus = run.config.get("gpus")
    device = Label("CPU", "CPU") if gpus == 0 else Label(f"GPU {gpus}개", f"{gpus} GPU(s)") if gpus else ""
    where = [device, str(machine.get("system", "")), f"Python {machine['python']}" if "python" in machine else ""]
    rows: list[tuple[Text, Cell]] = [
        (Label("실행", "Run"), Cell(run.name)),
        (Label("베이스 모델", "Base model"), Cell(place(manifest.get("base_model") or NONE, run.paths))),
        (Label("라이선스", "Licence"), Cell(str(manifest.get("licence") or NONE))),
        *_allowed(manifest),
        (Label("시작", "Started"), Cell(moment(manifest.get("created")))),
        (Label("alphaf 버전", "alphaf version"), Cell(str(manifest.get("alphaf") or NONE))),
        (Label("컴퓨터", "Machine"), Cell(join(where) or NONE)),
    ]
    return KeyValues(tuple(rows))


def _allowed(manifest: Mapping[str, Any]) -> list[tuple[Text, Cell]]:
    """Return a row for each flag that let in pickles or python of a model, none where no flag was given."""
    found = manifest.get("allowed")
    if not found:
        return []
    files = [(each["kind"], each["model"], each["file"]) for each in found["files"]]
    return [(Label("따로 허용한 것", "Allowed by flag"), Cell(line)) for line in lines(found["flags"], files)]


def cards(run: RunData, table: ScoreTable | None, warnings: int, prefix: str) -> Cards:
    """Return the figures for a reader in a hurry: what each main score became, how far the chain came, warnings."""
    done = sum(stage.get("state") == "done" for stage in run.stages.values())
    whole = done == len(run.stages) > 0
    tasks = table.tasks if table else ()
    items = [_score_card(table, task, f"{prefix}scores") for task in tasks[:_CARDS]] if table else []
    if len(tasks) > _CARDS:
        more = Label("더 있는 과제", "More tasks")
        note = Label("점수 절에 있음", "see the scores")
        items.append(Card(more, str(len(tasks) - _CARDS), note, target=f"{prefix}scores"))
    items.append(
        Card(
            Label("끝난 단계", "Stages done"),
            f"{done} / {len(run.stages)}",
            _took(run),
            "good" if whole else "warn",
            target=f"{prefix}chain",
        )
    )
    items.append(
        Card(
            Label("주의할 점", "Warnings"),
            str(warnings),
            Label("아래 목록", "listed below") if warnings else "",
            "warn" if warnings else "good",
            target=f"{prefix}warnings",
        )
    )
    return Cards(tuple(items))


def _took(run: RunData) -> Text:
    """Return how long the stages took, and how long the scores."""
    trained = duration(sum(stage.get("seconds") or 0 for stage in run.stages.values()))
    scored = sum(each.result.seconds for tasks in run.scored.values() for each in tasks.values())
    parts = [Label(f"학습 {trained}", f"training {trained}")]
    if run.scored:
        parts.append(Label(f"평가 {duration(scored)}", f"evaluation {duration(scored)}"))
    return join(parts)


def chain_blocks(run: RunData) -> list[Block]:
    """Return the stages with times, memory and speed, and in words what is not there."""
    header = (
        Label("단계", "Stage"), Label("상태", "State"), Label("시작", "Started"), Label("시간", "Time"),
        Label("최대 메모리", "Peak memory"), Label("토큰/초", "Tokens/s"), Label("학습 스텝", "Steps"),
        Label("손실", "Loss"),
    )  # fmt: skip
    rows = [_stage_row(run, name, run.stages[name]) for name in _ordered(run.stages)]
    rows += [_eval_row(run, stage) for stage in run.scored]
    found: list[Block] = [Table(header, tuple(rows), text_columns=2)] if rows else []
    found += [
        Note(join([named(PROCESSES, name), hide(entry["error"], run.paths)]), "error")
        for name, entry in run.stages.items()
        if entry.get("error")
    ]
    missing = [name for name in ("sft", "dpo") if name not in run.stages]
    for name in missing:
        found.append(Note(join([named(PROCESSES, name), Label("아직 실행하지 않음", "not run yet")])))
    if not run.scored:
        text = Label(
            "평가 결과가 아직 없습니다. `alphaf eval` 명령이 만듭니다.", "No scores yet; `alphaf eval` makes them."
        )
        found.append(Note(text))
    return found


def _score_card(table: ScoreTable, task: str, target: str) -> Card:
    """Return every model of the chain with its interval: what one step gains, the next may lose."""
    metric = table.metrics(task)[0]
    share = (task, metric) in table.shares
    lines, counts = [], set()
    for arm in table.arms:
        found = table.scores.get((arm.name, task, metric))
        if found:
            change = table.changes.get((arm.name, task, metric))
            mark = MARKS[change.verdict] if change and change.verdict in _MOVED else ""
            value = join([show_score(found.value, share=share), mark], " ")
            lines.append(
                Measured(
                    arm.title, value, score_interval(found, share=share), tone(change) if mark and change else "plain"
                )
            )
            counts.add(found.n)
    asked = " / ".join(f"{n:,}" for n in sorted(counts))
    note = Label(f"문항 {asked}개, 95% 구간", f"n={asked}, 95% intervals")
    return Card(join([title_of(table, task), named(METRICS, metric)]), "", note, lines=tuple(lines), target=target)


def _ordered(stages: Mapping[str, Any]) -> list[str]:
    known = [name for name in STAGE_ORDER if name in stages]
    return [*known, *(name for name in stages if name not in known)]


def _stage_row(run: RunData, name: str, entry: Mapping[str, Any]) -> tuple[Cell, ...]:
    state = entry.get("state", "")
    result = entry.get("result") or {}
    rates = [row["tokens_per_s"] for row in run.metrics.get(name, []) if row.get("tokens_per_s")]
    loss = f"{number(result['loss_first'])} → {number(result['loss_last'])}" if "loss_first" in result else NONE
    return (
        Cell(named(PROCESSES, name), sub=name if name in PROCESSES else ""),
        Cell(named(STATES, state), _STATE_TONES.get(state, "plain")),
        Cell(moment(entry.get("started"))),
        Cell(duration(entry.get("seconds"))),
        Cell(mebibytes(entry.get("peak_memory_mib"))),
        Cell(number(round(median(rates), 1)) if rates else NONE),
        Cell(number(result.get("steps"))),
        Cell(loss),
    )


def _eval_row(run: RunData, stage: str) -> tuple[Cell, ...]:
    results = [scored.result for scored in run.scored[stage].values()]
    title = join([Label("평가", "evaluation"), named(STAGES, stage)])
    tasks = Label(f"과제 {len(results)}개", f"{len(results)} task(s)")
    return (
        Cell(title, sub=tasks),
        Cell(STATES["done"], "good"),
        Cell(moment(min(result.started for result in results))),
        Cell(duration(sum(result.seconds for result in results))),
        *[Cell(NONE)] * 4,
    )
