"""Runs as `alphaf` leaves them, with scores, answers and verdicts made up; nothing is trained."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alphaf_orch.core.paths import RunPaths, template_folders
from alphaf_orch.core.record import fingerprint, write_manifest
from alphaf_orch.judging.answers import Answer
from alphaf_orch.judging.prompts import EMBEDDED, load_prompts
from alphaf_orch.judging.summary import write_summary
from alphaf_orch.scores.results import Metric, Sample, TaskResult, write_result

SETTINGS = {"backend": "hf", "limit": None, "num_fewshot": 0, "seeds": [0, 1234, 1234, 1234], "batch_size": 8}
SKILL = {"base": 0.30, "sft": 0.48, "dpo": 0.52, "merged": 0.55}
FORM = {"base": 0.06, "sft": 0.81, "dpo": 0.84, "merged": 0.85}
REASON = "근거가 더 분명하고 존댓말이 자연스럽습니다."
STAGE = {
    "state": "done", "fingerprint": "ab" * 32, "version": 1, "spec": {}, "started": "2026-11-24T12:18:31+00:00",
    "ended": "2026-11-24T12:20:00+00:00", "exit_code": 0, "seconds": 89.2, "peak_memory_mib": 6454, "result": {},
    "versions": {"axolotl": "0.19.0", "torch": "2.13.0"}, "rendered": {}, "environment": [],
}  # fmt: skip


def make_run(root: Path, **changes: Any) -> RunPaths:
    """Write the smallest run that has every part a trained one has; `changes` go into its manifest."""
    paths = RunPaths(root)
    stages: dict[str, Any] = {}
    for name in ("base_model", "data", "preprocess", "sft", "merge_sft", "dpo_data", "dpo", "merge_dpo"):
        argv = ["/home/kim/venv/bin/python", "-m", name, str(root / "rendered" / f"{name}.yaml")]
        stages[name] = {**STAGE, "argv": argv, "command": " ".join(argv), "log": f"logs/{name}.log"}
    # Models and samples are none of a report's matter: they were cleaned away.
    for section in ("sft", "dpo"):
        stages[section]["cleaned"], stages[f"merge_{section}"]["cleaned"] = [section], [f"{section}/merged"]
    for name in ("data", "dpo_data"):
        stages[name]["cleaned"] = [f"probes/{name}.jsonl"]
    stages["sft"] |= {"result": {"steps": 12, "loss_first": 2.01, "loss_last": 1.41}}
    stages["sft"]["spec"] = {"recipe": {"learning_rate": 2e-4, "lora_r": 256}, "global_batch_size": 2}
    stages["dpo"] |= {"result": {"steps": 8, "loss_first": 0.693, "loss_last": 0.476, "rewards/accuracies": 0.875}}
    manifest = {
        "format": 1, "run": root.name, "created": "2026-11-24T12:18:31+00:00", "alphaf": "0.1.0",
        "git_commit": "8fb8df77a4839326136c0d809ad4fa7c312b3302", "git_dirty": False,
        "machine": {"python": "3.11.7", "system": "Linux-6.1-x86_64-with-glibc2.36"}, "model": "smollm2",
        "base_model": "HuggingFaceTB/SmolLM2-135M-Instruct", "base_revision": "local:80f847e7", "licence": "Apache-2.0",
        "data": {"sft": [{"path": "/home/kim/자료/금융.jsonl", "kind": "local", "rows": 395, "sha256": "08" * 32}]},
        "stages": stages,
    }  # fmt: skip
    write_manifest(paths.manifest, {**manifest, **changes})
    write(paths.config, "model: smollm2\ngpus: 0\n")
    write_lines(paths.metrics("sft"), [*_sft_metrics()])
    write_lines(paths.metrics("dpo"), [*_dpo_metrics()])
    for name in ("data", "dpo_data"):
        write(paths.report(name), json.dumps(_statistics(), ensure_ascii=False))
    write(paths.report("merge_sft"), json.dumps({"ok": True, "lines": [{"line": "tokenizer", "ok": True}]}))
    write(paths.rendered("sft.yaml"), f"base_model: {root}/x  # model preset\n{_RECIPE}")
    return paths


def add_scores(paths: RunPaths, stages: Iterable[str], n: int = 120, seed: int = 1, **settings: Any) -> None:
    """Write results of three tasks for each stage: questions, sentiment, citations."""
    for stage in stages:
        for task, make in (("mcq", _mcq), ("sentiment", _sentiment), ("rag", _rag)):
            samples = [make(i, stage, random.Random(f"{seed}/{stage}/{task}/{i}"), seed) for i in range(n)]
            add_result(paths, stage, f"finance_ko_{task}", samples, **settings)


def add_result(
    paths: RunPaths, stage: str, task: str, samples: list[Sample], warnings: Iterable[str] = (), **settings: Any
) -> None:
    """Write one result whose figures are the means of the samples' scores (and macro F1 for sentiment)."""
    neither = {"length_chars": None, "wrong_language": False, "empty": False, "looping": False}
    metrics = {}
    for name in samples[0].scores:
        value = sum(sample.scores[name] for sample in samples) / len(samples)
        metrics[name] = Metric(value, 0.02, len(samples), neither.get(name, True))
    if task.endswith("sentiment"):
        metrics["macro_f1"] = Metric(_macro_f1(samples), 0.02, len(samples), True)
    result = TaskResult(
        task, "finance-ko", stage, "key", {"path": stage}, {**SETTINGS, **settings}, {}, metrics, len(samples), 61.5,
        "2026-11-24T12:30:00+00:00", {"lm-eval": "0.4.11"}, tuple(warnings),
    )  # fmt: skip
    write_result(paths, result, samples)


