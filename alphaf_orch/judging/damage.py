"""Which verdicts, votes, figures and answers of a run are damaged, and what mends them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.line_shapes import Summary, Verdict
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import stored_json
from alphaf_orch.core.stored import name_of
from alphaf_orch.judging.answers import read_answers
from alphaf_orch.judging.counts import Counts
from alphaf_orch.runs.repair import Finding, aside, lines
from alphaf_orch.runs.repair_lines import Reader


def judge_findings(paths: RunPaths) -> Iterator[Finding]:
    """Yield what of the judgements on a run cannot be read."""
    name = name_of(paths.root)
    for folder in paths.judgings():
        for file in (folder / "verdicts.jsonl", folder / "votes.jsonl"):
            found = lines(file, paths, _reader(file), f"`alphaf judge --run {name}` asks for the others again")
            if found:
                yield found
        try:
            stored_json(folder / "summary.json", Summary)
        except RunStateError as error:
            again = f"`alphaf judge --run {name} --summary` computes it again from the lines"
            yield aside(folder / "summary.json", paths.root, error.what, again)
    for file in paths.all_answers():
        try:
            read_answers(file)
        except RunStateError as error:
            yield aside(file, paths.root, error.what, f"`alphaf judge --run {name}` has the model answer again")


def _reader(file: Path) -> Reader:
    """Return what a line has to be; the counts ask for what every line has."""
    keys = ("order", "winner", "id", "keys") if file.stem == "verdicts" else ("vote", "stage", "id", "number")

    def check(row: dict[str, Any]) -> None:
        for key in keys:
            row[key]
        Counts().add(row, row.get("winner", row.get("vote")))

    return Reader(Verdict, check)
