"""The contract lines about tensors: dtype, names and shapes, embedding rows, the merge recomputed."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Any

import torch

from alphaf_orch.programs.merging.contract_models import ADAPTER_PARTS, PREFIX, SHORT, Adapter, Models

FLOATS = (*SHORT.values(), "F8_E4M3", "F8_E5M2")

# Ours: the merge rounds twice (base, then sum), so half precision stays within 4 spacings; float32 differs by
# the order of r additions. A missing NF4 round trip is hundreds of spacings in bfloat16.
WEIGHT_TOLERANCE = {"float32": 64.0, "bfloat16": 4.0, "float16": 4.0}
ROWS = 1024  # rows compared at a time: under half a gigabyte for the widest matrix of a 14B model


@dataclass(frozen=True)
class Line:
    """One line of the contract: whether it holds, what was measured and what was expected."""

    line: str
    ok: bool
    measured: Any
    expected: Any
    detail: str = ""


def dtype_line(models: Models, dtype: str) -> Line:
    """Return whether every floating tensor has the dtype asked."""
    wrong = {n: d for n, d in models.merged.dtypes.items() if d in FLOATS and d != dtype}
    found = sorted({d for d in models.merged.dtypes.values() if d in FLOATS})
    detail = f"{len(wrong)} of {len(models.merged.dtypes)} tensors, first {min(wrong)}" if wrong else ""
    return Line("dtype", not wrong, found, [dtype], detail)


def keys_line(models: Models) -> Line:
    """Return whether names and shapes are the base's (embeddings' rows apart) and no adapter key is left."""
    merged, base, layout = models.merged.shapes, models.base.shapes, models.layout
    leftover = sorted(name for name in merged if any(part in name for part in ADAPTER_PARTS))
    tied = {layout.head} if layout.tied else set()  # a tied head may or may not be written
    missing = sorted(base.keys() - merged.keys() - tied)
    extra = sorted(merged.keys() - base.keys() - tied - set(leftover))
    skip_rows = {layout.embedding: 1, layout.head: 1}
    reshaped = sorted(
        name
        for name in merged.keys() & base.keys()
        if merged[name][skip_rows.get(name, 0) :] != base[name][skip_rows.get(name, 0) :]
    )
    measured = {"leftover": leftover, "missing": missing, "extra": extra, "reshaped": reshaped}
    found = [f"{len(names)} {what}, first {names[0]}" for what, names in measured.items() if names]
    return Line("no_lora_keys", not found, measured, {key: [] for key in measured}, "; ".join(found))


def embedding_rows_line(models: Models, tokens: int, vocab_size: int) -> Line:
    """Return whether the embeddings have a row for each of `tokens`, and as many as vocab_size says."""
    shapes = models.merged.shapes
    rows = {name: shapes[name][0] for name in (models.layout.embedding, models.layout.head) if name in shapes}
    short = [f"{name} has {n} rows for {tokens} tokens" for name, n in rows.items() if n < tokens]
    other = [f"{name} has {n} rows, vocab_size is {vocab_size}" for name, n in rows.items() if n != vocab_size]
    none = [] if models.layout.embedding in rows else [f"{models.layout.embedding} is missing"]
    expected = {"at_least": tokens, "vocab_size": vocab_size}
    return Line("embedding_rows", not (short or other or none), rows, expected, "; ".join(none + short + other))


def nf4_round_trip(weight: torch.Tensor) -> torch.Tensor:
    """Return a float32 weight as QLoRA training sees it: NF4, double quantised (Dettmers et al. 2023)."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    packed, state = quantize_4bit(weight.contiguous(), quant_type="nf4", blocksize=64, compress_statistics=True)
    restored: torch.Tensor = dequantize_4bit(packed, state)
    return restored


def difference(found: torch.Tensor, wanted: torch.Tensor, start: torch.Tensor, dtype: str) -> tuple[float, float]:
    """Return the largest |found - wanted|, absolute and in spacings of `dtype` at the size of start and wanted.

    Goes by rows, so that float32 copies of a whole embedding never exist; the mean is the least size taken.
    """
    absolute = spacings = 0.0
    for parts in zip(found.split(ROWS), wanted.split(ROWS), start.split(ROWS), strict=True):
        mine, theirs, before = (part.to(wanted.device, torch.float32) for part in parts)
        size = torch.maximum(theirs.abs(), before.abs())
        size.clamp_(min=max(float(size.mean()), torch.finfo(torch.float32).tiny))
        spacing = torch.finfo(getattr(torch, dtype)).eps * torch.exp2(torch.frexp(size).exponent.float() - 1)
        off = (mine - theirs).abs()
        absolute, spacings = max(absolute, float(off.max())), max(spacings, float((off / spacing).max()))
    return absolute, spacings


def is_finite(tensor: torch.Tensor) -> bool:
    """Return whether every value is finite."""
    return all(bool(torch.isfinite(part).all()) for part in tensor.split(ROWS))