def sample(name: str, right: float, answer: str = "답", prompt: str = "문제", gold: str = "정답") -> Sample:
    """Return a sample with one score, `acc`."""
    return Sample(name, prompt, answer, gold, {"acc": right})


def add_judge(paths: RunPaths, a: str = "dpo", b: str = "sft", seed: int = 1, bias: float = 0.0) -> None:
    """Write answers to the embedded prompts, verdicts on them and their summary."""
    prompts = load_prompts(EMBEDDED, template_folders())
    for stage in (a, b):
        rows = [asdict(Answer(p.id, _turns(p.turns, stage), 40, 1.0, False)) | {"key": "k"} for p in prompts.prompts]
        write_lines(paths.answers(stage, EMBEDDED), rows)
    rows = []
    for prompt in prompts.prompts:
        chance = random.Random(f"{seed}/{prompt.id}")
        longer = {side: chance.randrange(80) for side in "ab"}
        for order in ("ab", "ba"):
            winner = order[0] if chance.random() < bias else chance.choices("ab", (6, 4))[0]
            said = {side: _turns(prompt.turns, stage) for side, stage in zip("ab", (a, b), strict=True)}
            keys = {"prompt": fingerprint([prompt.turns, prompt.system, prompt.reference])[:16], "template": "t"}
            keys |= {side: fingerprint(turns)[:16] for side, turns in said.items()}
            rows.append(
                {
                    "id": prompt.id, "category": prompt.category, "prompt_set": EMBEDDED, "order": order,
                    "a_chars": len("".join(said["a"])) + longer["a"],
                    "b_chars": len("".join(said["b"])) + longer["b"],
                    "winner": winner, "reason": REASON, "error": None, "reply": None,
                    "attempts": 1, "usage": {"prompt_tokens": 300, "completion_tokens": 40}, "seconds": 0.5,
                    "judge": "평가 모델", "keys": keys,
                }
            )  # fmt: skip
    folder = paths.judge(f"{a}-vs-{b}")
    write_lines(folder / "verdicts.jsonl", rows)
    write_summary(folder, a, b)


def write(path: Path, text: str) -> None:
    """Write a file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON Lines."""
    write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def chat(system: str, user: str) -> str:
    """Return a prompt as ChatML."""
    return f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"


def _turns(asked: tuple[str, ...], stage: str) -> tuple[str, ...]:
    told = {"dpo": "차근차근 말씀드리겠습니다. 먼저 금리와 기간을 확인하십시오.", "sft": "금리를 확인하세요."}
    return tuple(told.get(stage, "모릅니다.") for _ in asked)


def _mcq(i: int, stage: str, chance: random.Random, seed: int) -> Sample:
    options = ["예금자보호 한도", "기준금리", "환매조건부채권", "자기자본이익률"]
    gold = i % 4
    picked = gold if chance.random() < SKILL[stage] else chance.randrange(4)
    asked = f"다음 가운데 {i}번째 설명에 맞는 것은 무엇입니까?\n" + "\n".join(
        f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=True)
    )
    prompt = chat("금융 문제를 읽고 알맞은 보기의 글자 하나로 답하세요.", asked) + "정답:"
    shown = [f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=True)]
    return Sample(f"mcq-{i:04}", prompt, shown[picked], shown[gold], {"acc": float(picked == gold)})


