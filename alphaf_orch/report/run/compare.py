"""Runs side by side: what was set otherwise, the curves over each other, the scores of the same stages, paired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alphaf_orch.core.hiding import hide, place
from alphaf_orch.core.wording import Label, Text, join, named
from alphaf_orch.planning.stages import STAGE_ORDER
from alphaf_orch.report.blocks import Block, Cell, Note, Section, Table
from alphaf_orch.report.cases import cases_of
from alphaf_orch.report.changes import outcome
from alphaf_orch.report.figures import NONE, duration, mebibytes, number
from alphaf_orch.report.judge import judged, win_rate
from alphaf_orch.report.names import KEY, PROCESSES, STAGE, STAGES, STATES
from alphaf_orch.report.plots import training_curves
from alphaf_orch.report.run.warnings import left_out
from alphaf_orch.report.score_blocks import blocks as score_blocks
from alphaf_orch.report.verdict import verdict, verdicts
from alphaf_orch.runs.chain import CHAIN
from alphaf_orch.scores.loaded import RunData
from alphaf_orch.scores.table import Arm, ScoreTable, build

_RECIPES = ("sft", "dpo")
_BARS = "compare-bars"


def comparison_sections(runs: Sequence[RunData], cases: int = 0, group: str = "") -> list[Section]:
    """Return the sections that show the runs beside each other; the first run is what the others are compared with."""
    trained = [(run.name, run.metrics) for run in runs]
    table = _table(runs)
    parts: list[tuple[str, Text, Sequence[Block]]] = [
        ("verdict", Label("결론", "Verdict"), _verdict(table)),
        ("differences", Label("다른 점", "What differs"), _differences(runs)),
        ("stages", Label("단계 비교", "The stages"), _stages(runs)),
        ("scores", Label("점수 비교", "Scores"), _scores(runs, table)),
        ("curves", Label("학습 곡선 비교", "Training curves"), training_curves("compare", trained)),
    ]
    if cases:
        parts.append(("cases", Label("정오가 갈린 문항", "Rows with another outcome"), _cases(runs, cases)))
    return [Section(f"compare-{name}", title, tuple(blocks), group) for name, title, blocks in parts]


def _differences(runs: Sequence[RunData]) -> list[Block]:
    """Return the settings, data and recipe keys that are not the same in all runs."""
    found: list[Block] = []
    for caption, values in (
        (Label("입력", "Inputs"), [_inputs(run) for run in runs]),
        (Label("설정", "Settings"), [_flat(run.config, run) for run in runs]),
        *(
            (Label(f"{name.upper()} 레시피", f"{name.upper()} recipe"), [_recipe(run, name) for run in runs])
            for name in _RECIPES
        ),
    ):
        table = _difference_table(runs, values, caption)
        if table:
            found.append(table)
    return found or [Note(Label("설정과 데이터가 같습니다.", "Settings and data are the same."))]


def _difference_table(runs: Sequence[RunData], values: Sequence[Mapping[str, str]], caption: Text) -> Table | None:
    keys = sorted({key for each in values for key in each})
    rows = [
        (Cell(key, "code"), *(Cell(each.get(key, NONE), "code") for each in values))
        for key in keys
        if len({each.get(key) for each in values}) > 1
    ]
    header: tuple[Text, ...] = (KEY, *(run.name for run in runs))
    return Table(header, tuple(rows), caption, text_columns=len(header)) if rows else None


def _inputs(run: RunData) -> dict[str, str]:
    manifest = run.manifest
    keys = ("model", "base_model", "base_revision", "licence", "alphaf", "git_commit", "git_dirty")
    found = {key: hide(place(manifest.get(key, NONE), run.paths), run.paths) for key in keys}
    for section, sources in manifest.get("data", {}).items():
        for position, source in enumerate(sources, 1):
            found[f"data.{section}.{position}"] = place(source["path"], run.paths)
            found[f"data.{section}.{position}.rows"] = number(source.get("rows"))
            found[f"data.{section}.{position}.sha256"] = str(source.get("sha256") or NONE)
    versions = {
        tool: version for entry in run.stages.values() for tool, version in (entry.get("versions") or {}).items()
    }
    return found | {f"version.{tool}": str(version) for tool, version in versions.items()}


def _recipe(run: RunData, name: str) -> dict[str, str]:
    """Return the keys of the recipe as it was run, from what the stage's result depends on."""
    spec = (run.stages.get(name) or {}).get("spec") or {}
    return _flat({**(spec.get("recipe") or {}), "global_batch_size": spec.get("global_batch_size")}, run)


