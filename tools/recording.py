"""What the programs that keep a record of a tool share: write it, or say whether the record is up to date."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def keep(name: str, record: Callable[..., Mapping[str, Any]], purpose: str | None, *folders: str) -> int:
    """Return 0 when the file of the repository was written, or, with --check, is what `record` returns.

    `folders` are the arguments of the command line that `record` takes by name.
    """
    parser = argparse.ArgumentParser(description=purpose)
    parser.add_argument("--check", action="store_true")
    for folder in folders:
        parser.add_argument(folder, type=Path)
    options = vars(parser.parse_args())
    check, file = options.pop("check"), ROOT / name
    text = json.dumps(record(**options), indent=1, ensure_ascii=False) + "\n"
    if check:
        return 0 if file.read_text(encoding="utf-8") == text else 1
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return 0
