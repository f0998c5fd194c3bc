"""Which judge is asked and how: a preset of the templates, or a URL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from alphaf_orch.core.credentials import refuse_credentials
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.paths import find_template
from alphaf_orch.core.record import fingerprint
from alphaf_orch.core.values import validated
from alphaf_orch.core.yaml_files import read_document

DEFAULT = "local"


class JudgePreset(BaseModel):
    """One judge: where it is, how it samples, how patiently it is asked, which prompts it gets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, Field(json_schema_extra={"pattern": "^https?://"})]
    """The address of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1."""
    model: str | None
    """The model's name there; null: the only one that the server lists."""
    api_key_env: str | None
    """The NAME of the environment variable that holds the key; null sends no key."""
    temperature: float | None = Field(ge=0, allow_inf_nan=False)
    """0 gives the same question the same verdict; null sends none."""
    max_tokens: int = Field(gt=0)
    """The longest verdict; a reasoning judge needs thousands."""
    timeout_s: float = Field(gt=0, allow_inf_nan=False)
    """Seconds for one try of one request."""
    concurrency: int = Field(gt=0)
    """Requests at the same time."""
    retries: int = Field(ge=0)
    """Tries after the first."""
    max_failures: int = Field(ge=0)
    """With more requests than this without an answer the command stops."""
    template: str = Field(min_length=1)
    """The prompts that the judge gets: TEMPLATE-one-turn.j2 and the others beside this file."""
    extra_body: dict[str, Any] = {}
    """Further fields of the request, as the server names them."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the server calls the limit."""
    system: str | None = None
    """The text of a system turn; null sends none, as some judges refuse one."""

    def identity(self, model: str) -> str:
        """Return what stands for the judge in a verdict: equal as long as its model and sampling are."""
        # How the limit is called changes nothing that is said.
        said = [model, self.temperature, self.max_tokens, self.extra_body]
        return fingerprint([*said, self.system] if self.system else said)[:16]

    def key(self) -> str | None:
        """Return the API key from the variable that the preset names; raise ConfigError where it is not set."""
        if self.api_key_env is None:
            return None
        if not self.api_key_env.isidentifier():
            raise ConfigError(
                "api_key_env is no name of an environment variable",
                where=f"api_key_env of the judge at {self.url}",
                fix="put the key itself into a variable, and that variable's name here",
                code="config.not_a_variable",
            )
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise ConfigError(
                f"the judge wants an API key and {self.api_key_env} is not set",
                where=f"api_key_env of the judge at {self.url}",
                fix=f"export {self.api_key_env}=... before the command; keys are never written to a file",
                code="config.variable_not_set",
            )
        return key


def load_judge(
    name_or_url: str, folders: tuple[Path, ...], *, model: str | None = None, concurrency: int | None = None
) -> JudgePreset:
    """Return the judge of that preset, or the default one at that URL; options replace what the preset says.

    Raises ConfigError for an unknown name, a file that is no preset and a URL that cannot be asked.
    """
    is_url = "://" in name_or_url
    file = _find(DEFAULT if is_url else name_or_url, folders)
    values = read_document(file).values
    refuse_credentials(values, str(file))
    given = {"url": name_or_url if is_url else None, "model": model, "concurrency": concurrency}
    values |= {key: value for key, value in given.items() if value is not None}
    known = f"keys are {', '.join(JudgePreset.model_fields)}"
    preset = validated(
        JudgePreset,
        values,
        lambda found: ConfigError(
            f"{found.key}: {found.message}", where=str(file), fix=known, code="config.wrong_value"
        ),
    )
    _check_url(preset.url, "--judge" if is_url else str(file))
    preset.key()  # a missing key shows now, not after hours of answering
    return preset


def _find(name: str, folders: tuple[Path, ...]) -> Path:
    known = sorted({path.stem for folder in folders for path in (folder / "judge").glob("*.yaml")})
    if name not in known:
        raise ConfigError(
            f"no judge is called {name!r}",
            where="--judge",
            fix=f"use a URL such as http://127.0.0.1:8000/v1, or one of: {', '.join(known)}",
            code="config.unknown_name",
        )
    return find_template(folders, f"judge/{name}.yaml")


def _check_url(url: str, where: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            f"{url!r} is no URL of a server",
            where=where,
            fix="write it like http://127.0.0.1:8000/v1",
            code="config.not_an_address",
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            "the URL of the judge holds more than host, port and path",
            where=where,
            fix="leave out user, password, query and fragment; a key goes into the variable that api_key_env names",
            code="config.holds_secret",
        )
