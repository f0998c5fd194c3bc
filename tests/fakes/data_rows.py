"""Rows of training data, and the files and hub cache that hold them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def chat(question: str = "기준금리란?", answer: str = "한국은행이 정합니다.", **extra: object) -> dict[str, Any]:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns, **extra}


def sharegpt(question: str = "기준금리란?", answer: str = "한국은행이 정합니다.") -> dict[str, Any]:
    return {"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]}


PAIR = {"prompt": "예금자보호 한도는?", "chosen": "금융회사별로 적용됩니다.", "rejected": "없습니다."}


def line(row: object) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def write(folder: Path, *lines: bytes, name: str = "상담 기록.jsonl") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(b"".join(lines))
    return path


def hub_cache_with_rows(home: Path, repo: str = "org/name", *, pairs: bool = False) -> Path:
    """Lay out a cached data set as `hf download` does: blobs, links to them, and a ref."""
    root = home / "hub" / f"datasets--{repo.replace('/', '--')}"
    folder = root / "snapshots" / COMMIT
    for made in (root / "blobs", root / "refs", folder):
        made.mkdir(parents=True)
    (root / "refs" / "main").write_text(COMMIT)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    for split, rows in (("train", 3), ("test", 1)):
        write(root / "blobs", *(line(PAIR if pairs else chat(f"질문 {i}")) for i in range(rows)), name=split)
        (folder / f"{split}.jsonl").symlink_to(f"../../blobs/{split}")
    return folder
