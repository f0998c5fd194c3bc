"""Prints where the installed lm-eval keeps the named tasks; it is found, not imported: torch takes seconds."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from alphaf_orch.programs.common import TOOL, Failure, program


def tasks_folder() -> Path:
    """Return the folder of lm-eval's own tasks; raise Failure where there is no lm-eval."""
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or spec.origin is None:
        raise Failure(
            TOOL, "lm-eval is not installed", where=sys.executable, fix="make setup", code="tool.not_installed"
        )
    return Path(spec.origin).parent / "tasks"


def yaml_files(folder: Path) -> Iterator[Path]:
    """Yield every YAML under the folder, in the order in which lm-eval meets them."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(root, name) for name in sorted(names) if name.endswith(".yaml"))


def find(folder: Path, wanted: set[str]) -> dict[str, str]:
    """Return {task: path} of those that have a YAML under the folder; the first one counts, as for lm-eval."""
    found: dict[str, str] = {}
    line = re.compile(rb"^task:[ \t]*[\"']?([\w.+-]+)[\"']?[ \t]*(?:#.*)?\r?$", re.MULTILINE)
    for path in yaml_files(folder):
        match = line.search(path.read_bytes())
        name = match[1].decode() if match else ""
        if name in wanted:
            found.setdefault(name, str(path))
    return found


def index(folder: Path, wanted: set[str]) -> dict[str, str]:
    """Return {task: path} of the wanted tasks that lm-eval ships."""
    found: dict[str, str] = {}
    # kmmlu_law lies under kmmlu/: reading all of its more than ten thousand YAMLs takes a second.
    for prefix in sorted({name.split("_")[0] for name in wanted}):
        if (folder / prefix).is_dir():
            found |= find(folder / prefix, wanted)
    missing = wanted - found.keys()
    return found | (find(folder, missing) if missing else {})


def main(names: list[str]) -> None:
    """Print {task: path} of the named tasks as JSON."""
    print(json.dumps(index(tasks_folder(), set(names)), ensure_ascii=False))


if __name__ == "__main__":
    program(main)
