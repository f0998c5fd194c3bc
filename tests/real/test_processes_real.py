"""The ranks of a real launcher end with the command that started it."""

import re
import sys

import pytest
import ranks
from patience import impatient  # noqa: F401  (a fixture)

from alphaf_orch.core.command import child_env, run_logged
from alphaf_orch.core.lock import held

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture
def folder(tmp_path):
    yield tmp_path
    ranks.kill(tmp_path)


def interrupt_once_up(folder, count=2):
    def look():
        if len(ranks.up(folder)) >= count:
            raise KeyboardInterrupt

    return look


def test_ranks_of_accelerate_are_gone_too(folder):
    """The real launcher of several ranks: each is in a session of its own, and has no descriptor of ours."""
    script = folder / "rank.py"
    script.write_text(
        "import os, signal, sys, time\n"
        "for n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\n"
        f"open(os.path.join({str(folder)!r}, f'{{os.getpid()}}.rank'), 'w').write(str(os.getsid(0)))\n"
        "time.sleep(300)\n"
    )
    (folder / "accelerate.yaml").write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\nnum_processes: 2\nnum_machines: 1\n"
        "machine_rank: 0\nmixed_precision: 'no'\nuse_cpu: false\ndebug: false\n"
    )
    argv = (
        sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch",
        "--config_file", str(folder / "accelerate.yaml"), "--num_processes", "2", "--num_machines", "1",
        "--machine_rank", "0", "--mixed_precision", "no", "--dynamo_backend", "no",
        "--num_cpu_threads_per_process", "1", "--multi_gpu", "--gpu_ids", "all", "--rdzv_backend", "static",
        "--same_network", "--main_process_ip", "127.0.0.1", "--main_process_port", "0", str(script),
    )  # fmt: skip
    with pytest.raises(KeyboardInterrupt), held(folder / ".lock", "the run r") as lock_fd:
        run_logged(
            argv,
            env=child_env({}, online=False),
            log=folder / "s.log",
            lock_fd=lock_fd,
            on_poll=interrupt_once_up(folder),
        )
    sessions = {path.read_text() for path in folder.glob("*.rank")}
    assert sessions == {str(pid) for pid in ranks.up(folder)}, "each rank leads a session"
    assert ranks.alive(folder) == []
    assert re.search(r"accelerate", (folder / "s.log").read_text())
