"""The chain with the stand-in for the tools in this process: milliseconds a stage, for tests that run it many times."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import fake_tool
import pytest

from alphaf_orch.core.command import Finished
from alphaf_orch.core.progress import LogLine
from alphaf_orch.core.render import Rendered
from alphaf_orch.runs import attempt, head, preflight, runner
from alphaf_orch.runs.launch import write_files

TOOLS = ("python", "axolotl", "transformers", "torch", "trl", "peft", "mergekit")


class Child:
    """Runs the stand-in as a program would be; `running` while it does."""

    running = False

    def launch(
        self,
        argv: Sequence[str],
        line: LogLine,
        lock_fd: int,
        *,
        env: Mapping[str, str],
        files: Mapping[Path, Rendered] | None = None,
        **_options: Any,
    ) -> Finished:
        """Do what `runs.launch.launch` does, without a process."""
        write_files(files or {})
        said, code = io.StringIO(), 0
        self.running = True
        try:
            with (
                mock.patch.object(sys, "argv", [*argv[1:2], *argv[1:]]),
                mock.patch.dict(os.environ, env),
                contextlib.redirect_stdout(said),
                contextlib.redirect_stderr(said),
            ):
                fake_tool.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        finally:
            self.running = False
        line.log.write_text(f"$ {' '.join(argv)}\n{said.getvalue()}", encoding="utf-8")
        return Finished(code, 0.1, 1)


def bring(monkeypatch: pytest.MonkeyPatch) -> Child:
    """Have the runner start the stand-in in this process, and take every other program's answer as given."""
    child = Child()
    monkeypatch.setattr(attempt, "launch", child.launch)
    monkeypatch.setattr(head, "capture", lambda argv, **_: (1, ""))
    versions = json.dumps(dict.fromkeys(TOOLS, "1.0"))
    monkeypatch.setattr(preflight, "capture", lambda argv, **_: (0, versions))
    monkeypatch.setattr(attempt, "mask_logs", lambda *_: None)
    monkeypatch.setattr(runner, "begin_imports", lambda _: None)
    return child
