"""What must hold of a merge of whole models: the hand-off contract's lines, with the merge itself recomputed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from alphaf_orch.programs.common import read_json
from alphaf_orch.programs.merging.contract import (
    eos_pad_line,
    load_tokenizer,
    rendering_line,
    tokenizer_line,
    turn_ends_line,
)
from alphaf_orch.programs.merging.contract_models import Models, Tensors
from alphaf_orch.programs.merging.contract_weights import (
    Line,
    difference,
    dtype_line,
    embedding_rows_line,
    is_finite,
    keys_line,
    sample_names,
)

# Ours: mergekit computes linear and slerp in float32 and rounds once; task arithmetic rounds each step in the dtype
# of the weights: a difference, its scaling, the sum, and the sum with the base.
TOLERANCE = {"linear": 2.0, "slerp": 4.0, "task_arithmetic": 16.0}
_PARALLEL = 0.9995  # mergekit's threshold above which slerp is linear


def expected(recipe: Mapping[str, Any], weights: Sequence[float], tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return in float32 what a method whose formula is plain makes of a tensor: own, partners, then the base if any.

    linear: arXiv 2203.05482; slerp: Shoemake 1985; task arithmetic: arXiv 2212.04089.
    """
    found = [tensor.to(torch.float32) for tensor in tensors]
    if recipe["method"] == "slerp":
        return _slerp(float(recipe["t"]), found[0], found[1])
    if recipe["method"] == "linear":
        total = sum((w * x for w, x in zip(weights, found, strict=True)), torch.zeros_like(found[0]))
        return total / sum(weights) if recipe["normalize"] else total
    base = found[-1]
    change = sum((w * (x - base) for w, x in zip(weights, found[:-1], strict=True)), torch.zeros_like(base))
    if recipe["normalize"] and abs(sum(weights)) >= 1e-8:
        change = change / sum(weights)
    return base + float(recipe["lambda"]) * change


def _slerp(t: float, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    lengths = [float(x.norm()) or 1.0 for x in (one, other)]
    cosine = float(((one / lengths[0]) * (other / lengths[1])).sum().clamp(-1, 1))
    if abs(cosine) > _PARALLEL:
        return (1 - t) * one + t * other
    angle = torch.acos(torch.tensor(cosine, dtype=torch.float64))
    parts = [float(torch.sin(share * angle) / torch.sin(angle)) for share in (1 - t, t)]
    return parts[0] * one + parts[1] * other


def _recomputable(recipe: Mapping[str, Any], densities: Sequence[float]) -> bool:
    plain = recipe["method"] in TOLERANCE and not recipe.get("rescale")
    return plain and all(density >= 1 for density in densities)


def merge_line(
    models: Models,
    recipe: Mapping[str, Any],
    places: Sequence[Path],
    spread: Mapping[str, Sequence[float]],
    dtype: str,
    *,
    sampled: int,
) -> Line:
    """Return whether every value is finite and, where the formula is plain, sampled tensors are what it gives.

    Vocabulary tensors are left out of the sample: their rows may have been matched by token.
    """
    merged = models.merged
    problems = [f"{name} is not finite" for name in merged.files if not is_finite(merged.read(name))]
    measured: dict[str, Any] = {"not_finite": len(problems), "tensors": 0, "max_abs": 0.0, "max_spacings": 0.0}
    limit = TOLERANCE.get(recipe["method"])
    wanted: dict[str, Any] = {"not_finite": 0, "max_spacings": limit}
    if not _recomputable(recipe, spread.get("density", ())):
        measured |= {"max_abs": None, "max_spacings": None}
        detail = "only that all values are finite was checked: the method's formula is not recomputed"
        return Line(
            "weights", not problems, measured, wanted | {"max_spacings": None}, "; ".join(problems[:3]) or detail
        )
    sources = [Tensors(place) for place in places]
    names = [n for n in merged.files if n not in (models.layout.embedding, models.layout.head)]
    for name in sample_names(names, sampled, 0):
        parts = [source.read(name) for source in sources]
        target = expected(recipe, spread.get("weight", ()), parts)
        # Rounding is relative to the largest number that went in, which the result may be far below.
        start = torch.stack([part.to(torch.float32).abs() for part in parts]).amax(dim=0)
        absolute, worst = difference(merged.read(name), target, start, dtype)
        measured["tensors"] += 1
        measured["max_abs"] = max(measured["max_abs"], absolute)
        measured["max_spacings"] = max(measured["max_spacings"], worst)
        if limit is not None and worst > limit:
            problems.append(f"{name} is off by {absolute:.3g}, {worst:.3g} {dtype} spacings (limit {limit:g})")
    return Line("weights", not problems, measured, wanted, "; ".join(problems[:3]))


def moved_line(target: Any, own: Any) -> Line:
    """Return whether every token that the run was trained with has its id still, and the chat template is the run's."""
    vocabulary = target.get_vocab()
    moved = [token for token, number in own.get_vocab().items() if vocabulary.get(token) != number]
    same = target.chat_template == own.chat_template
    measured = {"moved": len(moved), "chat_template_kept": same}
    detail = f"such as {moved[0]!r}" if moved else "" if same else "another chat template than the run's"
    return Line("trained_tokens", not moved and same, measured, {"moved": 0, "chat_template_kept": True}, detail)


def check(
    merged_dir: Path,
    target_dir: Path,
    recipe: Mapping[str, Any],
    spread: Mapping[str, Sequence[float]],
    handoff: Mapping[str, Any],
    dtype: str,
    *,
    sampled: int,
    trust: bool,
) -> list[Line]:
    """Return every line of the contract for a merged folder, in report order.

    `handoff` is the contract of the run's own model: the conversations and the rows that it was trained on.
    """
    own = Path(recipe["model"])
    places = [own, *map(Path, recipe["partners"]), *([Path(recipe["base"])] if recipe.get("base") else [])]
    models = Models(merged_dir, own, own, "full", trust)
    config, generation = read_json(merged_dir / "config.json"), read_json(merged_dir / "generation_config.json")
    tokenizer, trained = load_tokenizer(merged_dir, trust), load_tokenizer(own, trust)
    probe = Path(handoff["probe"]) if handoff.get("probe") else None
    ids = handoff["trained_ids"]
    rows = tuple(map(Path, [ids] if isinstance(ids, str) else ids))
    turns = {key: handoff[key] for key in ("eot_tokens", "train_on_inputs", "trained_turns") if key in handoff}
    return [
        tokenizer_line(tokenizer, load_tokenizer(target_dir, trust)),
        moved_line(tokenizer, trained),
        embedding_rows_line(models, len(tokenizer), config.get("vocab_size", 0)),
        eos_pad_line(tokenizer, config, generation),
        dtype_line(models, dtype),
        keys_line(models),
        merge_line(models, recipe, places, spread, dtype, sampled=sampled),
        rendering_line(tokenizer, probe, rows, trust),
        turn_ends_line(tokenizer, probe, rows, generation, **turns),
    ]
