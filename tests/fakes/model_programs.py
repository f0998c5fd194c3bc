"""Starts a program that makes base models, and finds its modules."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType


def run_script(
    name: str, *args: object, env: dict[str, str] | None = None, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, *options, "-m", f"alphaf_orch.programs.{name}", *map(str, args)]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", **(env or {})}
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=300)


def script(name: str) -> ModuleType:
    return importlib.import_module(f"alphaf_orch.programs.{name}")


def korean_rows(folder: Path) -> Path:
    """Write rows with enough different syllables for 1,024 tokens, whatever the sample files hold."""
    path = folder / "rows 한글.jsonl"
    syllables = [chr(0xAC00 + 7 * n) for n in range(1500)]
    words = ["".join(syllables[n : n + 3]) for n in range(0, 1500, 3)]
    rows = [{"messages": [{"role": "user", "content": " ".join(words[n:] + words[:n])}]} for n in range(4)]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path
