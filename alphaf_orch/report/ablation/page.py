"""The report of an ablation: the verdict first, then scores, proof that nothing else differed, noise, cost, arms."""

from __future__ import annotations

from collections.abc import Sequence

from alphaf_orch.core.hiding import hide
from alphaf_orch.core.wording import Label, Text, named
from alphaf_orch.experiments.ablation.noise import Noise, read_noise
from alphaf_orch.experiments.ablation.noise import warnings as noise_warnings
from alphaf_orch.experiments.ablation.results import AblationResult, ArmResult
from alphaf_orch.report.ablation.identity import begun_unlike, identity_blocks
from alphaf_orch.report.ablation.scores import score_blocks, verdict_blocks
from alphaf_orch.report.blocks import Block, Cell, Code, Fold, Note, Report, Section, Table, Tone
from alphaf_orch.report.figures import NONE, duration, mebibytes, number, percent
from alphaf_orch.report.names import STATES, VALUE
from alphaf_orch.report.plots import training_curves
from alphaf_orch.report.write import page
from alphaf_orch.scores.difference import mean_of

ARM = Label("비교군(arm)", "Arm")
VARIANT = Label("조건", "Variant")
_NEFTUNE = "sft.neftune_noise_alpha"


def ablation_report(result: AblationResult) -> Report:
    """Return the whole report as one value."""
    experiment = result.experiment
    trained = [(each.arm.name, each.run.metrics) for each in result.arms if each.run]
    parts: list[tuple[str, Text, Sequence[Block]]] = [
        ("verdict", Label("결론", "Verdict"), [*verdict_blocks(result), *begun_unlike(result)]),
        ("scores", Label("점수", "Scores"), score_blocks(result)),
        ("identity", Label("무엇이 다르고 무엇이 같은가", "What differs, and what does not"), identity_blocks(result)),
    ]
    if any(_NEFTUNE in arm.values for arm in experiment.arms):
        parts.append(("noise", Label("NEFTune 잡음", "NEFTune's noise"), noise_blocks(result)))
    parts += [
        ("cost", Label("비용", "Cost"), (cost_table(result),)),
        ("arms", Label("비교군", "The arms"), arm_blocks(result)),
        ("curves", Label("학습 곡선", "Training curves"), training_curves("arms", trained, experiment.sections)),
    ]
    models = ", ".join(dict.fromkeys(arm.config.model.rpartition("/")[2] for arm in experiment.arms))
    return page(
        experiment.name,
        [Label("비교 실험", "Ablation"), models],
        [Section(name, title, tuple(blocks)) for name, title, blocks in parts],
    )


def noise_blocks(result: AblationResult) -> list[Block]:
    """Return the noise that each arm's tokens got, and where lengths changed what alpha means."""
    rows, warned = [], []
    for each in result.arms:
        if each.run is None or "sft" not in each.run.stages:
            continue
        noise = read_noise(each.run)
        rows.append(_noise_row(each, noise))
        warned += [Note(text, "warning", each.arm.name) for text in noise_warnings(noise)]
    header: tuple[Text, ...] = (
        ARM, "alpha", Label("배치 길이 L (최소 · 평균 · 최대)", "batch length L (min · mean · max)"),
        Label("행 길이", "row length"), Label("성분의 최대 잡음 α/√(L·d)", "bound of a component α/√(L·d)"),
        Label("토큰의 잡음 크기 α/√(3L)", "noise of a token α/√(3L)"),
        Label("논문 코드의 alpha", "alpha of the authors' code"),
    )  # fmt: skip
    how = Label(
        "NEFTune은 학습 중 임베딩의 성분마다 ±α/√(L·d)의 균등 잡음을 더합니다. transformers는 L로 배치의 길이(패딩과"
        " 패킹을 포함)를, 논문 저자의 코드는 행 자신의 길이를 씁니다. 마지막 열은 저자의 코드에서 같은 잡음을 내는"
        " alpha입니다.",
        "NEFTune adds uniform noise of ±α/√(L·d) to each component of an embedding in training. For L, transformers"
        " takes the length of the batch, padding or packing included, the authors' code the row's own. The last column"
        " is the alpha that gives the same noise there.",
    )
    return [*warned, Table(header, tuple(rows)), Note(how)]


def _noise_row(each: ArmResult, noise: Noise) -> tuple[Cell, ...]:
    lengths = " · ".join(number(value, 3) for value in (noise.shortest, noise.mean, noise.longest))
    off = Label("없음", "off")
    return (
        Cell(each.arm.name), Cell(off if noise.alpha is None else number(noise.alpha)),
        Cell(lengths, sub=Label("패킹", "packed") if noise.packed else ""), Cell(number(noise.row_mean, 3)),
        Cell(number(noise.bound)), Cell(number(noise.per_token)),
        Cell(off if noise.alpha is None else number(noise.meant, 3)),
    )  # fmt: skip


