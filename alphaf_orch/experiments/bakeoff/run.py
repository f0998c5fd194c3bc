"""Runs a bake-off to its findings: the arms, then what is asked of libraries and tokenizers, then the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console

from alphaf_orch.core.errors import AlphafError
from alphaf_orch.core.hardware import Machine
from alphaf_orch.core.hiding import hide
from alphaf_orch.core.paths import RunPaths, template_folders
from alphaf_orch.core.progress import tell
from alphaf_orch.core.wording import Label, Text
from alphaf_orch.experiments.bakeoff.answers import Sheet, make_sheet, sheet_prompts
from alphaf_orch.experiments.bakeoff.criteria import (
    CRITERIA,
    Criterion,
    Part,
    Scores,
    complete,
    korean_parts,
    performance_parts,
    versatility_parts,
)
from alphaf_orch.experiments.bakeoff.facts import NAMES, Facts, Questions, support_config, tokenizer_config
from alphaf_orch.experiments.bakeoff.plan import Bakeoff, Candidate, find_candidates
from alphaf_orch.experiments.experiment import Experiment, ExperimentPaths, Outcome, working_on
from alphaf_orch.experiments.run import run_experiment
from alphaf_orch.scores.loaded import RunData, load_run


@dataclass(frozen=True)
class Findings:
    """All that a bake-off found; `failed` has what could not be asked or answered, in words, by what it is about."""

    bakeoff: Bakeoff
    paths: ExperimentPaths
    candidates: tuple[Candidate, ...]
    outcomes: Mapping[str, Outcome]
    runs: Mapping[str, RunData]
    support: Facts
    tokenizers: Facts
    sheet: Sheet
    failed: Mapping[str, str]

    def hidden(self, text: str) -> str:
        """Return a text with paths shown from the experiment's folder on and no folder of a user."""
        return hide(text, RunPaths(self.paths.root))

    def scores(self, name: str) -> Scores:
        """Return a candidate's results that were made as asked for: an earlier one under another limit is none."""
        run = self.runs.get(name)
        tasks = {task.name: task for task in (*self.bakeoff.tasks, *self.bakeoff.elsewhere)}
        return {
            stage: {
                task: scored
                for task, scored in results.items()
                if task in tasks and scored.result.settings.get("limit") == self.bakeoff.limit_of(tasks[task])
            }
            for stage, results in (run.scored if run else {}).items()
        }

    def lacks(self, name: str) -> Text:
        """Return why a candidate may lack figures; empty where its arm ended well."""
        outcome = self.outcomes[name]
        if outcome.state == "done":
            return ""
        first = outcome.error.split("\n", 1)[0]
        return Label(f"이 후보의 실행이 끝나지 못함: {first}", f"the arm did not finish: {first}")

    def answers(self, name: str) -> list[Mapping[str, str]]:
        """Return what the libraries said about a candidate; nothing where they could not be asked."""
        return list(self.support.get("candidates", {}).get(name, {}).get("answers", ()))

    def criteria(self) -> dict[str, dict[str, Criterion]]:
        """Return the three criteria of each candidate."""
        parts: dict[str, dict[str, tuple[Part, ...]]] = {name: {} for name in CRITERIA}
        for candidate in self.candidates:
            name = candidate.arm.name
            scores, lacks = self.scores(name), self.lacks(name)
            tokens = self.tokenizers.get("tokenizers", {}).get(name)
            no_tokens = self.failed.get("tokenizer_facts") or candidate.lacks or lacks
            parts["versatility"][name] = versatility_parts(self.answers(name), candidate.preset.licence)
            parts["korean"][name] = korean_parts(self.bakeoff, scores, tokens, lacks, no_tokens)
            parts["performance"][name] = performance_parts(self.bakeoff, scores, lacks)
        by_criterion = {name: complete(parts[name], name) for name in CRITERIA}
        return {
            candidate.arm.name: {name: by_criterion[name][candidate.arm.name] for name in CRITERIA}
            for candidate in self.candidates
        }


def run_bakeoff(
    bakeoff: Bakeoff,
    paths: ExperimentPaths,
    machine: Machine,
    console: Console,
    *,
    parallel: int | None,
    online: bool,
    warm: bool | None,
    verbose: bool,
) -> Findings:
    """Return the findings; an arm, a library or a model that fails leaves the others theirs and says why.

    Raises what `run_experiment` refuses before anything starts, and Interrupted on Ctrl-C: the same command goes on.
    """
    experiment = bakeoff.experiment
    outcomes = run_experiment(
        experiment, paths, machine, console, parallel=parallel, online=online, warm=warm, verbose=verbose
    )
    return findings(bakeoff, paths, outcomes, machine, console, verbose=verbose)


def findings(
    bakeoff: Bakeoff,
    paths: ExperimentPaths,
    outcomes: Sequence[Outcome],
    machine: Machine,
    console: Console,
    *,
    verbose: bool,
    make: bool = True,
) -> Findings:
    """Return what is found of the arms once they have ended; without `make`, no model is asked for an answer."""
    experiment = bakeoff.experiment
    candidates = find_candidates(experiment, paths)
    with working_on(paths) as lock_fd:
        facts, failed = ask_facts(experiment, candidates, paths, lock_fd, console, verbose=verbose)
    prompts = sheet_prompts(template_folders(experiment.arms[0].config.templates))
    sheet = make_sheet(candidates, paths, prompts, bakeoff.prompts, machine, console, verbose=verbose, make=make)
    failed |= {f"{arm}, {stage}": error for (arm, stage), error in sheet.failed.items()}
    runs = {arm.name: paths.arm(arm.name) for arm in experiment.arms}
    return Findings(
        bakeoff,
        paths,
        candidates,
        {outcome.arm: outcome for outcome in outcomes},
        {name: load_run(run) for name, run in runs.items() if run.manifest.is_file()},
        facts.get("native_support", {}),
        facts.get("tokenizer_facts", {}),
        sheet,
        failed,
    )


def ask_facts(
    experiment: Experiment,
    candidates: Sequence[Candidate],
    paths: ExperimentPaths,
    lock_fd: int,
    console: Console,
    *,
    verbose: bool,
) -> tuple[dict[str, Facts], dict[str, str]]:
    """Return what libraries and tokenizers say of the candidates, and in words which of them could not be asked."""
    failed: dict[str, str] = {}
    facts: dict[str, Facts] = {}
    questions = Questions(paths, experiment.arms[0].config, console, lock_fd, verbose=verbose)
    for name, config in zip(NAMES, (support_config(candidates), tokenizer_config(candidates)), strict=True):
        try:
            facts[name] = questions.ask(name, config)
        except AlphafError as error:
            failed[name] = error.message
            tell(console, f"{name}: {error.message}")
    return facts, failed
