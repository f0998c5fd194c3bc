"""The evidence of a bake-off: what exactly was asked of which version, and what the tokenizers were measured on."""

from __future__ import annotations

from alphaf_orch.core.wording import Label, Text
from alphaf_orch.experiments.bakeoff.run import Findings
from alphaf_orch.report.bakeoff.names import ANSWER_TONES, ANSWERS, CANDIDATE, QUESTIONS
from alphaf_orch.report.blocks import Block, Cell, Fold, KeyValues, Note, Table
from alphaf_orch.report.figures import number


def evidence(findings: Findings) -> list[Block]:
    """Return what exactly was asked, of which version, and what the tokenizers were measured on."""
    versions = findings.support.get("versions", {})
    header = (CANDIDATE, Label("라이브러리", "Library"), Label("물음", "Question"), Label("답", "Answer"),
              Label("근거", "Evidence"))  # fmt: skip
    rows = []
    for candidate in findings.candidates:
        for answer in findings.answers(candidate.arm.name):
            key = (answer["library"], answer["question"])
            rows.append(
                (
                    Cell(candidate.arm.name),
                    Cell(f"{answer['library']} {versions.get(answer['library'], '')}".strip()),
                    Cell(QUESTIONS[key]),
                    Cell(ANSWERS[answer["answer"]], ANSWER_TONES[answer["answer"]]),
                    Cell(findings.hidden(answer["evidence"]), "code"),
                )
            )
    found: list[Block] = [
        Note(
            Label(
                "아래 답은 모두 설치된 라이브러리에 물어 얻은 것이며, 이 도구가 미리 적어 둔 표는 없습니다.",
                "Every answer below comes from asking the installed library; no table of ours stands behind it.",
            )
        ),
        Table(header, tuple(rows), text_columns=len(header)),
    ]
    text = findings.tokenizers.get("text")
    if text:
        counts = [
            (Label("낱말", "words"), number(text["words"])),
            (Label("한글 글자", "Korean syllables"), number(text["syllables"])),
            (Label("서로 다른 글자", "distinct syllables"), number(text["distinct_syllables"])),
        ]
        source = Label(
            "함께 제공되는 평가 문항과 선호 프롬프트에서 한글 낱말만 뽑아 공백 하나로 이은 글",
            "the Korean words of the shipped benchmark and preference prompts, one space between them",
        )
        pairs: list[tuple[Text, Cell]] = [
            (Label("글", "Text"), Cell(source)),
            ("SHA-256", Cell(text["sha256"], "code")),
        ]
        pairs += [(label, Cell(value)) for label, value in counts]
        for name, each in findings.tokenizers["tokenizers"].items():
            if "tokens" in each:
                tokens, entries = number(each["tokens"]), number(each["entries"])
                said = Label(f"토큰 {tokens}개, 어휘 {entries}개", f"{tokens} tokens, {entries} entries")
                pairs.append((name, Cell(said)))
        found.append(
            Fold(Label("토크나이저를 잰 글", "What the tokenizers were measured on"), (KeyValues(tuple(pairs)),))
        )
    return found