def cost_table(result: AblationResult) -> Table:
    """Return what each variant trains, needs and takes, beside its score."""
    rows = []
    stage = "dpo" if result.stage == "dpo" else "sft"
    for variant in result.experiment.variants:
        arms = [each for each in result.of(variant) if each.run and stage in each.run.stages]
        runs = [each.run for each in arms if each.run]
        entries = [run.stages[stage] for run in runs]
        metrics = [row for run in runs for row in run.metrics.get(stage, ())]
        trained = {row["trainable_parameters"] for row in metrics if row.get("trainable_parameters")}
        seconds = [entry["seconds"] for entry in entries if entry.get("seconds")]
        speeds = [row["tokens_per_s"] for row in metrics if row.get("tokens_per_s")]
        losses = [entry["result"]["loss_last"] for entry in entries if "loss_last" in (entry.get("result") or {})]
        peaks = [row["peak_memory_mib"] for row in metrics if "peak_memory_mib" in row]
        rows.append(
            (
                Cell(variant), Cell(" / ".join(f"{count:,}" for count in sorted(trained)) or NONE),
                Cell(mebibytes(max(peaks, default=None))),
                Cell(duration(_mean(seconds))), Cell(number(_mean(speeds), 3)), Cell(number(_mean(losses))),
                _overall(result, variant),
            )
        )  # fmt: skip
    header: tuple[Text, ...] = (
        VARIANT, Label("학습 파라미터", "Trainable parameters"), Label("최대 메모리", "Peak memory"),
        Label("학습 시간", "Training time"), Label("초당 토큰", "Tokens/s"), Label("마지막 손실", "Last loss"),
        Label("종합 점수", "Overall score"),
    )  # fmt: skip
    caption = Label(
        "메모리는 GPU에서 첫 프로세스가 할당한 최댓값(CPU에서는 상주 메모리), 시간·속도·손실은 시드 평균입니다.",
        "Memory is the most that the first process allocated on its GPU (on a CPU: resident); time, speed and loss are"
        " means over the seeds.",
    )
    return Table(header, tuple(rows), caption)


def _overall(result: AblationResult, variant: str) -> Cell:
    for comparison in result.comparisons:
        if comparison.overall and variant in (comparison.before, comparison.after):
            side = comparison.overall.before if variant == comparison.before else comparison.overall.after
            return Cell(percent(mean_of(side)))
    return Cell(NONE, "muted")


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def arm_blocks(result: AblationResult) -> list[Block]:
    """Return each arm with how it ended; what failed says why."""
    rows, failed = [], []
    for each in result.arms:
        stages = each.run.stages if each.run else {}
        shared = {name: entry["shared_from"] for name, entry in stages.items() if "shared_from" in entry}
        told = Label(
            f"{', '.join(shared)}: {', '.join(sorted(set(shared.values())))}에서 가져옴",
            f"{', '.join(shared)}: shared from {', '.join(sorted(set(shared.values())))}",
        )
        state = each.outcome.state
        tone: Tone = "good" if state == "done" else "warn" if state == "under way" else "bad"
        seed = NONE if each.arm.seed is None else str(each.arm.seed)
        rows.append(
            (
                Cell(each.arm.name), Cell(each.arm.variant), Cell(seed), Cell(named(STATES, state), tone),
                Cell(told if shared else ""),
            )
        )  # fmt: skip
        if state != "done" and each.outcome.error:
            error = hide(each.outcome.error, each.run.paths) if each.run else each.outcome.error.partition("\n")[0]
            failed.append(Note(error, "info" if state == "under way" else "error", each.arm.name))
    header: tuple[Text, ...] = (ARM, VARIANT, Label("시드", "Seed"), Label("상태", "State"), Label("공유", "Shared"))
    asked = tuple((key, Cell(str(value), "code")) for key, value in result.experiment.request.items() if value)
    commands = [f"alphaf show {result.experiment.name}/{each.arm.name}" for each in result.arms]
    return [
        *failed,
        Table(header, tuple(rows), text_columns=5),
        Table((Label("요청", "Asked for"), VALUE), tuple((Cell(key), cell) for key, cell in asked), text_columns=2),
        Fold(Label("비교군마다의 명령", "A command for each arm"), (Code("\n".join(commands)),), paper=False),
    ]
