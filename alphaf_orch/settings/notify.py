"""Who is told how a command ended: the `notify:` of a config, which names where an address is, never the address."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.names import expanded
from alphaf_orch.core.values import Mistake, nearest
from alphaf_orch.core.wording import Language

Occasion = Literal["end", "failure", "stall", "requeue"]
# Ours: what a person waits for at a prompt at most, and a third of the 30 s that Slurm leaves between SIGTERM and
# SIGKILL (KillWait).
TIMEOUT_S, LONGEST_S = 10.0, 60.0
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ADDRESS = re.compile(r"(?i)https?://")
_PLACES = ("webhook_env", "webhook_file")
HOW = (
    "the address often is the secret itself: put it into a file that only you can read and name that"
    " (`notify: {webhook_file: ~/.config/alphaf-webhook}`), or into a variable (`notify: {webhook_env: NAME}`)"
)


class Notify(BaseModel):
    """What is told and to whom: a command (arguments, no shell), a webhook, or both."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "anyOf": [{"required": [name]} for name in ("command", *_PLACES)],
            "not": {"properties": {name: {"type": "string"} for name in _PLACES}, "required": list(_PLACES)},
        },
    )

    on: Annotated[tuple[Occasion, ...], Field(min_length=1)] = ("end", "failure", "stall")
    """When somebody is told."""
    command: tuple[str, ...] = ()
    """A program with its arguments, one entry a word; no shell."""
    webhook_env: str | None = None
    """The name of the environment variable that holds the webhook's address."""
    webhook_file: str | None = None
    """The file, readable by you alone, that holds the webhook's address."""
    lang: Language = "ko"
    """The language of the text that people read."""
    timeout: Annotated[float, Field(gt=0, le=LONGEST_S, allow_inf_nan=False)] = TIMEOUT_S
    """Seconds that the command or the webhook gets."""

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.webhook_env is not None and self.webhook_file is not None:
            raise ValueError("webhook_env and webhook_file name one address twice: keep one of the two")
        if not self.command and self.webhook_env is None and self.webhook_file is None:
            raise ValueError("nobody is named: say command, webhook_file or webhook_env")
        return self


def with_places(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return `notify:` with its program and its file by their whole paths: a run may be resumed from another folder."""
    found = dict(value)
    command, file = found.get("command"), found.get("webhook_file")
    if isinstance(command, list) and command and isinstance(command[0], str) and "/" in command[0]:
        found["command"] = [str(expanded(command[0]).absolute()), *command[1:]]
    if isinstance(file, str) and file and not _ADDRESS.match(file):
        found["webhook_file"] = str(expanded(file).absolute())
    return found


def refuse_addresses(value: Any, place: Callable[..., str]) -> None:
    """Raise ConfigError where `notify:` itself holds an address, which a run would remember; it is not repeated."""
    if not isinstance(value, Mapping):
        return
    for key, each in value.items():
        if key != "command" and isinstance(each, str) and _ADDRESS.match(each.strip()):
            raise ConfigError(
                f"notify.{key} holds an address, and a run remembers its settings",
                where=place("notify", str(key)),
                fix=HOW,
                code="config.holds_secret",
            )
    name = value.get("webhook_env")
    if isinstance(name, str) and not _VARIABLE.fullmatch(name):
        raise ConfigError(
            "notify.webhook_env is no name of a variable",
            where=place("notify", "webhook_env"),
            fix=HOW,
            code="config.not_a_variable",
        )
    command = value.get("command")
    if command is not None and not (isinstance(command, list | tuple) and command):
        raise ConfigError(
            "notify.command is no list of arguments",
            where=place("notify", "command"),
            fix="write one entry a word, as in `command: [/home/me/tell, --room, gpu]`; there is no shell",
            code="config.wrong_type",
        )


def mistaken(mistake: Mistake, place: str) -> ConfigError:
    """Return what is wrong in `notify:`; its values are not repeated."""
    key = mistake.key
    if mistake.unknown:
        name = mistake.keys[-1]
        known = ", ".join(Notify.model_fields)
        fix = HOW if name in ("webhook", "url", "webhook_url", "address") else f"known keys: {known}"
        return ConfigError(
            f"unknown key {key}{nearest(name, Notify.model_fields)}", where=place, fix=fix, code="config.unknown_key"
        )
    message = mistake.message.removeprefix("Value error, ")
    return ConfigError(
        f"{key}: {message[:1].lower()}{message[1:]}", where=place, fix="see docs/notify.md", code="config.wrong_value"
    )
