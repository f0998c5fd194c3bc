"""What two arms of an ablation differ in and what they do not: their files, how they began, what they saw."""

from __future__ import annotations

from collections.abc import Sequence

from alphaf_orch.core.wording import Label, Text, join
from alphaf_orch.experiments.ablation.evidence import ChangedFile, Check, checks, differences
from alphaf_orch.experiments.ablation.results import AblationResult, Pair
from alphaf_orch.report.blocks import Block, Cell, Code, Level, Note, Table, Tone


def identity_blocks(result: AblationResult) -> list[Block]:
    """Return, for each variant, the lines in which its files differ from the first one's, and what is the same."""
    found: list[Block] = []
    for variant in result.experiment.variants[1:]:
        pairs = result.pairs(variant)
        title = f"{result.experiment.variants[0]} → {variant}"
        if not pairs:
            found.append(
                Note(Label("실행되지 않아 비교할 파일이 없습니다.", "Not run: no files to compare."), "warning", title)
            )
            continue
        by_seed = [(pair.arm.seed, differences(pair.before.paths, pair.after.paths)) for pair in pairs]
        found.append(_count_note(title, by_seed))
        same = all(each == by_seed[0][1] for _, each in by_seed)
        for seed, each in by_seed[:1] if same else by_seed:
            seeds = ", ".join(str(number) for number, _ in by_seed) if same else str(seed)
            text = "\n".join(difference.text() for difference in each) or "="
            caption = Label(
                f"{title}: 렌더링된 파일의 차이 (시드 {seeds}; RUN은 각 비교군의 폴더)",
                f"{title}: difference of the rendered files (seeds {seeds}; RUN is each arm's own folder)",
            )
            found.append(Code(text, caption))
        found += [Note(text, "warning", title) for text in start_warnings(result, variant)]
        found.append(_check_table(title, pairs, result.stage))
    randomness = Label(
        "시드가 같아도 잡음과 드롭아웃은 같은 난수 발생기를 쓰므로, 한쪽에만 잡음이 있으면 드롭아웃이 지우는 자리도"
        " 달라집니다.",
        "Under one seed noise and dropout still draw from one generator: where one arm alone has noise, dropout strikes"
        " other places too.",
    )
    return [*found, Note(randomness)]


def begun_unlike(result: AblationResult) -> list[Block]:
    """Return the warning that arms do not start alike; nothing where they do."""
    if not start_warnings(result):
        return []
    text = Label(
        "처음 가중치가 같아야 하는데 다르거나 알 수 없는 비교군이 있습니다. 아래 ‘무엇이 다르고 무엇이 같은가’를"
        " 보세요.",
        "Some arms that ought to start from the same weights do not, or are not known to: see “What differs, and what"
        " does not” below.",
    )
    return [Note(text, "warning")]


def start_warnings(result: AblationResult, *variants: str) -> list[Text]:
    """Return what is wrong with how arms began, by seed: weights that ought to be equal and are not, or not known."""
    return [
        join([join([check.what, f"seed {pair.arm.seed}"], ", "), check.evidence], ": ")
        for pair in result.pairs(*variants)
        for check in checks(pair.before, pair.after, result.stage)
        if check.warning
    ]


def _count_note(title: str, by_seed: Sequence[tuple[int | None, list[ChangedFile]]]) -> Note:
    counts = sorted({sum(difference.lines for difference in each) for _, each in by_seed})
    if counts == [1]:
        text = Label(
            f"시드 {len(by_seed)}개 모두, 학습에 쓰인 파일은 정확히 한 줄만 다릅니다.",
            f"Under each of {len(by_seed)} seeds the files of the training differ in exactly one line.",
        )
        return Note(text, "info", title)
    shown = " / ".join(map(str, counts))
    text = Label(
        f"학습에 쓰인 파일이 {shown}줄 다릅니다. 모두 아래에 있으며, 다른 값을 따라 바뀌는 값은 그 줄에 적혀 있습니다.",
        f"The files of the training differ in {shown} lines, all shown below; a value that follows another says so.",
    )
    level: Level = "info" if counts != [0] else "warning"
    return Note(text, level, title)


def _check_table(title: str, pairs: Sequence[Pair], stage: str) -> Table:
    rows = [
        (Cell(check.what, sub=f"seed {pair.arm.seed}"), _state(check), Cell(check.evidence))
        for pair in pairs
        for check in checks(pair.before, pair.after, stage)
    ]
    header: tuple[Text, ...] = (Label("항목", "What"), Label("같은가", "Same?"), Label("근거", "Evidence"))
    return Table(header, tuple(rows), Label(f"{title}: 같아야 하는 것", f"{title}: what must be the same"), 3)


def _state(check: Check) -> Cell:
    texts: dict[bool | None, tuple[Text, Tone]] = {
        True: (Label("같음", "same"), "good"),
        False: (Label("다름", "differs"), "bad"),
        None: (Label("알 수 없음", "not known"), "warn"),
    }
    text, tone = texts[check.same]
    if check.same is False and check.planned:
        return Cell(Label("바꾼 것을 따라 다름", "differs with what is varied"), "warn")
    return Cell(text, tone)
