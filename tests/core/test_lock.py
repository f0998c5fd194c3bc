"""Two calls, two machines, one folder: who has it is told, the living are left alone and the dead are taken over from.

The other machine is a process that calls itself otherwise; where the disk keeps flock to a machine, flock is left out.
"""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import processes
import pytest
from processes import until

from alphaf_orch.core import heart, holder, lock
from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.holder import Holder, holder_of, myself, read_holder
from alphaf_orch.core.lock import held, waited
from alphaf_orch.core.spoken import spoken

REPO = Path(__file__).parents[2]
HOLDS = """
import sys, time
from pathlib import Path
from alphaf_orch.core import heart, holder, lock, signals
host, flock, path, heed = sys.argv[1:]
if host: holder._host = lambda: host
if flock == "no": lock._flocked = lambda _: True
heart.BEAT_S = 0.2
signals.working()
try:
    with lock.held(Path(path), "the run r", heed=Path(path).with_name(".stop") if heed else None):
        print("held", flush=True)
        time.sleep(120)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "공유" / ".lock"


@pytest.fixture
def other():
    """Return a function that starts a process which holds the lock, on a machine of that name."""
    started = []

    def start(path, host="", *, flock="no", env=(), heed=""):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDS, host, flock, str(path), heed],
            env={**os.environ, "PYTHONPATH": str(REPO), **dict(env)}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def no_flock(monkeypatch):
    monkeypatch.setattr(lock, "_flocked", lambda _: True)
    monkeypatch.setattr(lock, "_LOOK_S", 0.1)


def refusal(path):
    with pytest.raises(RunStateError) as refused, held(path, "the run r"):
        pass
    return refused.value


def test_the_message_says_who_where_and_since_when(path, other):
    process = other(path, flock="yes", env={"SLURM_JOB_ID": "4711"}.items())
    error = refusal(path)
    since = holder_of(path).since
    assert error.what.startswith(f"the run r is in use (by process {process.pid}: {sys.executable} -c ")
    assert error.what.endswith(f", on host {os.uname().nodename}, Slurm job 4711, since {since})")
    assert f"kill {process.pid}" in error.fix


@pytest.mark.parametrize("job", ["", "Slurm job 17", "LSF job 3"])
def test_who_holds_it_is_said_whole_in_korean_and_his_command_as_it_is(job, monkeypatch):
    monkeypatch.setenv("ALPHAF_LANG", "ko")
    there = Holder(7, "gpu-3", "b", "s", 1, job, "2026-11-27T10:00:00+09:00")
    said = job.replace("job", "작업") + ", " if job else ""
    assert spoken(str(there)) == f"프로세스 7, 장비 gpu-3, {said}2026-11-27T10:00:00+09:00부터"
    assert spoken(f"the run r is in use (by {there})") == f"실행 r이 사용 중입니다({spoken(str(there))})"
    monkeypatch.setattr(Holder, "is_here", lambda _: True)
    monkeypatch.setattr(holder, "command", lambda _: "alphaf run --run 실험 --quiet")
    assert spoken(str(there)).startswith("프로세스 7: alphaf run --run 실험 --quiet, 장비 gpu-3, ")
    assert spoken(f"the run r is in use (by {there})") == f"실행 r이 사용 중입니다({spoken(str(there))})"


def test_a_living_holder_on_another_machine_is_never_robbed(path, other, no_flock, monkeypatch, capsys):
    process = other(path, "다른-기계")
    monkeypatch.setattr(lock, "SILENT_S", 5.0)
    error = refusal(path)
    assert f"in use (by process {process.pid}, on host 다른-기계, since " in error.what
    assert "kill" not in error.fix, "that number is of another machine"
    assert "waits to see whether it lives" in capsys.readouterr().err
    assert process.poll() is None
    assert holder_of(path).host == "다른-기계"


def test_a_dead_one_on_another_machine_is_taken_over_from_after_its_time(path, other, no_flock, monkeypatch):
    process = other(path, "다른-기계")
    process.kill()
    process.wait()
    monkeypatch.setattr(holder, "SILENT_S", 1.0)
    monkeypatch.setattr(lock, "SILENT_S", 1.0)
    with held(path, "the run r"):
        assert holder_of(path).pid == os.getpid()
    assert path.read_bytes() == b""


def test_the_file_server_s_clock_counts_not_ours(path, no_flock, monkeypatch):
    """A lock touched a minute before a file that is made now is a minute old, whatever the time here."""
    path.parent.mkdir()
    path.write_bytes(Holder(1, "다른-기계", "b", "s", 1).written())
    monkeypatch.setattr(time, "time", lambda: 0.0)
    now = path.stat().st_mtime
    os.utime(path, (now - holder.SILENT_S - 1,) * 2)
    with held(path, "the run r"):
        pass
    path.write_bytes(Holder(1, "다른-기계", "b", "s", 1).written())
    monkeypatch.setattr(time, "time", lambda: now + 10_000)
    with lock._tried(path) as got:
        assert got.lives is None and got.silent_s < 30


def test_here_a_dead_process_frees_it_at_once_and_a_living_one_holds_it_without_flock(path, other, no_flock):
    process = other(path)
    assert f"by process {process.pid}: " in refusal(path).what
    process.kill()
    process.wait()
    with held(path, "the run r"):
        pass


def test_a_number_that_was_given_again_is_not_the_holder(path, no_flock):
    path.parent.mkdir()
    me = myself()
    path.write_bytes(Holder(**{**vars(me), "born": me.born - 1}).written())
    with held(path, "the run r"):
        pass


def test_a_reboot_frees_it_and_a_namesake_that_lives_keeps_it(path, no_flock):
    """Two containers may have one name: a sign of life since this machine was started is another one's."""
    path.parent.mkdir()
    before = Holder(**{**vars(myself()), "boot": "another"})
    path.write_bytes(before.written())
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    os.utime(path, (boot - 5,) * 2)
    with held(path, "the run r"):
        pass
    assert before.lives(time.clock_gettime(time.CLOCK_BOOTTIME) + 5) is False
    assert before.lives(10.0) is None


