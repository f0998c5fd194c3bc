"""Rows of the data sets that the suites of the hub read, put where the hub's cache has them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alphaf_orch.core.paths import template_folders
from alphaf_orch.core.record import write_atomic

SHIPPED = template_folders()[-1]


def put_snapshot(home: Path, repo: str, files: Mapping[str, str | bytes]) -> Path:
    """Lay the files out as `hf download` does: blobs, links to them, and a ref that names the commit."""
    folder = home / "hub" / f"datasets--{repo.replace('/', '--')}"
    # `datasets` knows a folder with a card by its name alone, so two repositories must not share a commit.
    commit = hashlib.sha1(repo.encode()).hexdigest()
    write_atomic(folder / "refs" / "main", commit)
    snapshot = folder / "snapshots" / commit
    for number, (name, content) in enumerate(files.items()):
        blob = folder / "blobs" / f"{number:040d}"
        blob.parent.mkdir(exist_ok=True)
        blob.write_bytes(content if isinstance(content, bytes) else content.encode())
        link = snapshot / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


def lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def talk(name: str, prompt: str, gold: str) -> dict[str, Any]:
    return {
        "conversation_id": name,
        "conversations": [{"from": "human", "value": prompt}, {"from": "gpt", "value": gold}],
    }


MMLU = "금리의 종류에 대한 설명으로 바르지 않은 것은? ({})\n\n1. 변동금리는\n 위험이 있다.\n\n2. 복리\n3. 실효금리\n"

RAG_GOLD = "국고채 금리는 3.5%입니다."
