"""Ended means gone: ranks in sessions of their own, on every way out; and a folder with a living rank is in use."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import ranks
from patience import impatient  # noqa: F401  (a fixture)
from processes import end, guards_of

from alphaf_orch.core import processes
from alphaf_orch.core.command import child_env, run_logged
from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.lock import held

pytestmark = pytest.mark.usefixtures("impatient")
REPO = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    yield tmp_path
    ranks.kill(tmp_path)


def run(folder, code, on_poll=lambda: None):
    with held(folder / ".lock", "the run r") as lock_fd:
        return run_logged(
            (sys.executable, "-c", code),
            env=child_env({}, online=False),
            log=folder / "s.log",
            lock_fd=lock_fd,
            on_poll=on_poll,
        )


def interrupt_once_up(folder, count=2):
    def look():
        if len(ranks.up(folder)) >= count:
            raise KeyboardInterrupt

    return look


@pytest.mark.parametrize("then", ["", "sys.exit(3)", "import os; os.kill(os.getpid(), 9)"])
def test_a_launcher_that_ended_leaves_no_rank(then, folder):
    done = run(folder, ranks.launcher(folder, then=then))
    assert done.exit_code == {"": 0, "sys.exit(3)": 3}.get(then, -9)
    assert len(ranks.up(folder)) == 2
    assert ranks.alive(folder) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, RuntimeError])
def test_any_exception_leaves_no_rank(error, folder):
    def look():
        if len(ranks.up(folder)) == 2:
            raise error("while it ran")

    with pytest.raises(error):
        run(folder, ranks.launcher(folder), look)
    assert ranks.alive(folder) == []


def test_what_ends_by_itself_is_not_killed(folder):
    """A tracker's helper sends its last lines after its program has ended."""
    helper = f"import time; time.sleep(0.3); open({str(folder / 'last words')!r}, 'w').write('x')"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {helper!r}], start_new_session=True)"
    assert run(folder, code).exit_code == 0
    assert (folder / "last words").is_file()


def test_children_with_another_environment_are_ended_too(folder):
    code = ranks.launcher(folder, ranks=1).replace("start_new_session", "env={}, start_new_session")
    with pytest.raises(KeyboardInterrupt):
        run(folder, code, interrupt_once_up(folder, 1))
    assert ranks.alive(folder) == []


def test_one_launch_ends_its_own_processes_only(folder):
    mine, theirs = folder / "mine", folder / "theirs"
    mine.mkdir()
    theirs.mkdir()
    other = subprocess.Popen(
        [sys.executable, "-c", ranks.launcher(theirs)], env={**os.environ, processes.new_mark(): ""}
    )
    try:
        assert run(mine, ranks.launcher(mine, then="")).exit_code == 0
        while len(ranks.up(theirs)) < 2:
            time.sleep(0.05)
        assert len(ranks.alive(theirs)) == 2
    finally:
        other.kill()
        other.wait()
        ranks.kill(theirs)


def test_a_folder_with_a_living_rank_is_in_use_and_says_by_whom(folder):
    log = (folder / "out").open("wb")
    with held(folder / ".lock", "the run r"):
        launcher = subprocess.Popen(
            [sys.executable, "-c", ranks.launcher(folder, ranks=1)],
            env={**child_env({}, online=False), **processes.inherited_marks()},
            stdout=log,
        )
        while not ranks.up(folder):
            time.sleep(0.05)
    launcher.kill()
    launcher.wait()
    log.close()
    (rank,) = ranks.alive(folder)
    with pytest.raises(RunStateError) as refused, held(folder / ".lock", "the run r"):
        pass
    assert refused.value.what.startswith(f"the run r is in use (by process {rank}: ")
    assert "deaf" in refused.value.what
    assert f"kill {rank}" in refused.value.fix
    with held(folder / "other" / ".lock", "another run"):
        pass
    ranks.kill(folder)
    with held(folder / ".lock", "the run r"):
        pass


