"""No secret gets in: settings are written to disk, so one that holds a password or token is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.masking import QUERY, SHAPES, USERINFO, is_secret_name, secrets

# Which variable a tool reads instead, by a word of the key or value.
_VARIABLES = (
    ("mlflow", "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
    ("wandb", "WANDB_API_KEY"),
    ("comet", "COMET_API_KEY"),
    ("hub", "HF_TOKEN"),
    ("hf_", "HF_TOKEN"),
    ("huggingface", "HF_TOKEN"),
    ("s3", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ("aws", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
    ("akia", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
)


def refuse_credentials(values: Mapping[str, Any], where: str) -> None:
    """Raise ConfigError naming the first key whose value holds a password or token; the value is not repeated."""
    known = secrets()
    for key, parent, value in _leaves(values, "", ""):
        kind = _kind(key.rpartition(".")[2], parent, value, known)
        if kind:
            raise ConfigError(
                f"{_last(key)} holds a {kind}, and recipes are written to disk",
                where=f"{where}, key {key}",
                fix=_fix(key, value),
                code="config.holds_secret",
            )


def _last(key: str) -> str:
    """Return a nested key's own name, which is what people know it by; `key` or `token` alone would say too little."""
    name = key.rpartition(".")[2]
    return name if "_" in name else key


def _leaves(value: Any, name: str, parent: str) -> Iterator[tuple[str, str, Any]]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _leaves(each, f"{name}.{key}" if name else str(key), name)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _leaves(each, name, parent)
    else:
        yield name, parent, value


def _kind(key: str, parent: str, value: Any, known: tuple[str, ...]) -> str:
    """Return what secret a value holds, or nothing."""
    # `hf_use_auth_token: true` says that there is one, not which.
    if value and not isinstance(value, bool) and is_secret_name(key) and not parent.endswith("special_tokens"):
        return "password" if "pass" in key.lower() else "key" if key.lower().endswith("key") else "token"
    if not isinstance(value, str):
        return ""
    for scheme, _, password in USERINFO.findall(value):
        if password or scheme.lower() in ("http", "https"):
            return "password" if password else "token"
    if QUERY.search(value) or SHAPES.search(value):
        return "token"
    return "secret of the environment" if value.strip() in known else ""


def _fix(key: str, value: Any) -> str:
    told = f"{key} {value if isinstance(value, str) else ''}".lower()
    named = next((names for word, names in _VARIABLES if word in told), "the environment variable that the tool reads")
    if isinstance(value, str) and "://" in value:
        return f"take it out of the address and set {named}"
    return f"take it out and set {named}"
