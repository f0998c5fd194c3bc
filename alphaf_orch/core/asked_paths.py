"""Where lies what a run's models were asked: scores, answers, verdicts; a part of `paths.RunPaths`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class AskedPaths:
    """Names those files of one run."""

    root: Path

    @property
    def evaluations(self) -> Path:
        """The scores of the run's models, a folder each."""
        return self.root / "eval"

    @property
    def eval_lock(self) -> Path:
        """Held by the process that evaluates the run's models."""
        return self.evaluations / ".lock"

    def eval_result(self, stage: str, task: str) -> Path:
        """Return the scores of a model of the chain on one task."""
        return self.evaluations / stage / f"{task}.json"

    def eval_results(self) -> list[Path]:
        """Return every file of scores there is, in the order of the names."""
        return sorted(self.evaluations.glob("*/*.json"))

    def eval_samples(self, stage: str, task: str) -> Path:
        """Return every prompt, answer and score behind `eval_result`, one JSON object a line."""
        return self.evaluations / stage / f"{task}.jsonl"

    def asked(self) -> tuple[Path, Path, Path]:
        """Return the folders of what the run's models were asked: scores, answers, judgements."""
        return self.evaluations, self.root / "answers", self.root / "judge"

    @property
    def answers_lock(self) -> Path:
        """Held by the process that has the run's models answer prompts."""
        return self.root / "answers" / ".lock"

    def answers(self, stage: str, prompt_set: str) -> Path:
        """Return what a model of the chain answered to a prompt set, one JSON object a line."""
        return self.root / "answers" / stage / f"{prompt_set}.jsonl"

    def judge(self, comparison: str) -> Path:
        """Return the folder of one judged comparison (`dpo-vs-sft`): verdicts.jsonl and summary.json."""
        return self.root / "judge" / comparison

    def judgings(self) -> list[Path]:
        """Return the folder of every judged comparison or vote there is, in the order of the names."""
        return sorted(path for path in (self.root / "judge").glob("*") if path.is_dir())

    def all_answers(self) -> list[Path]:
        """Return every file of answers there is, in the order of the names."""
        return sorted((self.root / "answers").glob("*/*.jsonl"))

    def judged(self) -> list[Path]:
        """Return the summary of every judged comparison there is, in the order of the names."""
        return sorted((self.root / "judge").glob("*/summary.json"))
