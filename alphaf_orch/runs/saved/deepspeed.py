"""A checkpoint of DeepSpeed 0.18.9, which transformers 5.16.1 hands to it whole (integrations/deepspeed.py:650).

`latest` names a folder global_stepN (runtime/engine.py:3430, :3835). In it, ZeRO-1 and -2 have the weights in
mp_rank_00_model_states.pt, ZeRO-3 a piece for each rank (:3340); the optimizer's pieces, fp32 weights among them, are
[bf16_]zero_pp_rank_R_mp_rank_00_optim_states.pt (:3322). All are torch.save archives. Whoever goes on loads the pieces
of as many ranks as wrote them, or is refused (:3644). The optimizer is loaded at the planned step too.
"""

from __future__ import annotations

import re
from pathlib import Path

from alphaf_orch.programs.checksums import processes
from alphaf_orch.runs.saved import trainer
from alphaf_orch.runs.saved.archives import archive_problem, member
from alphaf_orch.runs.saved.pickled import following
from alphaf_orch.runs.saved.ranks import absent, numbers

_LATEST = "latest"
_OPTIMIZER = r"(?:bf16_)?zero_pp_rank_(\d+)_mp_rank_00_optim_states\.pt"
_PIECE = r"zero_pp_rank_(\d+)_mp_rank_00_model_states\.pt"
_WHOLE = "mp_rank_00_model_states.pt"


def wrote(folder: Path) -> bool:
    """Return whether anything in a checkpoint is DeepSpeed's."""
    return (folder / _LATEST).is_file() or any(folder.glob("global_step*"))


def model_problem(folder: Path, *, read: bool) -> str | None:
    """Return what is wrong with weights and optimizer, which are one to DeepSpeed, and with safetensors, or None."""
    wrong = _tag_problem(folder)
    if wrong:
        return wrong
    tag = _tag(folder)
    archives = sorted((folder / tag).glob("*.pt"))
    return (
        _ranks_problem(folder, tag)
        or next(filter(None, (archive_problem(p, read=read, name=f"{tag}/{p.name}") for p in archives)), None)
        or trainer.beside_problem(folder)
    )


def states_problem(folder: Path, *, read: bool, needed: bool) -> str | None:
    """Return what is wrong with the scheduler, where it is not DeepSpeed's own, and with random states, or None."""
    lacking = None
    if not (folder / trainer.SCHEDULER).is_file() and _said(folder, "lr_scheduler") is None:
        lacking = f"{trainer.SCHEDULER} is missing"
    wrong = (lacking or trainer.random_problem(folder)) if needed else None
    return wrong or trainer.archives_problem(folder, read=read)


def _tag(folder: Path) -> str:
    return (folder / _LATEST).read_text(encoding="utf-8", errors="replace").strip()


def _tag_problem(folder: Path) -> str | None:
    if not (folder / _LATEST).is_file():
        return f"{_LATEST} is missing"
    tag, step = _tag(folder), folder.name.rpartition("-")[2]
    if not re.fullmatch(r"global_step\d+", tag):
        return f"{_LATEST} names no step"
    if tag != f"global_step{step}":
        return f"{_LATEST} is of {tag}"
    return None if (folder / tag).is_dir() else f"{tag} is missing"


def _ranks_problem(folder: Path, tag: str) -> str | None:
    """Return which rank's piece is missing, or None; how many there are DeepSpeed itself wrote down."""
    place = folder / tag
    optimizer, pieces = numbers(place, _OPTIMIZER), numbers(place, _PIECE)
    if not pieces and not (place / _WHOLE).is_file():
        return f"{tag}/{_WHOLE} is missing"
    written = _said(folder, "dp_world_size")
    if not isinstance(written, int):
        return f"{tag}: the file of model states is empty, cut off or damaged (it names no number of processes)"
    several = max(written, processes(folder), *(rank + 1 for rank in (*optimizer, *pieces, 0)))
    lacking = absent(optimizer, several)
    if lacking is not None:
        return f"{tag}: the optimizer states of rank {lacking} are missing (zero_pp_rank_{lacking}_..._optim_states.pt)"
    lacking = absent(pieces, several) if pieces else None
    return f"{tag}/zero_pp_rank_{lacking}_mp_rank_00_model_states.pt is missing" if lacking is not None else None


def _said(folder: Path, key: str) -> str | int | None:
    """Return what the model states say of a key, "" where they cannot be read."""
    place = folder / _tag(folder)
    piece = next(
        (name for name in (_WHOLE, "zero_pp_rank_0_mp_rank_00_model_states.pt") if (place / name).is_file()), ""
    )
    try:
        return following(member(place / piece, "data.pkl"), key)
    except ValueError:
        return ""
