"""What is left of a killed `alphaf`: its watchdog becomes this, and whoever was to be told is told that it was killed.

`python -m alphaf_orch.runs.notify.killed FOLDER COMMAND SINCE NOTIFY`, the last one as JSON; it prints nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

from alphaf_orch.core.paths import RunPaths
from alphaf_orch.runs.notify.message import message, with_standing
from alphaf_orch.runs.notify.send import send
from alphaf_orch.settings.notify import Notify

_CODE = 137  # what a shell says of a program that SIGKILL ended


def last_word(notify: Notify, paths: RunPaths, command: str, since: str) -> tuple[str, ...]:
    """Return the argv that tells it; nothing secret is in it, which other users can read."""
    asked = notify.model_dump_json(exclude_defaults=True)
    return (sys.executable, "-m", __name__, str(paths.root.absolute()), command, since, asked)


def main(folder: str, command: str, since: str, asked: str) -> None:
    """Tell it."""
    paths, notify = RunPaths(Path(folder)), Notify.model_validate_json(asked)
    told = message(
        "failure", paths, command, state="killed", exit_code=_CODE,
        what="alphaf itself was killed (SIGKILL), and its watchdog ended what it had started",
        next="look for an out-of-memory kill (dmesg); the same command goes on from the last checkpoint",
    )  # fmt: skip
    send(notify, with_standing(told, paths, since))


if __name__ == "__main__":
    main(*sys.argv[1:])