def _flat(values: Mapping[str, Any], run: RunData, prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, run, f"{prefix}{key}.")
        else:
            items = value if isinstance(value, list | tuple) else [value]
            shown = [place(item, run.paths) if isinstance(item, str) else hide(item, run.paths) for item in items]
            found[f"{prefix}{key}"] = ", ".join(shown)
    return found


def _stages(runs: Sequence[RunData]) -> list[Block]:
    rows = []
    for name in STAGE_ORDER:
        entries = [run.stages.get(name) for run in runs]
        if not any(entries):
            continue
        cells = []
        for entry in entries:
            if entry is None:
                cells.append(Cell(NONE, "muted"))
                continue
            sub = join([mebibytes(entry.get("peak_memory_mib")), _loss(entry)])
            cells.append(Cell(join([named(STATES, entry["state"]), duration(entry.get("seconds"))]), sub=sub))
        rows.append((Cell(named(PROCESSES, name)), *cells))
    header: tuple[Text, ...] = (STAGE, *(run.name for run in runs))
    return [Table(header, tuple(rows), text_columns=len(header))]


def _loss(entry: Mapping[str, Any]) -> Text:
    result = entry.get("result") or {}
    if "loss_first" not in result:
        return ""
    shown = f"{number(result['loss_first'])} → {number(result['loss_last'])}"
    return Label(f"손실 {shown}", f"loss {shown}")


def _stages_scored(runs: Sequence[RunData]) -> list[str]:
    met = {stage for run in runs for stage in run.scored}
    return [*(stage for stage in CHAIN if stage in met), *sorted(met - set(CHAIN))]


def _table(runs: Sequence[RunData]) -> ScoreTable:
    """Return one table over all stages: tests of the same stage in two runs are one family."""
    arms = []
    for stage in _stages_scored(runs):
        against = None
        for run in runs:
            if stage in run.scored:
                name = f"{run.name}/{stage}"
                # Every run trained its own models, once; base models are no training of ours.
                apart = against is not None and stage != "base"
                arms.append(Arm(name, run.name, run.scored[stage], against, named(STAGES, stage), apart))
                against = against or name
    return build(arms)


def _verdict(table: ScoreTable) -> list[Block]:
    counted = outcome(table, _BARS)
    return [*(verdicts(table) or [verdict(table)]), *([counted] if counted else [])]


def _scores(runs: Sequence[RunData], table: ScoreTable) -> list[Block]:
    found: list[Block] = [*score_blocks(table, _BARS)]
    found += [Note(note.text, note.level, join([run.name, note.where])) for run in runs for note in left_out(run)]
    preferred = _preferences(runs)
    return [*found, preferred] if preferred else found


def _preferences(runs: Sequence[RunData]) -> Table | None:
    rows = []
    by_run = [{each.folder.name: each for each in judged(run.paths) if each.pair} for run in runs]
    for name in sorted({name for each in by_run for name in each}):
        rows.append((Cell(name), *(win_rate(each[name]) if name in each else Cell(NONE, "muted") for each in by_run)))
    header: tuple[Text, ...] = (
        Label("선호 평가: a의 승률", "Judged preference: win rate of a"),
        *(run.name for run in runs),
    )
    return Table(header, tuple(rows)) if rows else None


def _cases(runs: Sequence[RunData], shown: int) -> list[Block]:
    first = runs[0]
    pairs = []
    for stage in _stages_scored(runs):
        for other in runs[1:]:
            for task, scored in other.scored.get(stage, {}).items():
                before = first.scored.get(stage, {}).get(task)
                if before:
                    names = [join([run.name, named(STAGES, stage)]) for run in (first, other)]
                    pairs.append(((first.paths, before, names[0]), (other.paths, scored, names[1])))
    return cases_of(pairs, shown) or [Note(Label("짝지을 결과가 없습니다.", "There are no results to pair."))]
