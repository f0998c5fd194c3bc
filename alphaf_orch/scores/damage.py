"""Which stored scores of a run are damaged, and what mends them."""

from __future__ import annotations

from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.stored import absent, name_of
from alphaf_orch.runs.repair import Finding, aside
from alphaf_orch.scores.results import check_samples, read_result


def score_findings(paths: RunPaths) -> list[Finding]:
    """Return the scores that cannot be read, or whose samples are not all there; a result goes with its samples."""
    found = []
    samples = {path.with_suffix(".json") for path in sorted(paths.evaluations.glob("*/*.jsonl"))}
    for path in sorted({*paths.eval_results(), *samples}):
        lines = path.with_suffix(".jsonl")
        try:
            check_samples(lines, read_result(path))
        except RunStateError as error:
            then = f"`alphaf eval --run {name_of(path)}` asks {path.parent.name} again for {path.stem}"
            found += [aside(each, paths.root, error.what, then) for each in (path, lines) if not absent(each)]
    return found
