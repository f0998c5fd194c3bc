"""The whole report of one or several runs as one value, from what is stored about them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.wording import Label, Text, join, named
from alphaf_orch.report.blocks import Block, Note, Report, Section
from alphaf_orch.report.cases import cases_of
from alphaf_orch.report.changes import outcome
from alphaf_orch.report.judge import judge_blocks, judge_warnings, judged
from alphaf_orch.report.names import STAGES
from alphaf_orch.report.plots import training_curves
from alphaf_orch.report.run.compare import comparison_sections
from alphaf_orch.report.run.lineage import data_blocks, lineage_blocks
from alphaf_orch.report.run.overview import cards, chain_blocks, head
from alphaf_orch.report.run.warnings import run_warnings
from alphaf_orch.report.score_blocks import blocks as score_blocks
from alphaf_orch.report.verdict import regressions, verdict
from alphaf_orch.report.write import page
from alphaf_orch.scores.loaded import RunData, Scored, load_run
from alphaf_orch.scores.table import Arm, build

CASES = 3  # of each kind: enough to see how a model answers


def report_of(runs: Sequence[RunPaths], cases: int = CASES) -> Report:
    """Return the report of the runs; of several, their comparison comes first."""
    loaded = [load_run(paths) for paths in _different(runs)]
    several = len(loaded) > 1
    sections = comparison_sections(loaded, group=" · ".join(run.name for run in loaded)) if several else []
    for position, run in enumerate(loaded, 1):
        sections += _run_sections(run, cases, f"r{position}-" if several else "", run.name if several else "")
    return _report(loaded, sections, Label("실행 보고서", "Run report"))


def comparison_of(first: RunPaths, second: RunPaths, cases: int = CASES) -> Report:
    """Return what differs between two runs and what that did to the scores."""
    loaded = [load_run(paths) for paths in _different((first, second))]
    return _report(loaded, comparison_sections(loaded, cases), Label("실행 비교", "Comparison of runs"))


def _different(runs: Sequence[RunPaths]) -> Sequence[RunPaths]:
    if len({paths.root for paths in runs}) < len(runs):
        raise ConfigError("a run is named twice", where="RUN", fix="name each run once", code="config.given_twice")
    return runs


def _report(runs: Sequence[RunData], sections: Sequence[Section], what: Text) -> Report:
    title = join([run.name for run in runs], " · ")
    models = dict.fromkeys(str(run.manifest.get("model")) for run in runs if run.manifest.get("model"))
    return page(title, [what, *(name.rpartition("/")[2] for name in models)], sections)


def _run_sections(run: RunData, cases: int, prefix: str, group: str) -> list[Section]:
    arms = run_arms(run)
    table = build(arms) if arms else None
    found = judged(run.paths)
    bars = f"{prefix}score-bars"
    warnings = [*regressions(table, bars), *run_warnings(run), *judge_warnings(found)]
    shown: Sequence[Block] = warnings or [Note(Label("주의할 점이 없습니다.", "Nothing to warn of."))]
    compared = outcome(table, bars) if table else None
    summary: list[Block] = [verdict(table), cards(run, table, len(warnings), prefix)]
    summary += [*([compared] if compared else []), head(run)]
    parts: list[tuple[str, Text, Sequence[Block]]] = [
        ("summary", Label("요약", "Summary"), summary),
        ("warnings", Label("주의할 점", "Warnings"), shown),
        ("chain", Label("단계", "The chain"), chain_blocks(run)),
    ]
    if table:
        parts.append(("scores", Label("점수", "Scores"), score_blocks(table, bars)))
    if found:
        parts.append(
            (
                "judge",
                Label("선호 평가(LLM-as-a-Judge)", "Human preference, judged"),
                judge_blocks(run.paths, found, cases),
            )
        )
    pairs = [
        ((run.paths, before, named(STAGES, first)), (run.paths, after, named(STAGES, second)))
        for first, second, before, after in _pairs(run)
    ]
    wins = cases_of(pairs, cases)
    if wins:
        parts.append(("cases", Label("나아진 답과 나빠진 답", "Wins and losses"), wins))
    parts += [
        ("curves", Label("학습 곡선", "Training curves"), training_curves(f"{prefix}curve", [("", run.metrics)])),
        ("data", Label("데이터", "Data"), data_blocks(run)),
        ("lineage", Label("계보", "Lineage"), lineage_blocks(run)),
    ]
    return [Section(prefix + name, title, tuple(blocks), group) for name, title, blocks in parts]


def run_arms(run: RunData) -> list[Arm]:
    """Return the scored models of a run, each against the stage before it."""
    before = {second: first for first, second in pairwise(run.scored)}
    return [Arm(stage, named(STAGES, stage), tasks, before.get(stage)) for stage, tasks in run.scored.items()]


def _pairs(run: RunData) -> list[tuple[str, str, Scored, Scored]]:
    return [
        (first, second, run.scored[first][task], run.scored[second][task])
        for first, second in pairwise(run.scored)
        for task in run.scored[second]
        if task in run.scored[first]
    ]
