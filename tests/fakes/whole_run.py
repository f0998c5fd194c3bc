"""The stand-ins for trainers made to stand in for what evaluates too: whole experiments in seconds."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

from eval_run import write_tasks
from fake_run import Fake

WHOLE = Path(__file__).with_name("whole_tool.py")
VERSIONS = dict.fromkeys(("python", "axolotl", "transformers", "torch", "trl", "peft", "mergekit"), "1.0")
VERSIONS |= {"lm-eval": "0.4.11"}


def whole(fake: Fake, folder: Path, rows: int = 2) -> Fake:
    """Return the stand-ins with two tasks of ours; the real program looks up lm-eval's own tasks, once."""
    index = folder / "tasks"
    fake.python.write_text(
        f"#!/bin/sh\ncase \"$2\" in *.task_index) test -s '{index}' || {sys.executable} \"$@\" >'{index}'\n"
        f"exec cat '{index}';; esac\nexec {sys.executable} {WHOLE} \"$@\"\n"
    )
    fake.python.chmod(fake.python.stat().st_mode | stat.S_IEXEC)
    write_tasks(folder / "templates", rows=rows)
    with fake.config.open("a", encoding="utf-8") as file:
        file.write(f"templates: '{folder / 'templates'}'\n")
    fake.behave(versions=VERSIONS)
    return fake
