"""From a command line to a plan: which run is meant, which settings it remembers, which are new."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from alphaf_orch.core.errors import ConfigError, RunStateError
from alphaf_orch.core.names import expanded, named_folder
from alphaf_orch.core.paths import EXPERIMENT_FILE, RunPaths, runs_dir
from alphaf_orch.core.piped import as_file
from alphaf_orch.core.several import found_in, raise_all
from alphaf_orch.core.stored import absent, read_text
from alphaf_orch.core.values import numbers
from alphaf_orch.core.yaml_files import parse_yaml
from alphaf_orch.settings.clusters import is_path
from alphaf_orch.settings.config import RunConfig, build_config, read_config, read_remembered
from alphaf_orch.settings.keys import check_section, parse_set
from alphaf_orch.settings.merge import check_value, settled
from alphaf_orch.settings.notify import with_places
from alphaf_orch.settings.plugins import named_in
from alphaf_orch.settings.trackers import check_trackers


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a command line said; None and empty mean that it said nothing."""

    model: str | None = None
    run: str | None = None
    config: Path | None = None
    data: tuple[str, ...] = ()
    dpo_data: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    default_section: str = "sft"
    gpus: int | None = None
    dpo_gpus: int | None = None
    nodes: int | None = None
    trust_remote_code: bool = False
    on_unhealthy: str | None = None
    on_oom: str | None = None
    stall_timeout: float | None = None
    allow_pickle: bool = False
    on: str | None = None


def run_paths(name: str) -> RunPaths:
    """Return the paths of the run of that name, or of an experiment's arm (`EXPERIMENT/ARM`).

    Raises ConfigError for a name that is no plain folder name, RunStateError for an experiment in a run's place.
    """
    experiment, slash, arm = name.partition("/")
    if slash and experiment and (runs_dir() / experiment / EXPERIMENT_FILE).is_file():
        return RunPaths(named_folder(named_folder(runs_dir(), experiment), arm))
    folder = named_folder(runs_dir(), name)
    if (folder / EXPERIMENT_FILE).is_file():
        arms = ", ".join(f"{name}/{path.parent.name}" for path in sorted(folder.glob("*/manifest.json"))[:5])
        raise RunStateError(
            f"{name} is an experiment, not a run",
            where=str(folder),
            fix=f"use one of its arms: {arms}" if arms else "its arms have not begun: go on with the same command",
            code="run.other_kind",
        )
    return RunPaths(folder)


def submitted_paths(name: str) -> RunPaths:
    """Return the paths of what jobs are submitted for: a run, an experiment's arm, or the experiment itself."""
    folder = named_folder(runs_dir(), name) if "/" not in name else None
    return RunPaths(folder) if folder and (folder / EXPERIMENT_FILE).is_file() else run_paths(name)


def default_run_name(model: str) -> str:
    """Return a run name for a model that was given none: its own name without folders."""
    return Path(model).name or model


def settings(options: Options) -> tuple[RunConfig, RunPaths]:
    """Return the settings of the run meant: what it remembers, then the config file, then the options."""
    file = read_config(options.config) if options.config else {}
    model = options.model or file.get("model")
    if not model and not options.run:
        raise ConfigError(
            "no model is named",
            where="--model",
            fix="say --model NAME; `alphaf models` lists them",
            code="config.nothing_named",
        )
    paths = run_paths(options.run or default_run_name(str(model)))
    values: dict[str, Any] = {} if absent(paths.config) else read_remembered(paths.config)
    if model and values.get("model", model) != model:
        values = {}
    if not model and not values:
        raise ConfigError(
            f"run {paths.full_name} does not exist and no model is named",
            where="--model",
            fix="say --model NAME to start it",
            code="config.nothing_named",
        )
    sft = values.get("sft")
    kept = sft.get("chat_template_jinja") if isinstance(sft, Mapping) else None
    config = _laid_over(values, file, options, str(options.config or paths.config), paths.config)
    return _with_kept_template(config, kept, paths.rendered("sft.yaml")), paths


def _with_kept_template(config: RunConfig, remembered: Any, rendered: Path) -> RunConfig:
    """Return the settings with a chat template's text where its file is gone and the run's recipe was made of it."""
    name = config.sft.get("chat_template_jinja")
    if not isinstance(name, str) or name != remembered or _TEMPLATE.search(name):
        return config
    if os.path.exists(name) or absent(rendered):  # noqa: PTH110  (as planning asks, which says that there is no file)
        return config
    recipe = read_text(rendered)
    if not re.search(rf" # read from {re.escape(name)}(;|$)", recipe, re.MULTILINE):
        return config
    text = parse_yaml(recipe, str(rendered)).get("chat_template_jinja")
    return config.model_copy(update={"sft": {**config.sft, "chat_template_jinja": text}})


def new_settings(options: Options) -> RunConfig:
    """Return the settings of a run that remembers none yet: the config file, then the options.

    Raises ConfigError where no model is named, or for a setting that no run has.
    """
    file = read_config(options.config) if options.config else {}
    if not options.model and not file.get("model"):
        raise ConfigError(
            "no model is named",
            where="--model",
            fix="say --model NAME; `alphaf models` lists them",
            code="config.nothing_named",
        )
    return _laid_over({}, file, options, str(options.config or "the command line"))


