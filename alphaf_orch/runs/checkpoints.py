"""Which checkpoint a training goes on from: found by a look for a plan, read whole before it is used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from alphaf_orch.core.record import read_json
from alphaf_orch.programs.checksums import (
    NAME,
    Unreadable,
    changed_weights,
    content_problem,
    names_problem,
    read_record,
)
from alphaf_orch.runs.watch.ruined import ruined


@dataclass(frozen=True)
class Start:
    """The checkpoint a training goes on from, None for its beginning, and why newer ones are passed over."""

    checkpoint: Path | None
    passed_over: tuple[str, ...]


def trainer_state(folder: Path) -> dict[str, Any] | None:
    """Return trainer_state.json of a checkpoint, or None where there is none that can be read."""
    state = read_json(folder / "trainer_state.json")
    numbers = state is not None and all(isinstance(state.get(key), int) for key in ("global_step", "max_steps"))
    return state if numbers else None


def newest_first(folder: Path) -> list[Path]:
    """Return the checkpoint-N folders of a training stage, highest N first."""
    found = [path for path in folder.glob("checkpoint-*") if _step(path) is not None]
    return sorted(found, key=lambda path: _step(path) or 0, reverse=True)


def seen(folder: Path, *, recorded: bool = False) -> Path | None:
    """Return the newest checkpoint that a look at its files finds nothing wrong with; what is inside is not read.

    `recorded`: the training writes down the hashes of every one that it saves, so one without them is not whole.
    """
    return next((path for path in newest_first(folder) if problem(path, recorded=recorded) is None), None)


def start(folder: Path, *, recorded: bool = False) -> Start:
    """Return where the training in a folder goes on: the newest checkpoint whose every needed byte is as it was saved.

    Where there is none, one at the planned step whose weights are whole still is the end of the training.
    """
    passed_over: list[str] = []
    for path in newest_first(folder):
        wrong = problem(path, recorded=recorded) or damage(path)
        if wrong is None:
            return Start(path, tuple(passed_over))
        passed_over.append(f"{path.name} is passed over: {wrong}")
    finished = (
        path
        for path in newest_first(folder)
        if _at_the_end(path) and not _unrecorded(path, recorded=recorded) and not _weights_damage(path)
    )
    return Start(next(finished, None), tuple(passed_over))


def beyond_the_end(folder: Path) -> Path | None:
    """Return the newest checkpoint where some stand beyond the planned step and none can be gone on from, else None.

    Earlier versions trained a step more at each try after a training was ended between its last checkpoint and its end.
    """
    found = [path for path in newest_first(folder) if _beyond(path)]
    return found[0] if found and seen(folder) is None else None


def problem(folder: Path, *, recorded: bool = False) -> str | None:
    """Return why training cannot go on from a checkpoint, as far as names, sizes and headers tell, or None."""
    wrong = _weights_side(folder) or _unrecorded(folder, recorded=recorded)
    if wrong or _at_the_end(folder):
        return wrong
    return _names(folder, weights_only=False) or _kind(folder).states_problem(folder, read=False, needed=True)


def damage(folder: Path) -> str | None:
    """Return which file of a checkpoint is not as it was saved, or None; reads it all, which takes seconds a GB."""
    wrong = _weights_damage(folder)
    if wrong or _hashed(folder):
        return wrong or _content(folder, weights_only=False) or ruined(folder, trainer_state(folder))
    states = _kind(folder).states_problem(folder, read=True, needed=not _at_the_end(folder))
    return states or ruined(folder, trainer_state(folder))


def _weights_damage(folder: Path) -> str | None:
    if _hashed(folder):
        return _content(folder, weights_only=True)
    return _kind(folder).model_problem(folder, read=True) or _changed(folder)


def _unrecorded(folder: Path, *, recorded: bool) -> str | None:
    """Return why it is no checkpoint of this training, where that writes down the hashes of all of them."""
    if not recorded or (folder / NAME).is_file():
        return None
    return f"{NAME} is missing: it was not saved to its end, or not by this training"


def _hashed(folder: Path) -> bool:
    """Return whether every file that is loaded has a hash, as none of an earlier version's has."""
    try:
        return read_record(folder) is not None
    except Unreadable:
        return True


def _names(folder: Path, *, weights_only: bool) -> str | None:
    try:
        record = read_record(folder)
    except Unreadable as error:
        return str(error)
    return names_problem(folder, record, weights_only=weights_only) if record else None


def _content(folder: Path, *, weights_only: bool) -> str | None:
    try:
        record = read_record(folder)
        return content_problem(folder, record, weights_only=weights_only) if record else None
    except Unreadable as error:
        return str(error)
    except OSError as error:
        return f"it cannot be read ({error.strerror})"


class _Kind(Protocol):
    """How one engine's checkpoint is judged, by a look at its files or with every byte read."""

    def model_problem(self, folder: Path, *, read: bool) -> str | None:
        """Return what is wrong with the weights that resuming reads, or None."""

    def states_problem(self, folder: Path, *, read: bool, needed: bool) -> str | None:
        """Return what is wrong with the rest, or None; what is absent counts where it is needed."""


def _kind(folder: Path) -> _Kind:
    """Return the kind whose files a checkpoint has; the Trainer's own where they are no other's."""
    from alphaf_orch.runs.saved import deepspeed, fsdp, trainer  # a plan of a run without checkpoints needs none of it

    return deepspeed if deepspeed.wrote(folder) else fsdp if fsdp.wrote(folder) else trainer


def _weights_side(folder: Path) -> str | None:
    state = trainer_state(folder)
    if state is None:
        return "trainer_state.json is missing or cannot be read"
    if state["global_step"] != _step(folder):
        return f"its trainer_state.json is of step {state['global_step']}"
    if _beyond(folder):
        return f"it stands beyond the planned {state['max_steps']} steps"
    for name in ("adapter_config.json", "config.json"):
        if (folder / name).is_file() and read_json(folder / name) is None:
            return f"{name} cannot be read"
    return _names(folder, weights_only=True) or _kind(folder).model_problem(folder, read=False)


def _changed(folder: Path) -> str | None:
    try:
        name = changed_weights(folder)
    except OSError as error:
        return f"its weights cannot be read ({error.strerror})"
    return f"{name} is damaged (it is not what was saved)" if name else None


def _step(folder: Path) -> int | None:
    number = folder.name.removeprefix("checkpoint-")
    return int(number) if number.isdecimal() else None


def _at_the_end(folder: Path) -> bool:
    """Return whether the weights are those of the planned step: no step is left, so no optimizer is needed."""
    state = trainer_state(folder)
    return state is not None and state["global_step"] == state["max_steps"] and _weights_side(folder) is None


def _beyond(folder: Path) -> bool:
    state = trainer_state(folder)
    return state is not None and state["global_step"] > state["max_steps"]
