"""A folder to start from: commented settings, their schema, example data, a walk-through; nothing is overwritten."""

from __future__ import annotations

import json
import os
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from alphaf_orch.core.called import as_typed, quoted
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.json_schema import document
from alphaf_orch.core.names import check_run_name, expanded
from alphaf_orch.core.paths import template_folders
from alphaf_orch.core.wording import Language
from alphaf_orch.inputs.hub_cache import is_repo_id
from alphaf_orch.inputs.presets import is_own, load_preset
from alphaf_orch.inputs.samples import sample_path
from alphaf_orch.settings.schema import config_schema

CONFIG = "alphaf.yaml"
_ROWS, _PAIRS = 24, 12  # ours: enough to see a form and to run a chain of


@dataclass(frozen=True)
class Started:
    """What was written, and the commands that come next."""

    folder: Path
    files: tuple[Path, ...]
    next: tuple[str, ...]


def start_folder(folder: Path, model: str, language: Language) -> Started:
    """Write the folder, which is new or empty, and return what is in it.

    Raises ConfigError for a folder with something in it, ModelError for a model that is none.
    """
    _refuse_used(folder)
    model = _checked(model)
    files = _texts(folder, model, language)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise _used(folder, "a file") from None
    for name, text in files.items():
        place = folder / name
        place.parent.mkdir(exist_ok=True)
        with place.open("x", encoding="utf-8") as file:
            file.write(text)
    return Started(folder, tuple(folder / name for name in files), next_commands(folder, model))


def next_commands(folder: Path, model: str) -> tuple[str, ...]:
    """Return the commands that plan, train and report what the folder's settings say, spelled as alphaf was called."""
    config, run = quoted(str(folder / CONFIG)), quoted(_run_name(folder, model))
    chosen = f"--config {config} --run {run}"
    commands = (f"alphaf plan {chosen}", f"alphaf run {chosen}", f"alphaf report {run}")
    return tuple(map(as_typed, commands))


def _run_name(folder: Path, model: str) -> str:
    try:
        return check_run_name(Path(os.path.abspath(folder)).name)  # noqa: PTH100  (links stay as they are)
    except ConfigError:
        return Path(model).name


def _refuse_used(folder: Path) -> None:
    if os.path.lexists(folder) and not folder.is_dir():
        raise _used(folder, "a file")
    if folder.is_dir() and any(folder.iterdir()):
        raise _used(folder, "a folder with something in it")


def _used(folder: Path, what: str) -> ConfigError:
    return ConfigError(
        f"there is {what} of that name, and nothing is overwritten",
        where=str(folder),
        fix="name a new folder",
        code="config.folder_taken",
    )


def _checked(model: str) -> str:
    """Return the model as the settings name it: a folder by its whole path; raise ModelError for what is none."""
    presets = tuple(each / "models" for each in template_folders())
    place = expanded(model)
    if is_own(model, presets) and (place.is_dir() or not is_repo_id(model)):
        from alphaf_orch.inputs.own_model import generic_preset  # says what is wrong with the folder

        generic_preset(model, presets, os.environ)
        return str(place.absolute())
    if not is_own(model, presets):
        load_preset(model, presets)
    return model


def _texts(folder: Path, model: str, language: Language) -> Mapping[str, str]:
    templates = template_folders()[-1] / "start"
    page = "README.ko.md" if language == "ko" else "README.md"
    commands = dict(zip(("plan", "run", "report"), next_commands(folder, model), strict=True))
    values = {
        "model": json.dumps(model, ensure_ascii=False) if not re.fullmatch(r"[\w./-]+", model) else model,
        "name": folder.name,
        "rows": str(_ROWS),
        "pairs": str(_PAIRS),
        **{name: f"   {command}" for name, command in commands.items()},
    }

    def filled(name: str) -> str:
        return string.Template((templates / name).read_text(encoding="utf-8")).safe_substitute(values)

    schema = document("config", config_schema())
    return {
        CONFIG: filled(f"alphaf.{language}.yaml"),
        page: filled(page),
        "config.schema.json": json.dumps(schema, indent=1, ensure_ascii=False) + "\n",
        "data/train.jsonl": _first_rows("finance_ko_sft.jsonl", _ROWS, ("messages",)),
        "data/pairs.jsonl": _first_rows("finance_ko_dpo.jsonl", _PAIRS, ("prompt", "chosen", "rejected")),
    }


def _first_rows(sample: str, count: int, keys: Sequence[str]) -> str:
    with sample_path(sample).open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line, _ in zip(lines, range(count), strict=False)]
    return "".join(json.dumps({key: row[key] for key in keys if key in row}, ensure_ascii=False) + "\n" for row in rows)
