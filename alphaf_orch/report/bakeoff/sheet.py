"""The qualitative sheet of a bake-off: the same prompts, every candidate's answers side by side."""

from __future__ import annotations

from alphaf_orch.core.wording import Label, join, named
from alphaf_orch.experiments.bakeoff.plan import STAGES as MODELS
from alphaf_orch.experiments.bakeoff.run import Findings
from alphaf_orch.judging.prompts import Prompt
from alphaf_orch.report.blocks import Answer, Block, Note, SideBySide, Turn
from alphaf_orch.report.figures import clip
from alphaf_orch.report.names import ROLES, STAGES


def sheet_blocks(findings: Findings) -> list[Block]:
    """Return the prompts with the answers of every model that gave some; one without says why."""
    sheet = findings.sheet
    if not sheet.prompts:
        return [Note(Label("질적 비교는 요청하지 않았습니다(--prompts 0).", "No sheet was asked for (--prompts 0)."))]
    found: list[Block] = [
        Note(
            Label(
                "모든 후보에게 같은 프롬프트를 같은 방법(탐욕적 생성)으로 물었습니다. 점수가 아니라 읽어 보기 위한"
                " 표입니다.",
                "Every candidate was asked the same prompts in the same way (greedy). This is to be read, not a score.",
            )
        )
    ]
    for candidate in findings.candidates:
        name = candidate.arm.name
        for stage in MODELS:
            where = join([name, named(STAGES, stage)])
            if (name, stage) in sheet.failed:
                why = findings.hidden(sheet.failed[name, stage].split("\n", 1)[0])
                found.append(Note(Label(f"답을 만들지 못함: {why}", f"no answers: {why}"), "warning", where))
            elif (name, stage) not in sheet.answers:
                absent = findings.lacks(name) or Label(
                    "GPU가 없는 곳에서는 큰 베이스 모델에 묻지 않습니다.", "Without a GPU a large base is not asked."
                )
                found.append(Note(absent, "info", where))
    return [*found, *(_case(findings, prompt) for prompt in sheet.prompts)]


def _case(findings: Findings, prompt: Prompt) -> SideBySide:
    answers = []
    for candidate in findings.candidates:
        name = candidate.arm.name
        for stage in MODELS:
            given = findings.sheet.answers.get((name, stage), {}).get(prompt.id)
            if given is not None:
                cut = Label("토큰 한도에서 잘림", "cut at the token limit") if given.truncated else ""
                text = clip("\n\n".join(given.turns)) or "∅"
                answers.append(Answer(join([name, named(STAGES, stage)]), text, cut, "warn" if cut else "plain"))
    turns = [Turn(named(ROLES, "system"), prompt.system)] if prompt.system else []
    turns += [Turn(named(ROLES, "user"), clip(turn)) for turn in prompt.turns]
    return SideBySide(join([prompt.category, prompt.id]), tuple(turns), prompt.reference or "", tuple(answers))
