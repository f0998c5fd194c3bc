"""What child programs share that read a YAML config and write one JSON file."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

CONFIG, DATA, MODEL = 2, 3, 4  # exit codes, as the orchestrator's own


class Failure(SystemExit):
    """An end with an exit code and one message: what failed, where, and what to do next."""

    def __init__(self, code: int, what: str, *, where: str, fix: str) -> None:
        super().__init__(code)
        self.message = f"error: {what}\n  where: {where}\n  next:  {fix}"


def write_whole(path: str, text: str) -> None:
    """Write the file under a temporary name and rename it, so that a crash leaves no half of it."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, target)  # noqa: PTH105


def answer(argv: list[str], keys: Iterable[str], run: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
    """Write what `run` makes of the config named on the command line to the file that the config's `output` names.

    Ends with an exit code and one message on failure; all of `keys` must be in the config.
    """
    if len(argv) != 2:
        sys.exit(f"usage: python {Path(argv[0]).name} CONFIG.yaml")
    config = yaml.safe_load(Path(argv[1]).read_text(encoding="utf-8"))
    try:
        missing = [key for key in keys if key not in config]
        if missing:
            raise Failure(CONFIG, f"missing keys: {', '.join(missing)}", where=argv[1], fix="Add them")
        write_whole(config["output"], json.dumps(run(config), ensure_ascii=False, indent=1))
    except Failure as failure:
        print(failure.message, file=sys.stderr)
        raise