def sample_names(names: list[str], count: int, seed: int) -> list[str]:
    """Return at least one name of every kind (the name without layer numbers), filled up to `count`."""
    shuffled = sorted(names)
    random.Random(seed).shuffle(shuffled)
    kinds = {re.sub(r"\.\d+\.", ".*.", name): name for name in shuffled}
    chosen = sorted(kinds.values())
    return chosen + [name for name in shuffled if name not in chosen][: max(0, count - len(chosen))]


def weights_line(models: Models, dtype: str, *, sampled: int, seed: int, tolerance: float | None = None) -> Line:
    """Return whether sampled merged tensors are base (NF4 for QLoRA) + scale * B @ A, and all are finite.

    Every kind of target, every replaced tensor and every kind of untouched tensor is among the sample; the
    largest difference is measured in absolute terms and in spacings of the dtype (tolerance, in spacings).
    """
    limit = WEIGHT_TOLERANCE[dtype] if tolerance is None else tolerance
    merged = models.merged
    problems = [f"{n} is not finite" for n in merged.files if not is_finite(merged.read(n))]
    measured: dict[str, Any] = {"not_finite": len(problems), "tensors": 0, "max_abs": 0.0, "max_spacings": 0.0}
    expected = {"not_finite": 0, "max_spacings": limit}
    if models.adapter_kind == "full":
        return Line("weights", not problems, measured, expected, "; ".join(problems[:3]))

    adapter = Adapter(models.adapter_dir)
    homeless = _homeless(models, adapter)
    problems += _unmergeable(models, adapter, homeless)
    off: list[tuple[float, str]] = []
    for name in _sample(models, adapter, homeless, sampled, seed):
        start, wanted = _merged_anew(models, adapter, name)
        found = merged.read(name)
        if found.shape != wanted.shape:
            problems.append(f"{name} has shape {tuple(found.shape)}, expected {tuple(wanted.shape)}")
            continue
        absolute, worst = difference(found, wanted, start, dtype)
        if worst > limit:
            message = f"{name} is off by {absolute:.3g}, {worst:.3g} {dtype} spacings (limit {limit:g})"
            off.append((worst, message))
        measured["tensors"] += 1
        measured["max_abs"] = max(measured["max_abs"], absolute)
        measured["max_spacings"] = max(measured["max_spacings"], worst)
    problems += [message for _, message in sorted(off, reverse=True)]  # the worst tensor first
    count = len(problems) - 3
    more = f"; {count} more" if count > 0 else ""
    return Line("weights", not problems, measured, expected, "; ".join(problems[:3]) + more)


def _homeless(models: Models, adapter: Adapter) -> set[str]:
    """Return the adapter's tensors that base or merged folder lack; a tied head may or may not be written."""
    merged, base, layout = models.merged.files, models.base.files, models.layout
    found = {n for n in (*adapter.targets, *adapter.replaced) if n not in merged or n not in base}
    return found - {layout.head} if layout.tied else found


def _unmergeable(models: Models, adapter: Adapter, homeless: set[str]) -> list[str]:
    """Return what of the adapter this check, or the merged file, has no place for."""
    layout = models.layout
    problems = [f"the adapter uses {key}, which is not checked" for key in adapter.unsupported()]
    problems += [] if adapter.targets else ["the adapter has no LoRA tensors"]
    pair = {layout.embedding, layout.head} & set(adapter.replaced) if layout.tied else set()
    copies = [adapter.tensors.read(PREFIX + name) for name in sorted(pair)]
    # peft trains a copy of one side only, or one copy each; the merged file has room for one.
    if pair and not (len(copies) == 2 and torch.equal(*copies)):
        problems.append(
            f"{layout.embedding} and {layout.head} are tied in the base but were trained apart;"
            " train with peft_ensure_weight_tying: true"
        )
    return problems + [f"the adapter's {name} has no place in the merged model" for name in sorted(homeless)]


def _sample(models: Models, adapter: Adapter, homeless: set[str], sampled: int, seed: int) -> list[str]:
    merged, touched = models.merged.files, {*adapter.targets, *adapter.replaced}
    return [
        *sample_names([n for n in adapter.targets if n not in homeless], sampled, seed),
        *(n for n in adapter.replaced if n in merged),
        *sample_names([n for n in models.base.files if n in merged and n not in touched], 0, seed),
    ]


def _merged_anew(models: Models, adapter: Adapter, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a tensor as training began with it, and as merging should have left it."""
    # axolotl merges on the GPU where there is one; NF4 codes are only comparable on the same device.
    device = "cuda" if torch.cuda.is_available() else "cpu"
    replaced = name in adapter.replaced
    start = adapter.tensors.read(PREFIX + name) if replaced else models.base.read(name)
    if models.adapter_kind == "qlora" and name in models.layout.quantised and not replaced:
        start = nf4_round_trip(start.to(device, torch.float32))
    if name not in adapter.targets:
        return start, start
    return start, start.to(device, torch.float32) + adapter.delta(name, device)
