"""A bake-off as its arms leave it, with scores made up; nothing is trained and no library is asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from report_runs import add_result, make_run

from alphaf_orch.core.paths import template_folders
from alphaf_orch.experiments.bakeoff.answers import Sheet, sheet_prompts
from alphaf_orch.experiments.bakeoff.plan import Bakeoff, BakeoffAsked, find_candidates, plan_bakeoff
from alphaf_orch.experiments.bakeoff.run import Findings
from alphaf_orch.experiments.experiment import Outcome, experiment_paths
from alphaf_orch.judging.answers import Answer
from alphaf_orch.scores.loaded import load_run
from alphaf_orch.scores.results import Sample

MODELS = ("tiny-eeve", "tiny-qwen", "tiny-orion")
ROWS = 60
TASKS = ("finance_ko_mcq",)
# Shares of right answers: (finance before SFT, after, general Korean before, after).
SKILL = {"tiny-eeve": (0.3, 0.7, 0.6, 0.6), "tiny-qwen": (0.4, 0.8, 0.7, 0.3), "tiny-orion": (0.2, 0.4, 0.4, 0.4)}
ANSWERS = {"tiny-eeve": "yes", "tiny-qwen": "yes", "tiny-orion": "own"}
TOKENS = {"tiny-eeve": 0.5, "tiny-qwen": 1.0, "tiny-orion": 1.5}


def planned(**changes: Any) -> Bakeoff:
    """Return a bake-off of the three tiny models on one finance task and the general Korean suite."""
    return plan_bakeoff(BakeoffAsked(models=MODELS, name="비교", tasks=TASKS, **changes))


def found(*, broken: str = "", **changes: Any) -> Findings:
    """Return the findings of a bake-off whose arms ended well, but for the one that is named."""
    bakeoff = planned(**changes)
    paths = experiment_paths("비교")
    outcomes = {name: Outcome(name, "done") for name in MODELS}
    if broken:
        outcomes[broken] = Outcome(
            broken, "failed", 4, 0.0, f"the weights of {broken} are not here\n  where: /home/kim/x"
        )
    runs = {}
    for name in MODELS:
        if name != broken:
            write_arm(paths.root, name)
            runs[name] = load_run(paths.arm(name))
    prompts = sheet_prompts(template_folders()).prompts[:2]
    said = {p.id: Answer(p.id, ("기준금리는 <b>3.5%</b>입니다.",), 9, 0.1, True) for p in prompts}
    answers = {(name, "sft"): said for name in runs}
    candidates = find_candidates(bakeoff.experiment, paths)
    sheet = Sheet(prompts, answers, {})
    return Findings(bakeoff, paths, candidates, outcomes, runs, support(), tokenizers(), sheet, {})


def write_arm(root: Path, name: str) -> None:
    """Write the run of an arm with its scores."""
    run = make_run(root / name)
    base, sft, before, after = SKILL[name]
    for stage, finance, general in (("base", base, before), ("sft", sft, after)):
        add_result(run, stage, "finance_ko_mcq", _rows("m", finance))
        add_result(run, stage, "general_ko_mcq", _rows("g", general))
        add_result(run, stage, "general_ko_open", _rows("o", general, "containment", wrong_language=0.1))


def _rows(prefix: str, share: float, metric: str = "acc", **others: float) -> list[Sample]:
    """Return rows of which the first `share` are right, so that of two results the rows that differ are known."""
    return [
        Sample(
            f"{prefix}-{i}", "문제", "답", "정답",
            {metric: float(i < share * ROWS), **{name: float(i < each * ROWS) for name, each in others.items()}},
        )
        for i in range(ROWS)
    ]  # fmt: skip


def support(answers: Mapping[str, str] = ANSWERS) -> dict[str, Any]:
    """Return what the libraries are made to say."""
    questions = [("transformers", "class"), ("axolotl", "packing"), ("axolotl", "lora_kernels"), ("axolotl", "liger"),
                 ("mergekit", "definition"), ("lm-eval", "hf")]  # fmt: skip
    absent = [("unsloth", "fast_path", "unsloth"), ("lm-eval", "vllm", "vllm")]
    return {
        "versions": {"transformers": "5.16.1", "axolotl": "0.19.0", "mergekit": "0.1.5", "lm-eval": "0.4.11"},
        "candidates": {
            name: {
                "answers": [
                    *(
                        {"library": lib, "question": q, "answer": answer, "evidence": f"{lib}.table"}
                        for lib, q in questions
                    ),
                    *(
                        {
                            "library": lib,
                            "question": q,
                            "answer": "not asked",
                            "evidence": f"{package} is not installed here",
                        }
                        for lib, q, package in absent
                    ),
                ]
            }
            for name, answer in answers.items()
        },
    }


def tokenizers() -> dict[str, Any]:
    """Return what the tokenizers are made to cost."""
    return {
        "text": {"sha256": "ab" * 32, "words": 10, "syllables": 30, "distinct_syllables": 20},
        "tokenizers": {
            name: {
                "class": "T", "entries": 1024, "tokens": int(30 * each), "tokens_per_syllable": each,
                "one_token_syllables": 0.5, "pieces": 0.1,
            }
            for name, each in TOKENS.items()
        },
    }  # fmt: skip