def _sentiment(i: int, stage: str, chance: random.Random, seed: int) -> Sample:
    words = ["긍정", "부정", "중립"]
    gold = words[i % 3]
    answer = gold if chance.random() < SKILL[stage] + 0.15 else chance.choice(words)
    prompt = chat("긍정, 부정, 중립 가운데 하나로 답하세요.", f"문장: 영업이익이 {i}% 늘었다.") + "정답:"
    return Sample(f"sentiment-{i:04}", prompt, answer, gold, {"acc": float(answer == gold)})


def _rag(i: int, stage: str, chance: random.Random, seed: int) -> Sample:
    cited = chance.random() < FORM[stage]
    right = chance.random() < SKILL[stage] + 0.2
    looping = stage == "base" and chance.random() < 0.3
    golden = 1 + i % 3
    answer = (
        f"휴면예금은 앱의 '숨은 돈 찾기'에서 조회합니다{f' [{golden if right else 1 + golden % 3}]' if cited else ''}."
    )
    answer = "조회 " * 40 if looping else answer
    asked = (
        "[1] 너른은행 공지: 카드를 분실하면 24시간 상담센터에 신고하십시오.\n"
        f"[2] 공지 {i}: 휴면예금은 앱에서 조회합니다.\n"
        "[3] 너른은행 공지: 외화예금 이체 수수료를 면제합니다.\n\n질문: 휴면예금은 어디에서 찾을 수 있나요?"
    )
    hit = float(cited and right and not looping)
    scores = {
        "citation_format": float(cited and not looping), "citation_precision": hit * chance.choice([1.0, 1.0, 0.5]),
        "citation_recall": hit, "containment": float(right), "wrong_language": float(chance.random() < 0.02),
        "empty": 0.0, "looping": float(looping), "length_chars": float(len(answer)),
    }  # fmt: skip
    prompt = chat("자료만 보고 답하고 근거 번호를 [1]처럼 적으세요.", asked)
    return Sample(f"rag-{i:04}", prompt, answer, f"앱의 '숨은 돈 찾기'에서 조회합니다 [{golden}].", scores)


def _macro_f1(samples: list[Sample]) -> float:
    found = []
    for name in sorted({s.gold for s in samples} | {s.answer for s in samples}):
        hit = sum(s.gold == name == s.answer for s in samples)
        found.append(2 * hit / sum((s.gold == name) + (s.answer == name) for s in samples))
    return sum(found) / len(found)


def _sft_metrics() -> Iterable[dict[str, Any]]:
    yield {"time": 0.0, "step": 0, "max_steps": 12, "eval_loss": 1.61}
    for step in range(1, 13):
        loss = 2.0 - 0.05 * step + 0.02 * (step % 3)
        yield {
            "time": float(step), "step": step, "max_steps": 12, "loss": loss, "grad_norm": 0.3 + 0.01 * (step % 4),
            "learning_rate": 2e-4 * (1 - step / 13), "tokens_per_s": 36.7,
        }  # fmt: skip
    yield {"time": 13.0, "step": 12, "max_steps": 12, "eval_loss": 1.43}


def _dpo_metrics() -> Iterable[dict[str, Any]]:
    for step in range(1, 9):
        yield {
            "time": float(step), "step": step, "max_steps": 8, "loss": 0.69 - 0.03 * step, "learning_rate": 1e-4 / step,
            "grad_norm": 4.0, "rewards/margins": 0.08 * step, "rewards/accuracies": min(1.0, step / 8),
            "rewards/chosen": 0.1 * step, "rewards/rejected": 0.02 * step, "tokens_per_s": 120.0,
        }  # fmt: skip


def _statistics() -> dict[str, Any]:
    return {
        "kind": "chat", "rows": 395, "turns": 848, "duplicates": 0, "rows_with_control_tokens": 0,
        "tokens": {"total": 122696, "min": 147, "median": 294, "p95": 502, "max": 664}, "sequence_len": 512,
        "chat_template": "chatml", "held_out": {}, "longer_than_sequence_len": {"rows": 17, "share": 0.043},
    }  # fmt: skip


_RECIPE = """\
lora_r: 256  # [article], [ETRC]
bf16: false  # hardware/cpu.yaml; the recipe has true
max_steps: 12  # model smollm2; the recipe has null
eval_causal_lm_metrics: [chrf]  # yours
"""
