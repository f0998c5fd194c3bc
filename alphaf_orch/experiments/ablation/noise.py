"""What a NEFTune alpha came to: the noise that each token really got, and where lengths changed its meaning."""

from __future__ import annotations

import math
from dataclasses import dataclass

from alphaf_orch.core.wording import Label
from alphaf_orch.experiments.ablation.evidence import read_batches
from alphaf_orch.inputs.model_json import model_json
from alphaf_orch.runs.chain import model_folder
from alphaf_orch.scores.loaded import RunData

CHANGED = 1.1  # ours: from 10% on, the lengths are said to change what alpha means


@dataclass(frozen=True)
class Noise:
    """The noise of one arm's SFT; lengths in tokens, as the model was called (padded or packed)."""

    alpha: float | None  # None: off
    hidden_size: int | None
    shortest: int | None  # batch lengths met in training; None where they were not recorded
    mean: float | None
    longest: int | None
    row_mean: float | None  # mean length of a row before padding or packing, from the data report
    packed: bool

    @property
    def bound(self) -> float | None:
        """The largest noise on one component: alpha / sqrt(L d), L the mean length (arXiv 2310.05914, algorithm 1)."""
        if not self.alpha or not self.mean or not self.hidden_size:
            return 0.0 if self.alpha is None else None
        return self.alpha / math.sqrt(self.mean * self.hidden_size)

    @property
    def per_token(self) -> float | None:
        """The expected length of a token's noise vector: uniform on +-bound in d components, so alpha / sqrt(3 L)."""
        if not self.alpha or not self.mean:
            return 0.0 if self.alpha is None else None
        return self.alpha / math.sqrt(3 * self.mean)

    @property
    def meant(self) -> float | None:
        """The alpha that the authors' code, which takes each row's own length, would need for the same noise."""
        if not self.alpha or not self.mean or not self.row_mean:
            return self.alpha
        return self.alpha * math.sqrt(self.row_mean / self.mean)


def read_noise(run: RunData) -> Noise:
    """Return the noise of a run's SFT from its recipe, the batches it saw and the data report."""
    recipe = ((run.stages.get("sft") or {}).get("spec") or {}).get("recipe") or {}
    alpha = recipe.get("neftune_noise_alpha")
    batches = read_batches(run.paths, "sft")
    micro = [shape for shapes in batches.shapes.values() for shape in shapes] if batches else []
    rows = sum(count for count, _ in micro)
    report = run.reports.get("data") or {}
    tokens, told = (report.get("tokens") or {}).get("total"), report.get("rows")
    return Noise(
        float(alpha) if alpha else None,
        _hidden_size(run),
        min((length for _, length in micro), default=None),
        # The noise of a batch goes by 1/sqrt(L), so that is what is averaged.
        (rows / sum(count / math.sqrt(length) for count, length in micro)) ** 2 if rows else None,
        max((length for _, length in micro), default=None),
        tokens / told if tokens and told else None,
        bool(recipe.get("sample_packing")),
    )


def warnings(noise: Noise) -> list[Label]:
    """Return where the lengths change what alpha means."""
    if not noise.alpha:
        return []
    if noise.mean is None or noise.meant is None:
        return [
            Label(
                "배치의 길이가 기록되지 않아 토큰마다 받은 잡음을 알 수 없습니다.",
                "The lengths of the batches were not recorded, so the noise of each token is not known.",
            )
        ]
    found = []
    factor = noise.alpha / noise.meant
    if factor >= CHANGED:
        how = ("패킹된", "packed") if noise.packed else ("패딩된", "padded")
        found.append(
            Label(
                f"alpha {noise.alpha:g}의 뜻이 바뀌었습니다. 잡음의 크기는 {how[0]} 길이(평균 {noise.mean:,.0f}토큰)로"
                f" 정해지는데 행의 길이는 평균 {noise.row_mean:,.0f}토큰이어서,"
                f" 논문 저자의 코드로는 alpha {noise.meant:.1f}에 해당합니다.",
                f"alpha {noise.alpha:g} means something else here: the noise goes by the {how[1]} length (mean"
                f" {noise.mean:,.0f} tokens), a row has {noise.row_mean:,.0f} tokens on average, so in the authors'"
                f" own code it would be alpha {noise.meant:.1f}.",
            )
        )
    if noise.shortest and noise.longest and noise.longest >= 2 * noise.shortest:
        spread = math.sqrt(noise.longest / noise.shortest)
        found.append(
            Label(
                f"배치의 길이가 {noise.shortest:,}~{noise.longest:,}토큰으로 달라, 같은 alpha라도 배치마다 잡음이 최대"
                f" {spread:.1f}배 차이 납니다.",
                f"Batches are {noise.shortest:,} to {noise.longest:,} tokens long, so under one alpha the noise differs"
                f" by up to {spread:.1f} times from batch to batch.",
            )
        )
    return found


def _hidden_size(run: RunData) -> int | None:
    config = model_json(model_folder(run.paths, "sft") / "config.json") or {}
    value = config.get("hidden_size", (config.get("text_config") or {}).get("hidden_size"))
    return int(value) if value else None
