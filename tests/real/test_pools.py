"""A pool of processes of which one is killed: `datasets` says so, and the program ends."""

import os
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]

KILLED = """
import os, signal, time
from multiprocess.pool import Pool
from alphaf_orch.programs.training import pools

if __name__ == "__main__":
    pools.WAIT_S = 1.0
    pools.let_pools_end()
    with Pool(2) as pool:
        pool.map(abs, [1, 2])
        for process in pool._pool:  # one of them holds the lock of what there is to do
            os.kill(process.pid, signal.SIGKILL)
        raise RuntimeError("One of the subprocesses has abruptly died during map operation.")
"""


def test_a_killed_process_of_a_pool_is_told_and_the_program_ends(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(KILLED, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    done = subprocess.run(
        [sys.executable, str(script)], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.endswith("RuntimeError: One of the subprocesses has abruptly died during map operation.\n")
