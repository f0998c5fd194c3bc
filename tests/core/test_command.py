"""The one door to other processes, tried with real ones."""

import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from alphaf_orch.core import patience
from alphaf_orch.core.command import Answer, answer, capture, child_env, probes, run_logged
from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.paths import PACKAGE, PROGRAMS


def run(code, tmp_path, **kwargs):
    lock = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    try:
        return run_logged(
            (sys.executable, "-c", code),
            env=child_env({}, online=False),
            log=tmp_path / "로그 파일.log",
            lock_fd=lock,
            on_poll=kwargs.pop("on_poll", lambda: None),
        )
    finally:
        os.close(lock)


def test_only_command_py_starts_processes():
    users = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if PROGRAMS not in path.parents
        and re.search(r"import subprocess|from subprocess|os\.system|os\.exec|os\.popen|Popen", path.read_text("utf-8"))
    ]
    assert users == ["core/command.py"]


def test_the_log_has_the_command_and_all_output(tmp_path):
    done = run("import sys; print('나가는 말'); print('탈', file=sys.stderr)", tmp_path)
    text = (tmp_path / "로그 파일.log").read_text(encoding="utf-8")
    assert done.exit_code == 0
    assert text.startswith("$ ")
    assert "나가는 말" in text
    assert "탈" in text


def test_a_pipe_in_the_place_of_the_log_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "로그 파일.log")
    with pytest.raises(RunStateError, match="it is a pipe"):
        run("", tmp_path)


def test_a_short_command_that_hangs_has_a_code_of_its_own():
    assert capture((sys.executable, "-c", "import time; time.sleep(60)"), timeout=0.2) == (124, "")
    assert capture(("/no/such/program",)) == (127, "")


def test_an_answer_has_both_streams_whatever_bytes_they_are():
    code = "import os; os.write(1, b'out \\xff'); os.write(2, b'no \\xea\\xb0\\x80'); os._exit(3)"
    assert answer((sys.executable, "-c", code)) == Answer(3, "out \ufffd", "no 가")
    assert answer(("/no/such/program",)).exit_code == 127
    assert answer((sys.executable, "-c", "import time; time.sleep(60)"), timeout=0.2).exit_code is None


def test_probes_run_side_by_side_and_end_in_their_time(tmp_path):
    words = (
        "print('말', flush=True); import sys; print('탈', file=sys.stderr); sys.exit(3)",
        "import time; time.sleep(60)",
    )
    argvs = [(sys.executable, "-c", word) for word in words]
    begun = time.monotonic()
    first, second, third = probes([*argvs, ("/no/such/program",)], dict(os.environ), 1.0)
    assert (first.exit_code, first.output) == (3, "말\n탈\n")
    assert (second.exit_code, third.exit_code) == (None, 127)
    assert time.monotonic() - begun < 10


def test_the_exit_code_is_the_child_s(tmp_path):
    assert run("raise SystemExit(8)", tmp_path).exit_code == 8


def test_a_signal_is_a_negative_code(tmp_path):
    assert run("import os; os.kill(os.getpid(), 9)", tmp_path).exit_code == -9


def test_peak_memory_is_that_of_the_largest_process(tmp_path):
    done = run("x = bytearray(300 << 20)", tmp_path)
    # Linux counts the moment before exec too, when the child still is a copy of its parent: a lower bound.
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    assert 300 <= done.peak_memory_mib < max(500, ours + 50)


def test_much_output_does_not_block(tmp_path):
    assert run("print('x' * 20_000_000)", tmp_path).exit_code == 0
    assert (tmp_path / "로그 파일.log").stat().st_size > 20_000_000


def test_an_interrupt_ends_the_whole_group_and_goes_on_upwards(tmp_path):
    child_pid = tmp_path / "pid"
    code = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(child_pid)!r}, 'w').write(str(p.pid))\n"
        "time.sleep(60)"
    )

    def interrupt_once_running():
        if child_pid.is_file() and child_pid.read_text():
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(code, tmp_path, on_poll=interrupt_once_running)
    assert time.monotonic() - started < 15
    assert not Path(f"/proc/{child_pid.read_text()}").exists() or _is_zombie(int(child_pid.read_text()))


