"""A checkpoint of transformers' own Trainer, which one process or several alike (DDP) go on from."""

from __future__ import annotations

from pathlib import Path

from alphaf_orch.inputs.weights import weights_problem
from alphaf_orch.programs.checksums import processes
from alphaf_orch.runs.saved.archives import archive_problem
from alphaf_orch.runs.saved.ranks import absent, numbers

SCHEDULER = "scheduler.pt"
# What resuming needs in transformers 5.16.1 (Trainer._load_optimizer_and_scheduler, trainer.py:3632-3660): where one of
# them is absent it starts both anew without a word.
_NEEDED = ("optimizer.pt", SCHEDULER)


def model_problem(folder: Path, *, read: bool) -> str | None:  # noqa: ARG001  (its bytes have checksums of ours)
    """Return what is wrong with the weights, or None."""
    return safetensors_problem(folder)


def states_problem(folder: Path, *, read: bool, needed: bool) -> str | None:
    """Return what is wrong with optimizer, scheduler and random states, or None; absent ones count where needed."""
    lacking = next((f"{name} is missing" for name in _NEEDED if not (folder / name).is_file()), random_problem(folder))
    return (lacking if needed else None) or archives_problem(folder, read=read)


def safetensors_problem(folder: Path) -> str | None:
    """Return why the weights that a model is loaded from are not whole, with no place in it, or None."""
    wrong = weights_problem(folder)
    return wrong.replace(f"{folder}/", "").removeprefix(f"{folder} ") if wrong else None


def beside_problem(folder: Path) -> str | None:
    """Return what is wrong with safetensors weights that lie beside an engine's own, which resuming reads; they may."""
    return safetensors_problem(folder) if any(folder.glob("*.safetensors*")) else None


def random_problem(folder: Path) -> str | None:
    """Return which rank's random state is missing where others have theirs: the checkpoint was not written whole.

    transformers does without (Trainer._load_rng_state, trainer.py:3572), so that none at all stops nothing.
    """
    found = numbers(folder, r"rng_state_(\d+)\.pth")
    rank = absent(found, processes(folder)) if found else None
    return f"rng_state_{rank}.pth is missing" if rank is not None else None


def archives_problem(folder: Path, *, read: bool) -> str | None:
    """Return what is wrong with the first archive of the folder itself: scheduler.pt, scaler.pt, rng_state[_RANK].pth.

    Where one is absent, none here says so; training_args.bin is not read again.
    """
    found = sorted(path for path in folder.iterdir() if path.suffix in (".pt", ".pth"))
    return next(filter(None, (archive_problem(path, read=read) for path in found)), None)
