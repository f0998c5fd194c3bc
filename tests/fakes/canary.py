"""Secrets that a test plants in the environment, and a search for them in what was written."""

from __future__ import annotations

import base64
from pathlib import Path

CANARY = "kanarienvogel7"

ENVIRONMENT = {
    "HF_TOKEN": f"hf_{CANARY}AbCdEfGh",
    "WANDB_API_KEY": f"{CANARY}0123456789",
    "AWS_SECRET_ACCESS_KEY": f"aws/{CANARY}+x",
    "HTTPS_PROXY": f"http://kim:pw%2F{CANARY}@proxy.bank:3128",
    "MLFLOW_TRACKING_URI": f"https://{CANARY}@mlflow.bank",
    "JUDGE_PASSWORT_X": "plain",  # no secret by its name, and none by its length
    "SSH_PRIVATE_KEY": f"-----BEGIN-----\n{CANARY}{CANARY}\n-----END-----",
}


def leaks(folder: Path, *texts: str) -> list[str]:
    """Return the files below the folder, and the texts, in which a canary is left."""
    needles = [CANARY.encode(), base64.b64encode(f"kim:pw/{CANARY}".encode())]
    files = [path for path in folder.rglob("*") if path.is_file() and any(n in path.read_bytes() for n in needles)]
    return [*map(str, files), *(text for text in texts if CANARY in text)]
