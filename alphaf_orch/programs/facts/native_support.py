"""Child program: `python native_support.py CONFIG.yaml` asks the installed libraries which models they support.

Config keys: candidates (list of name, folder with the model's config.json or null, class_name), output (JSON).

Nothing is known here about any model (see native_questions). Writes {"versions": {library: version}, "candidates":
{name: {"model_type", "class_name", "remote_code", "answers": [{"library", "question", "answer", "evidence"}]}}}; an
answer is `yes`, `own` (by what alphaf_orch adds), `partly` (a general path), `no`, or `not asked`. Exit code 2: config.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from alphaf_orch.programs.architectures.orion import register
from alphaf_orch.programs.common import CONFIG, Failure, answer
from alphaf_orch.programs.facts.native_questions import QUESTIONS, Candidate, Reply, model_type_of

KEYS = ("candidates", "output")
LIBRARIES = ("transformers", "axolotl", "liger_kernel", "unsloth", "mergekit", "lm-eval", "vllm")


@dataclass(frozen=True)
class Answer:
    """What a library said about one candidate, and the very thing that was asked."""

    library: str
    question: str
    answer: Reply
    evidence: str


def installed() -> dict[str, str]:
    """Return the version of each library that is installed here."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def ask(candidate: Candidate, versions: Mapping[str, str]) -> list[Answer]:
    """Return every library's answers; one that is not installed, or has moved what is asked for, is not asked."""
    found = []
    for library, package, question, asker in QUESTIONS:
        if package not in versions:
            found.append(Answer(library, question, "not asked", f"{package} is not installed here"))
            continue
        try:
            answer, evidence = asker(candidate)
        except ImportError as error:
            answer, evidence = "not asked", f"{package} {versions[package]} has no such thing: {error}"
        found.append(Answer(library, question, answer, evidence))
    return found


def read_candidate(given: Mapping[str, Any]) -> Candidate:
    """Return the candidate as its config.json says, else as its preset says."""
    folder = Path(given["folder"]) if given["folder"] else None
    file = folder / "config.json" if folder else None
    if file is None or not file.is_file():
        return Candidate(None, model_type_of(given["class_name"]), given["class_name"], False)
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        class_name = (values.get("architectures") or [given["class_name"]])[0]
        return Candidate(folder, values.get("model_type"), class_name, "auto_map" in values)
    except (OSError, ValueError, AttributeError) as error:
        raise Failure(CONFIG, f"cannot read the model's config: {error}", where=str(file), fix="mend it") from error


def run(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return versions and answers for the candidates of the config."""
    versions = installed()
    register()  # as every stage does
    found = {}
    for given in config["candidates"]:
        candidate = read_candidate(given)
        found[given["name"]] = {
            "model_type": candidate.model_type,
            "class_name": candidate.class_name,
            "remote_code": candidate.remote_code,
            "answers": [asdict(answer) for answer in ask(candidate, versions)],
        }
    return {"versions": versions, "candidates": found}


if __name__ == "__main__":
    answer(sys.argv, KEYS, run)
