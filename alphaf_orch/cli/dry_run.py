"""What a dry run prints of a plan, and what is worth saying of a merge whether or not it is one."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alphaf_orch.cli.answer import answer
from alphaf_orch.cli.options import How, log_console, out_console
from alphaf_orch.cli.plan_view import print_brief
from alphaf_orch.cli.views import plan_json, print_plan
from alphaf_orch.core.disk import writing
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.progress import tell
from alphaf_orch.core.record import read_manifest
from alphaf_orch.core.spoken import say
from alphaf_orch.planning.plan import Plan
from alphaf_orch.planning.stages import MERGE_MODELS
from alphaf_orch.runs.expected import forecast_of
from alphaf_orch.runs.lacking_here import lacks
from alphaf_orch.runs.status import statuses


def tell_notes(plan: Plan) -> None:
    """Say what is worth knowing about a merge that is not done yet: what is handled, and its licence."""
    done = read_manifest(plan.paths.manifest)["stages"].get(MERGE_MODELS, {}).get("state") == "done"
    for note in plan.merge.notes if plan.merge and not done else ():
        tell(log_console(), f"note: {note}")


def print_dry_run(
    plan: Plan, machine: Machine, how: How, *, tools_here: bool = True, jobs: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Print what would run, with every file and command where all is asked for, and put the files into a folder.

    `jobs` are those of JSON.
    """
    scratch = Path(tempfile.mkdtemp(prefix=f"alphaf-{plan.paths.name}-"))
    chosen = statuses(plan, read_manifest(plan.paths.manifest))
    for status in chosen:
        for path, file in status.stage.files.items():
            with writing(scratch / path.name):
                (scratch / path.name).write_text(file.text, encoding="utf-8")
    expected = forecast_of(plan, machine, chosen)
    lacking = () if how.full and not how.as_json else lacks(plan, machine, chosen, tools_here=tools_here)
    if how.as_json:
        answer("plan", {**plan_json(plan, chosen, expected, lacking, scratch), "jobs": list(jobs)})
        return
    if how.full:
        print_plan(out_console(), plan, chosen, expected, scratch)
    else:
        print_brief(out_console(), plan, chosen, expected, lacking)
    tell_notes(plan)
    say(f"dry run: nothing was launched; the rendered files are in {scratch}")
