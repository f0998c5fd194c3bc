"""The qualitative sheet of a bake-off: which prompts every candidate answers, and the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from pathlib import Path

from rich.console import Console

from alphaf_orch.core.errors import AlphafError, Interrupted
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.progress import tell
from alphaf_orch.core.record import fingerprint, read_manifest
from alphaf_orch.experiments.bakeoff.plan import STAGES, Candidate
from alphaf_orch.experiments.experiment import ExperimentPaths
from alphaf_orch.judging.answers import Answer, ensure_answers, kept_answers
from alphaf_orch.judging.prompts import EMBEDDED, Prompt, PromptSet, load_prompts
from alphaf_orch.runs.chain import chain_models, finished

MAX_NEW_TOKENS = 256  # ours: half a page of Korean; a longer answer is cut and marked so
CHEAP = 1_000_000_000  # ours: parameters up to which the base answers too on a machine without a GPU


@dataclass(frozen=True)
class Sheet:
    """The prompts, each answered by every candidate's models; `failed` says why one has no answers."""

    prompts: tuple[Prompt, ...]
    answers: Mapping[tuple[str, str], Mapping[str, Answer]]  # (arm, stage) -> id
    failed: Mapping[tuple[str, str], str]


def sheet_prompts(folders: tuple[Path, ...]) -> PromptSet:
    """Return the first turns of the embedded preference prompts, the categories taking turns.

    So a sheet of twelve meets twelve categories, and a longer one keeps the answers of a shorter one.
    """
    by_category: dict[str, list[Prompt]] = {}
    for prompt in load_prompts(EMBEDDED, folders).prompts:
        # A reference answers the last turn.
        reference = prompt.reference if len(prompt.turns) == 1 else None
        by_category.setdefault(prompt.category, []).append(replace(prompt, turns=prompt.turns[:1], reference=reference))
    ordered = tuple(prompt for row in zip_longest(*by_category.values()) for prompt in row if prompt is not None)
    return PromptSet("bakeoff_ko", ordered, fingerprint([asdict(prompt) for prompt in ordered]))


def make_sheet(
    candidates: Sequence[Candidate],
    paths: ExperimentPaths,
    prompts: PromptSet,
    limit: int,
    machine: Machine,
    console: Console,
    *,
    verbose: bool,
    make: bool = True,
) -> Sheet:
    """Return the sheet, with the answers that lack made; a model that cannot answer leaves the others theirs.

    Without `make` those are told that lack: a job was to make them.
    """
    answers: dict[tuple[str, str], Mapping[str, Answer]] = {}
    failed: dict[tuple[str, str], str] = {}
    for candidate in candidates if limit else ():
        name = candidate.arm.name
        run = paths.arm(name)
        there = finished(run, read_manifest(run.manifest)) if run.manifest.is_file() else ()
        for stage in STAGES:
            if stage not in there or (make and stage == "base" and not _answers_cheaply(candidate, machine)):
                continue
            try:
                (model,) = chain_models(run, (stage,))
                if not make:
                    kept = kept_answers(run, model, prompts, max_new_tokens=MAX_NEW_TOKENS, limit=limit)
                    if kept is not None:
                        answers[name, stage] = kept
                    elif stage != "base" or candidate.arm.config.gpus or _answers_cheaply(candidate, machine):
                        failed[name, stage] = "its answers were not made"
                    continue
                answers[name, stage] = ensure_answers(
                    run, model, prompts, max_new_tokens=MAX_NEW_TOKENS, limit=limit, console=console, verbose=verbose
                )
            except Interrupted:
                raise
            except AlphafError as error:
                failed[name, stage] = error.message
                tell(console, f"[{name}] {error.message}")
    return Sheet(prompts.prompts[:limit], answers, failed)


def _answers_cheaply(candidate: Candidate, machine: Machine) -> bool:
    shape = candidate.preset.architecture
    return bool(machine.gpus) or (shape is not None and shape.parameters <= CHEAP)