def test_a_lock_of_an_earlier_version_holds_a_number_alone(path):
    path.parent.mkdir()
    path.write_text(str(os.getpid()))  # it lives, and has let go: the kernel says so
    with held(path, "the run r"):
        pass
    for odd in ("", "{", "null", '{"pid": "x"}', '{"pid": 1, "host": 3}', "\0\0\0", "[1]", "9" * 5000, "[" * 5000):
        assert read_holder(odd.encode()) is None
        path.write_text(odd)
        with held(path, "the run r"):
            pass


def test_a_file_system_without_flock_is_held_by_what_is_written(path, other, monkeypatch):
    def none(handle, how):
        raise OSError(errno.ENOSYS, "no flock here")

    monkeypatch.setattr(fcntl, "flock", none)
    process = other(path)
    assert f"by process {process.pid}: " in refusal(path).what


def test_who_was_thought_dead_stops_once_it_sees_another_in_its_place(path, other, no_flock):
    """As a machine that slept: it lost the run meanwhile, and must not write there any more."""
    process = other(path)
    path.write_bytes(Holder(1, "다른-기계", "b", "s", 1).written())
    assert process.wait(timeout=30) == 130
    assert holder_of(path).host == "다른-기계", "nor let go of what is another's"


def test_what_was_left_of_the_moment_of_taking_is_removed(path, monkeypatch):
    path.parent.mkdir()
    place = path.with_name(".lock.taking")
    monkeypatch.setattr(lock, "_TAKING_S", 0.2)
    me = myself()
    for left in (Holder(**{**vars(me), "born": me.born - 1}).written(), Holder(1, "h", "b", "s", 1).written(), b""):
        place.write_bytes(left)
        with held(path, "the run r"):
            assert not place.exists()


