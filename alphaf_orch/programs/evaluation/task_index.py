"""Prints where the installed lm-eval keeps the named tasks; it is found, not imported: torch takes seconds."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

NOT_INSTALLED = 9


def tasks_folder() -> Path:
    """Return the folder of lm-eval's own tasks; exit with an error where there is no lm-eval."""
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or spec.origin is None:
        print(
            f"error: lm-eval is not installed\n  where: {sys.executable}\n  next:  make setup",
            file=sys.stderr,
        )
        raise SystemExit(NOT_INSTALLED)
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


if __name__ == "__main__":
    print(json.dumps(index(tasks_folder(), set(sys.argv[1:])), ensure_ascii=False))
