"""The settings of one run: read from a file and options, checked, frozen, written beside the results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from alphaf_orch.core.credentials import refuse_credentials
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.stored import mending
from alphaf_orch.core.values import Mistake, nearest, validated
from alphaf_orch.core.yaml_files import read_document
from alphaf_orch.settings.notify import Notify, mistaken, refuse_addresses

Tool = Literal["axolotl", "dpo", "mergekit", "vllm"]
# The columns of a data set that may have another name in it.
Column = Literal[
    "messages", "instruction", "input", "output", "system", "history", "prompt", "chosen", "rejected", "text"
]  # fmt: skip


class RunConfig(BaseModel):
    """What is said of a run, now or when it began: only what varies between runs; trainer settings live in the recipes.

    What comes of it on this machine is another type, `planning.context.Resolved`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    base_revision: str | None = None
    data: tuple[str, ...] = ()
    datasets: tuple[dict[str, Any], ...] = ()
    dpo_data: tuple[str, ...] = ()
    columns: dict[Column, str] = {}
    normalize: Literal["NFC"] | None = None
    gpus: Annotated[int, Field(ge=0)] | None = None
    dpo_gpus: Annotated[int, Field(ge=0)] | None = None
    nodes: Annotated[int, Field(ge=1)] = 1
    # Seconds after which a machine that does not come, or gives no sign of life, is given up; torch's own launcher
    # waits as long (torch/distributed/launcher/api.py, LaunchConfig: default_timeout).
    node_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 900
    # What is seen of a training while it runs (runs/watch): `nan` ends it where its weights are lost, and the rest is
    # said; out of memory: ended, or tried again with smaller micro batches; seconds without progress that end a stage.
    on_unhealthy: Literal["nan", "stop", "warn"] = "nan"
    on_oom: Literal["stop", "retry"] = "stop"
    stall_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    # Where it runs: `local`, or the site's scheduler and a profile of it (settings/clusters.py): `slurm:h100`.
    on: str = "local"
    sft: dict[str, Any] = {}
    dpo: dict[str, Any] = {}
    merge: dict[str, Any] = {}
    trackers: dict[str, Any] = {}
    # Who is told how it ended, and that it hangs (settings/notify.py); nobody unless it is set.
    notify: Notify | None = None
    merge_dtype: Literal["bfloat16", "float16", "float32"] | None = None
    trust_remote_code: bool = False
    allow_pickle: bool = False
    allow_untrained_tokens: bool = False
    templates: str | None = None
    tools: dict[Tool, str] = {}
    warm: bool | None = None


def read_config(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; raise ConfigError naming file and line where it is not one."""
    example = "write `key: value` lines, e.g. `model: eeve`"
    try:
        return read_document(path, "the config is ", may_be_empty=True, example=example).values
    except FileNotFoundError:
        raise ConfigError(
            "the config file does not exist",
            where=str(path),
            fix="check the path after --config",
            code="config.file_missing",
        ) from None
    except IsADirectoryError:
        raise ConfigError(
            "the config is a folder", where=str(path), fix="name a YAML file", code="config.not_a_file"
        ) from None


def read_remembered(path: Path) -> dict[str, Any]:
    """Return the settings that a run remembers; raise as read_config, saying how the run is mended."""
    try:
        found = read_config(path)
    except ConfigError as error:
        raise ConfigError(error.what, where=error.where, fix=f"{error.fix}; {mending(path)}", code=error.code) from None
    if not found:
        raise ConfigError(
            "the settings of the run are empty", where=str(path), fix=mending(path), code="config.no_value"
        )
    return found


def build_config(values: dict[str, Any], where: str) -> RunConfig:
    """Return the checked settings; raise ConfigError naming the key and the nearest known one, or a secret's key."""

    def told(mistake: Mistake) -> ConfigError:
        if mistake.keys[0] == "notify":
            return mistaken(mistake, where)
        key, place = mistake.key, f"{where}, key {mistake.key}"
        if mistake.unknown:
            known = RunConfig.model_fields
            fix = f"known keys: {', '.join(known)}; axolotl's own go under `sft:`"
            return ConfigError(
                f"unknown key {key}{nearest(key, known)}", where=place, fix=fix, code="config.unknown_key"
            )
        return ConfigError(
            f"{key}: {mistake.message.lower()}", where=place, fix=f"mend the value of {key}", code="config.wrong_value"
        )

    refuse_addresses(values.get("notify"), where)
    refuse_credentials(values, where)
    return validated(RunConfig, values, told)


def dump_config(config: RunConfig) -> str:
    """Return the settings as YAML in the order of the fields, leaving out what was not set."""
    return yaml.safe_dump(config.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True)
