"""A judging of made-up answers by a stand-in for the judge."""

import io
import json
from pathlib import Path

from judge_stub import PRESET, blocks, verdict
from rich.console import Console

from alphaf_orch.core.paths import template_folders
from alphaf_orch.judging.pairs import judge_pairs
from alphaf_orch.judging.preset import JudgePreset
from alphaf_orch.judging.prompts import Prompt, PromptSet
from alphaf_orch.judging.wording import JudgePrompts

TEMPLATES = template_folders()


def prompt_set(n: int) -> PromptSet:
    return PromptSet("묶음", tuple(Prompt(f"q{i}", "금융" if i % 2 else "일상", (f"질문 {i}",)) for i in range(n)), "")


def answers(prompts: PromptSet, text: str) -> dict[str, tuple[str, ...]]:
    return {p.id: tuple(f"{text} {p.id}" for _ in p.turns) for p in prompts.prompts}


def judge(
    folder: Path, url: str, n: int = 3, *, limit=None, a="좋은 답", b="나쁜 답", name="ko", prompts=None, again=False,
    **changes,
):  # fmt: skip
    prompts = prompts or prompt_set(n)
    preset = JudgePreset(**{**PRESET, "url": url, **changes})
    said = (answers(prompts, a), answers(prompts, b))
    return judge_pairs(
        folder, ("dpo", "sft"), prompts, said, preset, JudgePrompts(name, TEMPLATES), limit=limit, console=quiet(),
        again=again,
    )  # fmt: skip


def quiet() -> Console:
    return Console(file=io.StringIO())


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()]


def by_quality(prompt: str, _n: int):
    """Prefer the answer that is called good, wherever it stands."""
    first, second = blocks(prompt)
    return verdict("A" if first > second else "B" if second > first else "tie")