def _laid_over(
    values: dict[str, Any], file: dict[str, Any], options: Options, where: str, remembered: Path | None = None
) -> RunConfig:
    """Return what is remembered in a file, with the config file's settings over it and the options over both.

    Raises ConfigError for every key that is unknown or whose value is not taken, with the line it stands on.
    """
    file = {k: numbers(v) if k in ("sft", "dpo") and isinstance(v, dict) else v for k, v in file.items()}
    if isinstance(file.get("sft"), dict):
        file["sft"] = _with_its_place(file["sft"], options.config)
    file |= {key: _beside(options.config, file[key]) for key in ("data", "dpo_data") if key in file and options.config}
    for key, value in file.items():
        added_to = key in ("sft", "dpo", "tools", "trackers", "merge")
        merged = added_to and isinstance(value, dict) and isinstance(values.get(key, {}), dict)
        values[key] = {**values.get(key, {}), **value} if merged else value
    given: dict[str, Any] = {
        "model": options.model or file.get("model"),
        "data": options.data,
        "dpo_data": options.dpo_data,
        "gpus": options.gpus,
        "dpo_gpus": options.dpo_gpus,
        "nodes": options.nodes,
        "trust_remote_code": options.trust_remote_code or None,
        "on_unhealthy": options.on_unhealthy,
        "on_oom": options.on_oom,
        "stall_timeout": options.stall_timeout,
        "allow_pickle": options.allow_pickle or None,
        "on": options.on,
    }
    values |= {key: value for key, value in given.items() if value not in (None, ())}
    if options.data:
        values.pop("datasets", None)
    laid = {section: dict(values[section]) for section in _SECTIONS if isinstance(values.get(section), Mapping)}
    sft = laid.get("sft", {})
    sets: dict[str, dict[str, Any]] = {"sft": {}, "dpo": {}}
    given_keys = partial(parse_set, options.sets, default=options.default_section, named=named_in(sft.get("plugins")))
    wrong = found_in([lambda: sets.update(given_keys())])
    sets["sft"] = _with_its_place(sets["sft"])
    named = named_in({**sft, **sets["sft"]}.get("plugins"))
    built: list[RunConfig] = []  # once: what comes through a pipe can be read no second time
    checks: list[Callable[[], object]] = [lambda: built.append(build_config(_absolute(values), where))]
    for section, keys in laid.items():
        for key in sorted(key for key in keys if isinstance(key, str) and key not in sets.get(section, {})):
            place = options.config if key in (file.get(section) or {}) else remembered
            checks.append(partial(_check_key, section, key, keys[key], place or where, named))
    raise_all([*found_in(checks), *wrong])  # all mistakes of a file and of the options, whichever of them is told first
    (config,) = built
    return config.model_copy(update={name: {**getattr(config, name), **sets[name]} for name in ("sft", "dpo")})


_SECTIONS = ("sft", "dpo", "trackers", "merge")
_TEMPLATE = re.compile(r"[{\n]")  # in a chat template itself, not in the name of its file


def _check_key(section: str, key: str, value: Any, place: str | Path, named: Sequence[str]) -> None:
    if section == "trackers":
        check_trackers({key: value}, place)
    elif section == "merge":
        check_value(key, value, place)
    else:
        check_section(section, {key: value}, place, named)


def _piped(name: Any) -> Any:
    """Return the name of data; what comes through a pipe has one when it was copied, for a run remembers it."""
    place = Path(name) if isinstance(name, str) and name.startswith("/") else None
    return str(as_file(place)) if place and place.exists() else name


def _beside(config: Path, names: Any) -> Any:
    """Return the names of data that a config file has, those that are not here and lie beside it with its folder."""
    if not isinstance(names, list):
        return names

    def found(name: Any) -> Any:
        beside = config.parent / name if isinstance(name, str) and not expanded(name).is_absolute() else None
        return str(beside) if beside and beside.exists() and not expanded(name).exists() else name

    return [found(name) for name in names]


def _with_its_place(keys: dict[str, Any], config: Path | None = None) -> dict[str, Any]:
    """Return keys of SFT, said now, with the files that they name absolute; what a run remembers stays as it is."""
    file, template = keys.get("deepspeed"), keys.get("chat_template_jinja")
    found = {**keys, "deepspeed": str(expanded(file).absolute())} if isinstance(file, str) and file else keys
    if isinstance(template, str) and template and not _TEMPLATE.search(template):  # else it is the template itself
        place = expanded(template)
        beside = config.parent / place if config and not place.is_absolute() else place
        chosen = beside if beside.is_file() and not place.is_file() else place
        found = {**found, "chat_template_jinja": str(chosen.absolute())}
    return found


def _absolute(values: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with local paths made absolute: a run may be resumed from another folder."""

    def absolute(name: Any) -> Any:
        place = expanded(name) if isinstance(name, str) else None
        return str(place.absolute()) if place and name not in ("sample", "sample-citation") and place.exists() else name

    for key in ("data", "dpo_data"):
        if isinstance(values.get(key), Sequence) and not isinstance(values[key], str):
            values[key] = tuple(_piped(absolute(name)) for name in values[key])
    if isinstance(values.get("merge"), dict):
        values["merge"] = settled(values["merge"])
    if isinstance(values.get("notify"), dict):
        values["notify"] = with_places(values["notify"])
    model = values.get("model")
    if isinstance(model, str) and "/" in model:
        values["model"] = absolute(model)
    if isinstance(values.get("on"), str):
        scheduler, colon, profile = values["on"].partition(":")
        values["on"] = f"{scheduler}{colon}{absolute(profile)}" if is_path(profile) else values["on"]
    return values
