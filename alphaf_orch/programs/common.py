"""What every child program shares: its settings file, the files it writes, its one kind of error and how it ends."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from alphaf_orch.programs.stacks import print_stacks_on_signal

# What a program ends with: the exit codes of the orchestrator's own errors (core/errors.py), which stands above.
FAILED, CONFIG, DATA, MODEL, RUN_STATE, STAGE, CONTRACT, TOOL = 1, 2, 3, 4, 6, 7, 8, 9


class Failure(SystemExit):
    """An end with an exit code and one message: what failed, where, and what to do next, and its identifier `code`.

    No `except Exception` of the tool around it takes it for a fault that can be gone over.
    """

    def __init__(self, exit_code: int, what: str, *, where: object, fix: str, code: str) -> None:
        self.message = f"error: {what}\n  where: {where}\n  next:  {fix}"
        super().__init__(self.message)
        self.code = exit_code  # python's own name: what the process ends with
        self.identifier = code

    def show(self) -> None:
        """Print the message as the orchestrator reads it out of a log."""
        print(f"{self.message}\n  code:  {self.identifier}", file=sys.stderr, flush=True)


def program(main: Callable[[list[str]], int | None]) -> None:
    """Run `main` on the command line's arguments and end with the code it returns; a Failure is printed first."""
    print_stacks_on_signal()
    try:
        code = main(sys.argv[1:])
    except Failure as failure:
        failure.show()
        raise
    if code:
        sys.exit(code)


def config_path(argv: list[str]) -> str:
    """Return the one argument that a program takes, its settings file; ends with how to call it for any other."""
    if len(argv) == 1:
        return argv[0]
    spec = sys.modules["__main__"].__spec__
    sys.exit(f"usage: python -m {spec.name if spec else 'PROGRAM'} CONFIG.yaml")


def read_config(path: str, needed: Iterable[str] = (), *, filled: Iterable[str] = ()) -> dict[str, Any]:
    """Return the settings in a YAML file; raise Failure where `needed` keys lack, or `filled` ones are empty."""
    import yaml

    try:
        given = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Failure(
            CONFIG, f"cannot read the config: {error}", where=path, fix="Correct the file", code="config.unreadable"
        ) from error
    config: dict[str, Any] = given if isinstance(given, dict) else {}
    missing = [*(key for key in needed if key not in config), *(key for key in filled if not config.get(key))]
    if missing:
        raise Failure(
            CONFIG, f"missing keys: {', '.join(missing)}", where=path, fix="Add them", code="config.key_missing"
        )
    return config


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, an empty one where there is no such file."""
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return values


def write_whole(path: Path, text: str) -> None:
    """Write the file so that it is the old one, or whole and on the disk, whenever the process or machine stops."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_json(path: Path, values: object) -> None:
    """Write values as JSON that a person can read, by write_whole."""
    write_whole(path, json.dumps(values, ensure_ascii=False, indent=2))


def publish(folder: Path, final: Path) -> None:
    """Give a finished folder its final name, in one step and only once all of it is on the disk."""
    for path in (*folder.rglob("*"), folder):
        _sync(path)
    folder.rename(final)
    _sync(final.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
