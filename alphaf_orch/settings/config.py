"""The settings of one run: read from a file and options, checked, frozen, written beside the results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alphaf_orch.core.credentials import refuse_credentials
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.values import nearest

Tool = Literal["axolotl", "dpo", "mergekit"]


class RunConfig(BaseModel):
    """What varies between runs; trainer settings live in the recipes and only overrides of them are kept here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    base_revision: str | None = None
    data: tuple[str, ...] = ()
    datasets: tuple[dict[str, Any], ...] = ()
    dpo_data: tuple[str, ...] = ()
    gpus: Annotated[int, Field(ge=0)] | None = None
    dpo_gpus: Annotated[int, Field(ge=0)] | None = None
    sft: dict[str, Any] = {}
    dpo: dict[str, Any] = {}
    merge: dict[str, Any] = {}
    trackers: dict[str, Any] = {}
    merge_dtype: Literal["bfloat16", "float16", "float32"] | None = None
    trust_remote_code: bool = False
    allow_untrained_tokens: bool = False
    templates: str | None = None
    tools: dict[Tool, str] = {}


def read_config(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; raise ConfigError naming file and line where it is not one."""
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            "the config file does not exist", where=str(path), fix="check the path after --config"
        ) from None
    except IsADirectoryError:
        raise ConfigError("the config is a folder", where=str(path), fix="name a YAML file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            "the config file is not UTF-8", where=f"{path}, byte {error.start}", fix="save it as UTF-8"
        ) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ConfigError(
            f"the config is not valid YAML: {error.problem}",
            where=f"{path} line {line}",
            fix="mend that line",
        ) from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(
            "the config is not a mapping of keys",
            where=str(path),
            fix="write `key: value` lines, e.g. `model: eeve`",
        )
    return loaded


def build_config(values: dict[str, Any], where: str) -> RunConfig:
    """Return the checked settings; raise ConfigError naming the key and the nearest known one, or a secret's key."""
    refuse_credentials(values, where)
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            hint = nearest(key, RunConfig.model_fields)
            raise ConfigError(
                f"unknown key {key}{hint}",
                where=f"{where}, key {key}",
                fix=f"known keys: {', '.join(RunConfig.model_fields)}; axolotl's own go under `sft:`",
            ) from None
        raise ConfigError(
            f"{key}: {first['msg'].lower()}", where=f"{where}, key {key}", fix=f"mend the value of {key}"
        ) from None


def dump_config(config: RunConfig) -> str:
    """Return the settings as YAML in the order of the fields, leaving out what was not set."""
    return yaml.safe_dump(config.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True)
