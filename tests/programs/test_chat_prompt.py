"""What asks for a turn on a terminal stands on the terminal: stderr belongs to who shows errors line by line."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]


@pytest.mark.parametrize("lacking", ["", "sys.modules['readline'] = None; "])
def test_the_prompt_is_on_the_terminal_also_where_python_has_no_readline(lacking: str) -> None:
    code = f"import sys; {lacking}from alphaf_orch.programs.evaluation.chat import _terminal_lines as lines\n"
    code += "print('said', next(lines()))"
    ours, theirs = pty.openpty()
    os.write(ours, "한도는?\n".encode())
    env = {**os.environ, "PYTHONPATH": str(REPO), "PYTHONUTF8": "1", "TERM": "dumb"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=env,
        timeout=60,
        check=True,
    )
    shown = os.read(ours, 4096).decode()
    os.close(ours)
    os.close(theirs)
    assert "> " in shown and "said 한도는?" in shown
    assert done.stderr == b""
