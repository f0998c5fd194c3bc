"""A run that the version before the sub-packages made with real tools: SFT of tiny-qwen, evaluated, reported."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
KEPT = REPO / "tests" / "fixtures" / "run_of_0.1.0"
NAME = "옛_실행"


def bring(folder: Path, monkeypatch) -> Path:
    """Return the run's folder: a copy under `folder`, with the places of this machine in its texts.

    Left out when it was kept: checkpoints, logs, the HTML page.
    """
    shutil.copytree(KEPT, folder, dirs_exist_ok=True)
    places = {b"@HERE@": folder, b"@REPO@": REPO, b"@VENV@/bin/python": sys.executable, b"@VENV@": sys.prefix}
    for file in folder.rglob("*"):
        if file.suffix in {".json", ".yaml", ".md", ".jsonl"}:
            text = file.read_bytes()
            for word, place in places.items():
                text = text.replace(word, str(place).encode())
            file.write_bytes(text)
    monkeypatch.setenv("ALPHAF_RUNS", str(folder / "runs"))
    monkeypatch.setenv("ALPHAF_CACHE", str(folder / "cache"))
    return folder / "runs" / NAME
