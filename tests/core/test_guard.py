"""A killed `alphaf` leaves nothing behind: its watchdog asks what it started to end, and kills what does not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import processes
import pytest
import ranks
from processes import until

from alphaf_orch.core import guard
from alphaf_orch.core.lock import held
from alphaf_orch.core.processes import living, mark_of
from alphaf_orch.programs.guard import KILLED_S

REPO = Path(__file__).parents[2]
ASKED_S = 1.0
assert guard.ASKED_S + KILLED_S < 10
# Holds a lock and runs a program, as `alphaf` does.
ALPHAF = """
import sys
from pathlib import Path
from alphaf_orch.core.command import child_env, run_logged
from alphaf_orch.core.lock import held
from alphaf_orch.core import guard
guard.ASKED_S = float(sys.argv[3])
folder = Path(sys.argv[1])
with held(folder / ".lock", "the run r") as fd:
    run_logged((sys.executable, "-c", sys.argv[2]), env=child_env({}, online=False), log=folder / "s.log", lock_fd=fd,
               on_poll=lambda: None)
"""
# A rank that hides as well as it can: no parent, no session, no environment of ours, and deaf.
HIDDEN = """
import os, subprocess, sys, time
folder = sys.argv[1]
deaf = "import os, signal, sys, time\\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\\n"
deaf += "open(f'{sys.argv[1]}/{os.getpid()}.rank', 'w').close(); time.sleep(120)"
middle = "import os, subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1], sys.argv[2]], env={},"
middle += "start_new_session=True)"
kept = {} if sys.argv[2:] else {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
subprocess.Popen([sys.executable, "-c", middle, deaf, folder], env={}, start_new_session=True, **kept).wait()
"""


@pytest.fixture
def folder(tmp_path):
    yield tmp_path
    ranks.kill(tmp_path)


def start(folder, code, *, up, asked_s=ASKED_S):
    process = subprocess.Popen(
        [sys.executable, "-c", ALPHAF, str(folder), code, str(asked_s)], env={**os.environ, "PYTHONPATH": str(REPO)}
    )
    until(lambda: up() or process.poll() is not None)
    assert process.poll() is None
    return process


def kill(process):
    process.kill()
    process.wait()


def test_a_killed_alphaf_leaves_no_rank_however_deaf_and_no_watchdog(folder):
    process = start(folder, ranks.launcher(folder), up=lambda: len(ranks.up(folder)) == 2)
    (watchdog,) = processes.guards_of(process.pid)
    assert os.getpgid(watchdog) == os.getsid(watchdog) == watchdog != process.pid, "no signal to a group reaches it"
    assert living(mark_of(folder / ".lock"), ()) and watchdog not in {p.pid for p in living(mark_of(folder / ".lock"))}
    os.kill(watchdog, signal.SIGTERM)
    kill(process)
    killed = time.monotonic()
    until(lambda: not ranks.alive(folder) and not processes.living([watchdog]), ASKED_S + KILLED_S + 10)
    assert time.monotonic() - killed > ASKED_S, "they are given time"


def test_what_hears_is_asked_first(folder):
    polite = (
        "import signal, sys, time\n"
        f"def stop(*_): open({str(folder / 'asked')!r}, 'w').close(); sys.exit()\n"
        "signal.signal(signal.SIGINT, stop)\n"
        f"open({str(folder / 'up')!r}, 'w').close(); time.sleep(120)"
    )
    process = start(folder, polite, up=(folder / "up").exists, asked_s=20)
    watchdogs = processes.guards_of(process.pid)
    kill(process)
    until((folder / "asked").exists, 15)
    until(lambda: not processes.living(watchdogs), 15)


@pytest.mark.parametrize("stays", ["family", "output"])
def test_a_rank_without_parent_session_and_environment_is_found(stays, folder):
    """By who was its parent when it was seen, or by the log that it writes to."""
    code = f"import sys; sys.argv[1:] = [{str(folder)!r}{', 1' if stays == 'output' else ''}]\n".replace(", 1", ", '1'")
    if stays == "family":  # the parent stays until it was looked at
        code += HIDDEN.replace('start_new_session=True)"', 'start_new_session=True); import time; time.sleep(1.5)"')
    else:
        code += HIDDEN
    process = start(folder, code + "\ntime.sleep(120)", up=lambda: ranks.up(folder))
    if stays == "family":
        until(lambda: _orphan(ranks.up(folder)[0]))
    assert len(ranks.alive(folder)) == 1
    kill(process)
    until(lambda: not ranks.alive(folder), ASKED_S + KILLED_S + 10)


def _orphan(pid):
    parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    return b"subprocess" not in Path(f"/proc/{parent}/cmdline").read_bytes()


def test_the_next_call_waits_for_the_watchdog_and_goes_on(folder, capsys):
    process = start(folder, ranks.launcher(folder), up=lambda: len(ranks.up(folder)) == 2)
    kill(process)
    with held(folder / ".lock", "the run r"):
        assert ranks.alive(folder) == []
    assert "the run r: alphaf was killed; waits until what is left of it is ended" in capsys.readouterr().err


def test_a_watchdog_that_was_killed_is_started_again_with_the_next_mark(folder):
    def mine():
        return set(processes.living(processes.guards_of(os.getpid())))

    with guard.guarded("_ALPHAF_LAUNCH_first"):
        first = mine()
        processes.end(first)
        with guard.guarded("_ALPHAF_LAUNCH_second"):
            until(lambda: mine() - first)
            assert len(mine()) == 1


def test_it_costs_next_to_nothing(folder):
    process = start(folder, ranks.launcher(folder), up=lambda: len(ranks.up(folder)) == 2)
    (watchdog,) = processes.guards_of(process.pid)
    fields = Path(f"/proc/{watchdog}/stat").read_text().rpartition(")")[2].split()
    assert (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") < 0.3  # seconds of CPU, under load too
    processes.end([watchdog])
    kill(process)
