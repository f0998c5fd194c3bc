"""The reading and checking of training rows: rows a second and memory, from 10,000 to 1,000,000 rows of chat.

The rows are made in a temporary folder, of the length that chat rows have (540 bytes), each with texts of its own. Peak
memory is the proportional size of all processes together, looked at 50 times a second.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from figures import REPO, arguments, machine, publish

SIZES = (10_000, 100_000, 1_000_000)
LOOK_S = 0.02
CHECK = "import sys; from alphaf_orch.inputs.data import check_file; print(check_file(sys.argv[1], 'chat').rows)"
ANSWER = (
    "예금금리는 기준금리를 따라 움직입니다. 기준금리가 {0}.25%p 오르면, 은행은 예금금리를 올립니다.\n\n"
    "- 첫째, 시장금리가 “먼저” 움직입니다.\n- 둘째, 은행의 조달 비용이 바뀝니다. {1}번째 설명입니다."
)


def rows(count: int) -> Iterator[str]:
    """Yield lines of chat rows, each of 540 bytes or so."""
    for n in range(count):
        turns = (
            ("system", "당신은 금융 상담원입니다."),
            ("user", f"질문 {n}: 기준금리와 예금금리의 관계는 무엇인가요? 3.5% 금리로 설명해 주세요."),
            ("assistant", ANSWER.format(n % 7, n)),
        )
        messages = [{"role": role, "content": content} for role, content in turns]
        yield json.dumps({"messages": messages}, ensure_ascii=False) + "\n"


def family(pid: int) -> list[int]:
    """Return the process and all that it started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in family(int(child)))]


def proportional_kib(pid: int) -> int:
    """Return the memory of a process, of shared pages its share; 0 where it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def measure(file: Path, cache: Path, cores: set[int]) -> tuple[float, float, int]:
    """Return seconds on the clock, seconds of processors, and peak MiB of all processes of one check."""
    env = {**os.environ, "PYTHONPATH": str(REPO), "ALPHAF_CACHE": str(cache)}
    begun, peak = time.monotonic(), 0
    process = subprocess.Popen(
        [sys.executable, "-c", CHECK, str(file)], env=env, preexec_fn=lambda: os.sched_setaffinity(0, cores)
    )
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            break
        peak = max(peak, sum(map(proportional_kib, family(process.pid))))
        time.sleep(LOOK_S)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the check ended with {process.returncode}")
    return time.monotonic() - begun, usage.ru_utime + usage.ru_stime, peak // 1024


def main() -> None:
    """Measure each size on two cores, and on one."""
    parser = arguments(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="ROWS")
    options = parser.parse_args()
    about = machine("orjson")
    mine = sorted(os.sched_getaffinity(0))
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for count in options.sizes:
            file = Path(folder, f"{count}.jsonl")
            with file.open("w", encoding="utf-8") as lines:
                lines.writelines(rows(count))
            for cores in (2, 1):
                seconds, cpu, peak = measure(file, Path(folder, f"cache {count} {cores}"), set(mine[:cores]))
                found.append({
                    "rows": count, "MB": round(file.stat().st_size / 1e6), "cores": cores, "seconds": round(seconds, 2),
                    "cpu_seconds": round(cpu, 2), "rows_per_s": round(count / seconds), "peak_mib": peak,
                })  # fmt: skip
    publish("data_check", found, about, options.json)


if __name__ == "__main__":
    main()
