"""Child program: asks the installed libraries which models they support.

Usage: python -m alphaf_orch.programs.facts.native_support CONFIG.yaml

Config keys: candidates (list of name, folder with the model's config.json or null, class_name), output (JSON).

Nothing is known here about any model (see native_questions). Writes {"versions": {library: version}, "candidates":
{name: {"model_type", "class_name", "remote_code", "answers": [{"library", "question", "answer", "evidence"}]}}}; an
answer is `yes`, `own` (by what alphaf_orch adds), `partly` (a general path), `no`, or `not asked`. Exit code 2: config.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alphaf_orch.programs.architectures.orion import register
from alphaf_orch.programs.common import CONFIG, Failure, config_path, program, read_config, write_json
from alphaf_orch.programs.facts.native_questions import QUESTIONS, Candidate, Reply, model_type_of
from alphaf_orch.programs.versions import installed

KEYS = ("candidates", "output")
LIBRARIES = ("transformers", "axolotl", "liger_kernel", "unsloth", "mergekit", "lm-eval", "vllm")


@dataclass(frozen=True)
class Answer:
    """What a library said about one candidate, and the very thing that was asked."""

    library: str
    question: str
    answer: Reply
    evidence: str


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
        raise Failure(
            CONFIG, f"cannot read the model's config: {error}", where=file, fix="mend it", code="config.unreadable"
        ) from error


def run(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return versions and answers for the candidates of the config."""
    versions = installed(LIBRARIES)
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


def main(argv: list[str]) -> None:
    """Write what the libraries say of the candidates to the file that the config names."""
    config = read_config(config_path(argv), KEYS)
    write_json(Path(config["output"]), run(config))


if __name__ == "__main__":
    program(main)