def _is_zombie(pid):
    return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()


def test_a_child_that_ignores_the_interrupt_is_killed_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(patience, "ESCALATION", dict.fromkeys(patience.ESCALATION, 0.5))
    code = (
        "import signal, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('ready', flush=True); time.sleep(60)"
    )
    log = tmp_path / "로그 파일.log"

    def interrupt_once_running():
        if "ready" in log.read_text().splitlines():
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(code, tmp_path, on_poll=interrupt_once_running)
    assert time.monotonic() - started < 10


def test_children_are_offline_quiet_and_free_of_accelerate_s_hidden_options(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    env = child_env({"PYTHONPATH": "/ours"}, online=False)
    assert "ACCELERATE_MIXED_PRECISION" not in env
    assert env["PYTHONPATH"] == "/ours:/theirs"
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "AXOLOTL_DO_NOT_TRACK", "DO_NOT_TRACK"):
        assert env[name] == "1"
    assert env["UNSLOTH_DISABLE_STATISTICS"] == "1"


def test_a_child_takes_part_in_no_training_that_alphaf_was_started_in(monkeypatch):
    """Of a pod of several machines: a tool that sees WORLD_SIZE waits for ranks that nobody starts."""
    numbered = (
        "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_RANK",
        "ROLE_WORLD_SIZE", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "PET_NNODES", "PET_NODE_RANK",
        "TORCHELASTIC_RUN_ID", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE",
    )  # fmt: skip
    kept = ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "NCCL_IB_HCA", "UCX_NET_DEVICES", "SLURM_JOB_ID", "FI_PROVIDER")
    for name in (*numbered, *kept):
        monkeypatch.setenv(name, "1")
    env = child_env({}, online=False)
    assert not set(numbered) & env.keys()
    assert set(kept) <= env.keys()
    assert env["DS_IGNORE_CUDA_DETECTION"] == "1"


def test_online_switches_the_hub_on_and_telemetry_stays_off():
    env = child_env({}, online=True)
    assert "HF_HUB_OFFLINE" not in env
    assert env["HF_HUB_DISABLE_TELEMETRY"] == "1"


def test_a_missing_program_is_127():
    assert capture(("/no/such/program",)) == (127, "")


def test_sigterm_reaches_a_program_that_has_the_terminal():
    """As of `alphaf chat`: Ctrl-C the terminal sends to both, SIGTERM comes to `alphaf` alone."""
    code = (
        "import os, signal, sys, threading; from alphaf_orch.core.command import interactive\n"
        "threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM)).start()\n"
        "print(interactive((sys.executable, '-c', 'import time; time.sleep(60)'), dict(os.environ)))"
    )
    env = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=30)
    assert done.stdout == "-15\n"


def test_a_program_that_has_the_terminal_says_its_errors_in_the_readers_language(tmp_path):
    says = tmp_path / "says.py"
    says.write_text("import sys\nprint('> ')\nprint('the tokenizer has no chat template', file=sys.stderr)\n", "utf-8")
    code = "import os, sys; from alphaf_orch.core.command import interactive as talk\n"
    code += f"print(talk((sys.executable, {str(says)!r}), dict(os.environ)))"
    env = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "ALPHAF_LANG": "ko"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=30)
    assert sorted(done.stdout.split()) == ["0", ">"]
    assert done.stderr == "토크나이저에 대화 템플릿이 없습니다\n"


def test_sigterm_to_alphaf_is_an_interrupt(tmp_path):
    from alphaf_orch.core import signals

    signals.working()
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    with pytest.raises(KeyboardInterrupt):
        run("import time; time.sleep(60)", tmp_path)
