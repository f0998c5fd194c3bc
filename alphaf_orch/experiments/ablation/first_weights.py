"""Whether two arms' trainings began with the same weights, and if not, whether what is varied is the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alphaf_orch.core.wording import Label

# What decides which weights are trained, or how the first ones are made: where one of them is varied, arms of one seed
# begin differently on purpose.
_DECISIVE = (
    "adapter", "load_in_4bit", "load_in_8bit", "lora_r", "lora_target_modules", "lora_target_linear",
    "lora_target_parameters", "lora_exclude_modules", "lora_modules_to_save", "lora_rank_pattern", "peft",
    "peft_layers_to_transform", "peft_layers_pattern", "peft_use_dora", "peft_init_lora_weights",
    "peft_trainable_token_indices", "loftq", "unfrozen_parameters", "tokens", "mean_resizing_embeddings",
    "resize_token_embeddings_to_32x", "shrink_embeddings", "embeddings_skip_upcast", "bf16", "fp16",
)  # fmt: skip
_QUANTISED = ("adapter", "load_in_4bit", "load_in_8bit")


@dataclass(frozen=True)
class FirstWeights:
    """What a training began with; `values` is None where each rank held only a part of the weights."""

    values: str | None  # a hash of all trainable parameters before step 1
    trainable: str  # a hash of their names, shapes and types
    parameters: int


@dataclass(frozen=True)
class Beginnings:
    """Two trainings' first weights compared; `planned` where a difference follows from what is varied."""

    same: bool | None
    evidence: Label
    planned: bool = False

    @property
    def alarming(self) -> bool:
        """Whether the two ought to be equal and are not, or are not known to be."""
        return self.same is False and not self.planned


def compare_beginnings(
    one: FirstWeights | None, other: FirstWeights | None, recipes: tuple[Mapping[str, Any], Mapping[str, Any]]
) -> Beginnings:
    """Return whether two trainings under one seed began with the same weights, with the reason in words."""
    if one is None and other is None:
        return Beginnings(
            None,
            Label(
                "기록 없음: 이전 버전은 어댑터의 처음 가중치를 시드 없이 뽑음",
                "not recorded: older versions drew the adapter's first weights without the seed",
            ),
        )
    if one is None or other is None:
        return Beginnings(None, MIXED)
    ours, theirs = recipes
    keys = [key for key in _DECISIVE if ours.get(key) != theirs.get(key)]
    if one.trainable == other.trainable and None in (one.values, other.values):
        return Beginnings(
            None, Label("기록 없음: 가중치가 GPU에 나뉘어 있음", "not recorded: each GPU held a part of the weights")
        )
    if (one.trainable, one.values) == (other.trainable, other.values):
        return Beginnings(True, _alike(one, quantised=any(key in _QUANTISED for key in keys)))
    if one.trainable == other.trainable:
        found = f"{_short(one)} ≠ {_short(other)}"
    else:
        found = f"{one.parameters:,} ≠ {other.parameters:,}" if one.parameters != other.parameters else ""
    return Beginnings(False, _different(found, keys), planned=bool(keys))


MIXED = Label(
    "한쪽에만 기록 있음: 다른 쪽은 어댑터의 처음 가중치를 시드 없이 뽑던 이전 버전으로 학습했으므로 둘이 다른"
    " 가중치에서 시작했을 수 있음",
    "recorded in one arm only: the other was trained by an older version, which drew the adapter's first weights"
    " without the seed, so the two may have started from different ones",
)


def _alike(first: FirstWeights, *, quantised: bool) -> Label:
    korean = f"학습하는 파라미터 {first.parameters:,}개가 같은 가중치에서 시작: 해시 {_short(first)}"
    english = f"the {first.parameters:,} trained parameters start from the same weights: hash {_short(first)}"
    if quantised:
        korean += ". 고정된 베이스 모델은 양자화가 서로 다름"
        english += "; the frozen base is not quantised alike"
    return Label(korean, english)


def _different(found: str, keys: list[str]) -> Label:
    shown = f" ({found})" if found else ""
    if keys:
        names = ", ".join(keys)
        return Label(
            f"서로 다른 가중치에서 시작{shown}: 바꾼 키 {names} 때문",
            f"they start from different ones{shown}, because {names} differ" + "s" * (len(keys) == 1),
        )
    return Label(
        f"같은 시드인데 서로 다른 가중치에서 시작{shown}. 두 비교군의 차이에는 처음 가중치의 우연이 섞여 있음",
        f"they start from different ones{shown} though the seed is the same: what tells the two arms apart is partly"
        " the luck of their first weights",
    )


def _short(first: FirstWeights) -> str:
    return (first.values or "")[:12]