def test_many_at_once_take_turns_without_flock(tmp_path):
    """Of processes that begin in one moment, one holds it at a time: what each adds is not lost."""
    code = (
        "import sys, time; from pathlib import Path; from alphaf_orch.core import lock\n"
        "lock._flocked = lambda _: True\n"
        "path, count = Path(sys.argv[1]) / '.lock', Path(sys.argv[1]) / 'count'\n"
        "for _ in range(8):\n"
        "    with lock.waited(path):\n"
        "        n = int(count.read_text() or 0); time.sleep(0.002); count.write_text(str(n + 1))\n"
    )
    (tmp_path / "count").write_text("0")
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    running = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=env) for _ in range(3)]
    assert [process.wait(timeout=60) for process in running] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "24"


def test_who_waits_is_told_for_whom_and_goes_on_when_that_one_is_killed(path, other):
    process = other(path, flock="yes")
    said = []

    def say(who):
        said.append(who)
        process.send_signal(signal.SIGKILL)

    with waited(path, "run 둘", say):
        assert json.loads(path.read_text())["who"] == "run 둘"
    assert said == [""]


JOB = {"SLURM_JOB_ID": "17", "SLURM_RESTART_COUNT": "1"}


@pytest.fixture
def later_start(monkeypatch, no_flock):
    """This process is the second start of job 17; signs of life come in tenths of a second."""
    for name, value in (JOB | {"SLURM_RESTART_COUNT": "2"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(lock, "_MISSED_S", 1.0)


def test_an_earlier_start_of_this_job_that_died_with_its_machine_is_taken_over_from_at_once(path, later_start):
    path.parent.mkdir()
    path.write_bytes(Holder(1, "다른-기계", "b", "s", 1, "Slurm job 17", restart=1).written())
    os.utime(path, (path.stat().st_mtime - 5,) * 2)
    begun = time.monotonic()
    with held(path, "the run r"):
        assert holder_of(path).restart == 2
    assert time.monotonic() - begun < 1


def test_an_earlier_start_that_lives_on_is_never_robbed_but_asked_to_stop(path, other, later_start, capsys):
    """A machine that its scheduler takes for dead, and that works on."""
    process = other(path, "다른-기계", env=JOB.items(), heed="yes")
    with held(path, "the run r", heed=path.with_name(".stop")):
        assert process.wait(timeout=10) == 130, "it had ended before"
        assert holder_of(path).pid == os.getpid()
    assert "held by an earlier start of this job (process" in capsys.readouterr().err


def test_an_earlier_start_that_lives_and_does_not_listen_keeps_it(path, other, later_start, monkeypatch):
    monkeypatch.setattr(lock, "_EARLIER_S", 2.5)
    process = other(path, "다른-기계", env=JOB.items())
    assert f"in use (by process {process.pid}, on host 다른-기계, Slurm job 17" in refusal(path).what
    assert process.poll() is None


@pytest.mark.parametrize("change", [{"job": "Slurm job 18"}, {"restart": 2}, {"restart": 3}, {"job": ""}])
def test_another_job_and_a_later_start_are_waited_for_as_ever(path, later_start, change, monkeypatch):
    path.parent.mkdir()
    facts = {"job": "Slurm job 17", "restart": 1} | change
    path.write_bytes(Holder(1, "다른-기계", "b", "s", 1, **facts).written())
    os.utime(path, (path.stat().st_mtime - 5,) * 2)
    with lock._tried(path) as got:
        assert got.lives is None, "5 s of silence are none"


def test_a_holder_of_an_earlier_version_has_no_restart():
    written = json.loads(Holder(1, "h", "b", "s", 1, "Slurm job 17").written())
    del written["restart"]
    assert read_holder(json.dumps(written).encode()).restart == 0
    assert read_holder(json.dumps(written | {"restart": "1"}).encode()) is None


def test_the_thread_of_the_signs_of_life_ends_with_the_last_lock(path):
    with held(path, "the run r"), held(path.with_name("b"), "another"):
        assert heart._thread is not None
    until(lambda: heart._thread is None, 10)
    assert processes.living([os.getpid()])
