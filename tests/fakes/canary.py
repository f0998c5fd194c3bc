"""Secrets that a test plants in the environment, and a search for them in what was written."""

from __future__ import annotations

import base64
import html
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

CANARY = "kanarienvogel7"
_GOOGLE = {"type": "service_account", "private_key": f"-----BEGIN PRIVATE KEY-----\n{CANARY}{CANARY}\n-----END-----\n"}

ENVIRONMENT = {
    "HF_TOKEN": f"hf_{CANARY}AbCdEfGh",
    "HUGGING_FACE_HUB_TOKEN": f"hf_{CANARY}Zweiter",
    "WANDB_API_KEY": f"{CANARY}0123456789",
    "COMET_API_KEY": f"{CANARY}Comet",
    "NEPTUNE_API_TOKEN": base64.b64encode(f'{{"api_key":"{CANARY}"}}'.encode()).decode(),
    "SWANLAB_API_KEY": f"{CANARY}Swan",
    "OPENAI_API_KEY": f"sk-proj-{CANARY}",
    "ANTHROPIC_API_KEY": f"sk-ant-{CANARY}",
    "AWS_ACCESS_KEY_ID": f"AKIA{CANARY}",
    "AWS_SECRET_ACCESS_KEY": f"aws/{CANARY}+x",
    "AWS_SESSION_TOKEN": f"{CANARY}//Session==",
    "AZURE_CLIENT_SECRET": f"a~{CANARY}&<'\"\\b",
    "AZURE_STORAGE_CONNECTION_STRING": f"AccountName=bank;AccountKey={CANARY}==;EndpointSuffix=x",
    "GOOGLE_CREDENTIALS": json.dumps(_GOOGLE),
    "HTTPS_PROXY": f"http://kim:pw%2F{CANARY}@proxy.bank:3128",
    "http_proxy": f"http://김:비밀번호{CANARY}@proxy.bank:3128",
    "ALL_PROXY": f"http://kim:p@ss/{CANARY}@proxy.bank:1080",
    "PIP_INDEX_URL": f"https://pip:{CANARY}@index.bank/simple",
    "DATABASE_URL": f"postgresql://run:{CANARY}@db.bank/mlflow",
    "SENTRY_DSN": f"https://{CANARY}@sentry.bank/1",
    "SLACK_WEBHOOK_URL": f"https://hooks.bank/services/T0/{CANARY}",
    "MLFLOW_TRACKING_URI": f"https://{CANARY}@mlflow.bank",
    "MLFLOW_TRACKING_PASSWORD": f"비밀 {CANARY}",
    "MLFLOW_TRACKING_TOKEN": f"{CANARY}MlflowToken",
    "REDISCLI_AUTH": f"{CANARY}Redis",
    "GITHUB_PAT": f"{CANARY}Pat",
    "LDAP_BIND_PW": f"{CANARY}Ldap",
    "JUDGE_PASSWORT_X": "plain",  # no secret by its name, and none by its length
    "SSH_PRIVATE_KEY": f"-----BEGIN-----\n{CANARY}{CANARY}\n-----END-----",
}


def forms(text: str) -> Iterator[str]:
    """Yield a secret as the tools around it may repeat it."""
    yield text
    yield quote(text)
    yield quote(text, safe="")
    yield html.escape(text)
    yield repr(text)
    yield json.dumps(text)
    yield json.dumps(text, ensure_ascii=False)
    yield shlex.quote(text)
    yield base64.b64encode(text.encode()).decode()
    yield base64.urlsafe_b64encode(text.encode()).decode()
    yield base64.b64encode(f"{text}:".encode()).decode()


_NEEDLES = [
    CANARY.encode(),
    # Wherever in a longer text the canary stands, one of these is in its base64, in either alphabet.
    *(base64.b64encode(b" " * lead + CANARY.encode())[4 : -4 - lead] for lead in (0, 1, 2)),
]


def has_canary(data: str | bytes) -> bool:
    """Return whether a canary is left in it, plain or in base64."""
    found = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    return any(needle in found for needle in _NEEDLES)


def leaks(folder: Path, *texts: str) -> list[str]:
    """Return the files below the folder, and the texts, in which a canary is left."""
    files = [path for path in folder.rglob("*") if path.is_file() and has_canary(path.read_bytes())]
    named = [path for path in folder.rglob("*") if has_canary(path.name)]
    return [*map(str, files), *map(str, named), *(text for text in texts if has_canary(text))]
