"""Launching a program: its files, its place, what its end is called."""

import sys

import pytest
from rich.console import Console

from alphaf_orch.core.command import Finished
from alphaf_orch.core.errors import Interrupted, interruptible
from alphaf_orch.core.progress import StageLine
from alphaf_orch.core.render import plain
from alphaf_orch.runs.launch import exited, launch, own_errors

REFUSED = "error: what\n  where: here\n  next:  do"


def launched(tmp_path, code, **options):
    file, log = tmp_path / "in" / "x.yaml", tmp_path / "x.log"
    line = StageLine(Console(quiet=True), "x", tmp_path / "x.jsonl", log, verbose=False)
    with (tmp_path / ".lock").open("w") as lock:
        argv = (sys.executable, "-c", code, str(file))
        return launch(argv, line, lock.fileno(), files={file: plain({"a": 1})}, **options), log


def test_the_files_are_there_and_the_environment_is_the_child_s(tmp_path):
    code = "import os, sys; print(open(sys.argv[1]).read(), os.environ['HF_HUB_OFFLINE'], os.environ['OURS'])"
    done, log = launched(tmp_path, code, env={"OURS": "예"})
    assert done.exit_code == 0
    assert log.read_text(encoding="utf-8").endswith("a: 1\n 1 예\n")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (f"import sys; sys.stderr.write({REFUSED!r}); sys.exit(4)", "x exited with 4: what\n  where: here"),
        ("import os; os.kill(os.getpid(), 9)", "x was killed by signal 9 (the kernel's out-of-memory killer sends 9)"),
    ],
)
def test_the_error_names_the_end_and_the_last_words(code, told, tmp_path):
    done, log = launched(tmp_path, code, env={})
    error = exited("x", done, log, "mend it")
    assert error.what.startswith(told)
    assert (error.where, error.fix) == (f"log: {log}", "mend it")


def test_own_errors_are_those_of_the_last_program(tmp_path):
    log = tmp_path / "x.log"
    log.write_text(f"$ a\n{REFUSED}\n$ b\nerror: first\n  next:  one\nbetween\n{REFUSED}\nbehind\n", encoding="utf-8")
    assert own_errors(log) == [("first\n  next:  one", ""), (REFUSED.removeprefix("error: "), "")]
    assert exited("x", Finished(1, 0, 0), log, "mend it").what == "x exited with 1: first\n  next:  one"


def test_ctrl_c_is_told_with_its_place_and_the_next_step(tmp_path):
    with pytest.raises(Interrupted) as caught, interruptible("sft", tmp_path, "go on"):
        raise KeyboardInterrupt
    assert (caught.value.what, caught.value.where, caught.value.fix) == ("sft was interrupted", str(tmp_path), "go on")
