"""What is asked about candidates without training: the libraries' support, what Korean costs in each tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from alphaf_orch.core.command import PROGRAM_ENV, program
from alphaf_orch.core.paths import PROGRAMS, template_folders
from alphaf_orch.core.progress import StageLine, tell
from alphaf_orch.core.record import fingerprint, read_json, required_json, write_atomic
from alphaf_orch.core.render import plain
from alphaf_orch.evaluation.tasks.task_yaml import content_digest
from alphaf_orch.experiments.bakeoff.plan import Candidate
from alphaf_orch.experiments.experiment import ExperimentPaths
from alphaf_orch.inputs.identity import model_files, settings_files
from alphaf_orch.inputs.presets import remote_code
from alphaf_orch.planning.base import tool_python
from alphaf_orch.runs.launch import exited, launch
from alphaf_orch.runs.preflight import tool_versions
from alphaf_orch.settings.config import RunConfig

# The shipped Korean texts: the benchmark's documents and questions, and the preference prompts.
TEXTS = (
    "eval/finance_ko/rag.jsonl",
    "eval/finance_ko/mcq.jsonl",
    "eval/finance_ko/numeric.jsonl",
    "eval/finance_ko/sentiment.jsonl",
    "prompts/preference_ko.jsonl",
)
NAMES = ("native_support", "tokenizer_facts")  # the programs that are asked
Facts = dict[str, Any]


def support_config(candidates: Sequence[Candidate]) -> dict[str, Any]:
    """Return what `native_support.py` is asked: each candidate's folder, or its preset's class where there is none."""
    return {
        "candidates": [
            {
                "name": candidate.arm.name,
                "folder": str(candidate.folder) if candidate.folder else None,
                "class_name": candidate.preset.architecture.class_name if candidate.preset.architecture else "unknown",
            }
            for candidate in candidates
        ]
    }


def tokenizer_config(candidates: Sequence[Candidate]) -> dict[str, Any]:
    """Return what `tokenizer_facts.py` is asked: the shipped texts, and each tokenizer that is on this machine."""
    shipped = template_folders()[-1]
    return {
        "files": [str(shipped / name) for name in TEXTS],
        "tokenizers": [
            {
                "name": candidate.arm.name,
                "path": str(candidate.folder),
                "revision": None,
                "trust_remote_code": remote_code(candidate.preset, allowed=candidate.arm.config.trust_remote_code),
            }
            for candidate in candidates
            if candidate.folder
        ],
    }


class Questions:
    """Asks the child programs of one experiment; an answer is kept until what it depends on changes."""

    def __init__(
        self, paths: ExperimentPaths, config: RunConfig, console: Console, lock_fd: int, *, verbose: bool
    ) -> None:
        self._paths, self._console, self._lock_fd, self._verbose = paths, console, lock_fd, verbose
        self._python = tool_python(config, "axolotl")

    def ask(self, name: str, config: Mapping[str, Any]) -> Facts:
        """Return what the child program of that name found; raise StageError with its own words where it failed."""
        kept = self._paths.facts(name)
        files = [*PROGRAMS.rglob("*.py"), *map(Path, config.get("files", ()))]
        folders = [Path(each) for kind in ("candidates", "tokenizers") for each in _folders(config.get(kind, ()))]
        # No question is about the weights' values; of their files names and sizes count, and the rest whole.
        files += [file for folder in folders for file in settings_files(folder)]
        sizes = [[name, file.stat().st_size] for folder in folders for name, file in model_files(folder).items()]
        key = fingerprint([config, tool_versions(self._python), content_digest(files), sizes])
        before = read_json(kept) or {}
        if before.get("key") == key:
            tell(self._console, f"{name}: kept, {kept}", style="dim")
            return dict(before["found"])
        output = kept.with_suffix(".partial.json")
        file = kept.with_suffix(".yaml")
        output.unlink(missing_ok=True)
        asked = plain({**config, "output": str(output)})
        argv = program(self._python, f"facts.{name}", str(file))
        progress, log = kept.with_suffix(".progress"), self._paths.log(name)
        line = StageLine(self._console, name, progress, log, verbose=self._verbose)
        env = {**PROGRAM_ENV, "CUDA_VISIBLE_DEVICES": ""}
        done = launch(argv, line, self._lock_fd, env=env, files={file: asked})
        if done.exit_code or not output.is_file():
            raise exited(name, done, log, "mend the cause and run the same command")
        found = required_json(output)
        write_atomic(kept, json.dumps({"key": key, "found": found}, indent=1, ensure_ascii=False) + "\n")
        output.unlink()
        tell(self._console, f"{name}: done in {done.seconds:.0f} s")
        return found


def _folders(asked: Sequence[Mapping[str, Any]]) -> list[str]:
    return [each[key] for each in asked for key in ("folder", "path") if each.get(key)]
