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
from alphaf_orch.core.yaml_files import place_of, read_document
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
    """A preset's name, a model folder, or a hub id; --model says it too."""
    base_revision: str | None = None
    """The commit of the base model on the hub, or the fingerprint of its folder, that is insisted on."""
    data: tuple[str, ...] = ()
    """Training data: files, folders or hub ids, or `sample`."""
    datasets: tuple[dict[str, Any], ...] = ()
    """axolotl's own dataset entries, in place of `data`; their rows are not checked."""
    dpo_data: tuple[str, ...] = ()
    """Preference data: files, folders or hub ids, or `sample`."""
    columns: dict[Column, str] = {}
    """What the data call a column: `{instruction: 질문, output: 답변}`."""
    normalize: Literal["NFC"] | None = None
    """NFC: train on composed Hangul where the data have it decomposed."""
    gpus: Annotated[int, Field(ge=0)] | None = None
    """GPUs of the SFT on each machine; 0 is CPU. The preset's unless said."""
    dpo_gpus: Annotated[int, Field(ge=0)] | None = None
    """GPUs of the DPO; 1 unless said, 0 where the SFT has 0."""
    nodes: Annotated[int, Field(ge=1)] = 1
    """Machines that the SFT is spread over."""
    # Seconds after which a machine that does not come, or gives no sign of life, is given up; torch's own launcher
    # waits as long (torch/distributed/launcher/api.py, LaunchConfig: default_timeout).
    node_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 900
    """Seconds after which a machine that does not come, or gives no sign of life, is given up."""
    # What is seen of a training while it runs (runs/watch): `nan` ends it where its weights are lost, and the rest is
    # said; out of memory: ended, or tried again with smaller micro batches; seconds without progress that end a stage.
    on_unhealthy: Literal["nan", "stop", "warn"] = "nan"
    """What ends a training: NaN, whatever looks wrong (stop), or nothing (warn)."""
    on_oom: Literal["stop", "retry"] = "stop"
    """Out of memory: stop, or go on with half the micro batch (retry)."""
    stall_timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Seconds without progress that end a stage; none unless said."""
    # Where it runs: `local`, or the site's scheduler and a profile of it (settings/clusters.py): `slurm:h100`.
    on: str = "local"
    """Where it runs: local, or a scheduler and a profile of it, such as slurm:h100."""
    sft: dict[str, Any] = {}
    """Keys of the SFT recipe: axolotl's own, and engine."""
    dpo: dict[str, Any] = {}
    """Keys of the DPO recipe."""
    merge: dict[str, Any] = {}
    """Who is merged at the end, and how: partner, method, and the method's own keys."""
    trackers: dict[str, Any] = {}
    """axolotl's keys for wandb, mlflow, tensorboard and trackio."""
    # Who is told how it ended, and that it hangs (settings/notify.py); nobody unless it is set.
    notify: Notify | None = None
    """Who is told how a command ended, or that it hangs."""
    merge_dtype: Literal["bfloat16", "float16", "float32"] | None = None
    """What merged weights are stored as; the base model's own type unless said."""
    trust_remote_code: bool = False
    """Allow python code that comes with weights."""
    allow_pickle: bool = False
    """Allow weights that are pickles (.bin, .pt, .pth)."""
    allow_untrained_tokens: bool = False
    """Train although the base has not learnt a token of the chat template."""
    templates: str | None = None
    """A folder of your own templates; what it lacks is taken from the shipped ones."""
    tools: dict[Tool, str] = {}
    """The python of a tool's own environment; the one that runs alphaf unless said."""
    warm: bool | None = None
    """Import the tools once for all programs of a command; on CPU alone."""


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
    """Return the checked settings; raise ConfigError naming every wrong key, in a file its line, or a secret's key.

    `where` is the file that has them, or says in words where they are.
    """

    def place(keys: tuple[str, ...]) -> str:
        return place_of(Path(where), keys) if Path(where).is_file() else f"{where}, key {'.'.join(keys)}"

    def told(mistake: Mistake) -> ConfigError:
        if mistake.keys[0] == "notify":
            return mistaken(mistake, place(mistake.keys))
        key, at = mistake.key, place(mistake.keys)
        if mistake.unknown:
            known = RunConfig.model_fields
            fix = f"known keys: {', '.join(known)}; axolotl's own go under `sft:`"
            return ConfigError(f"unknown key {key}{nearest(key, known)}", where=at, fix=fix, code="config.unknown_key")
        return ConfigError(
            f"{key}: {mistake.message.lower()}", where=at, fix=f"mend the value of {key}", code="config.wrong_value"
        )

    refuse_addresses(values.get("notify"), lambda *keys: place(keys))
    refuse_credentials(values, where)
    return validated(RunConfig, values, told)


def dump_config(config: RunConfig) -> str:
    """Return the settings as YAML in the order of the fields, leaving out what was not set."""
    return yaml.safe_dump(config.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True)