def test_the_mark_of_an_outer_run_is_handed_on_and_makes_no_inner_one_busy(folder):
    outer, inner = folder / "outer" / ".lock", folder / "inner" / ".lock"
    code = (
        "import sys, time; from pathlib import Path; from alphaf_orch.core.lock import held\n"
        "from alphaf_orch.core.processes import living, mark_of\n"
        "outer, inner = map(Path, sys.argv[1:])\n"
        "with held(inner, 'the arm'):\n"
        "    print(len(living(mark_of(outer))), len(living(mark_of(inner))))"
    )
    with held(outer, "the experiment"):
        env = {**os.environ, "PYTHONPATH": str(REPO)}
        done = subprocess.run(
            [sys.executable, "-c", code, str(outer), str(inner)], env=env, capture_output=True, text=True, check=True
        )
    assert done.stdout.split() == ["0", "0"]
    assert not any(name.startswith("_ALPHAF_") for name in os.environ)


def alphaf_like(folder, code):
    """Start a program that runs `code` as `alphaf` would, with its handlers for signals."""
    program = (
        "import signal, sys\nfrom pathlib import Path\n"
        "from alphaf_orch.core import command, signals\n"
        "from alphaf_orch.core.command import child_env, run_logged\nfrom alphaf_orch.core.lock import held\n"
        "signals.working()\n"
        "folder = Path(sys.argv[1])\n"
        "try:\n"
        "    with held(folder / '.lock', 'the run r') as fd:\n"
        "        run_logged((sys.executable, '-c', sys.argv[2]), env=child_env({}, online=False),\n"
        "                   log=folder / 's.log', lock_fd=fd, on_poll=lambda: None)\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", program, str(folder), code], env={**os.environ, "PYTHONPATH": str(REPO)}
    )
    end = time.monotonic() + 30
    while len(ranks.up(folder)) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    return started


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_kills_at_once_and_still_leaves_nothing(number, folder):
    """The launcher and its ranks ignore all that can be ignored: without the second one it would take a minute."""
    deaf = "import signal\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\n"
    process = alphaf_like(folder, deaf + ranks.launcher(folder))
    process.send_signal(number)
    time.sleep(1)
    assert process.poll() is None
    assert len(ranks.alive(folder)) == 2
    started = time.monotonic()
    process.send_signal(number)
    assert process.wait(timeout=30) == 130
    assert time.monotonic() - started < 10
    assert ranks.alive(folder) == []
    assert processes.living(processes.mark_of(folder / ".lock")) == []


def test_two_signals_in_one_moment_leave_nothing(folder):
    process = alphaf_like(folder, ranks.launcher(folder))
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 130
    assert ranks.alive(folder) == []


def test_a_killed_alphaf_leaves_the_folder_in_use_until_the_last_rank_is_gone(folder):
    process = alphaf_like(folder, ranks.launcher(folder, then="time.sleep(0.5)"))
    end(guards_of(process.pid))  # as a power cut of all but the ranks
    process.kill()
    process.wait()
    assert len(ranks.alive(folder)) == 2
    with pytest.raises(RunStateError, match=r"in use \(by process"), held(folder / ".lock", "the run r"):
        pass
    ranks.kill(folder)
    with held(folder / ".lock", "the run r"):
        pass


def test_a_process_that_cannot_be_ended_is_named(folder, monkeypatch):
    """As of one that hangs in a driver: here the signals do not get through."""
    monkeypatch.setattr(processes, "send", lambda pid, number: None)
    monkeypatch.setattr(processes, "_LEFT_BEHIND", ((signal.SIGKILL, 0.5),))
    with pytest.raises(RunStateError, match=r"not even SIGKILL ends process \d+: "):
        run(folder, ranks.launcher(folder, ranks=1, then=""))


def test_a_second_ctrl_c_ends_the_arms_of_an_experiment_at_once(folder):
    """Arms run in threads, which no signal reaches."""
    hurry = threading.Event()
    threading.Timer(2.5, hurry.set).start()
    deaf = "import signal\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\n"
    started = time.monotonic()
    with held(folder / ".lock", "the experiment") as lock_fd:

        def work():
            with pytest.raises(KeyboardInterrupt):
                run_logged(
                    (sys.executable, "-c", deaf + ranks.launcher(folder)),
                    env=child_env({}, online=False),
                    log=folder / "s.log",
                    lock_fd=lock_fd,
                    on_poll=interrupt_once_up(folder),
                    patience=30,
                    hurry=hurry,
                )

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(timeout=20)
    assert time.monotonic() - started < 15
    assert ranks.alive(folder) == []
