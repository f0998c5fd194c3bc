"""Code of a launcher whose ranks are as hard to end as real ones: a session of their own, nothing inherited open.

torch's elastic agent starts its workers like that. Each rank writes its number into the folder; `deaf` ones ignore
Ctrl-C and SIGTERM.
"""

from pathlib import Path

import processes

RANK = """
import os, signal, sys, time
from pathlib import Path
folder, deaf = Path(sys.argv[1]), sys.argv[2] == "deaf"
if deaf:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
(folder / f"{os.getpid()}.rank").write_text("x")
time.sleep(120)
"""


def launcher(folder: Path, *, ranks: int = 2, deaf: bool = True, then: str = "time.sleep(120)") -> str:
    """Return python code that starts ranks, waits until they are there, and then does `then`."""
    return f"""
import os, subprocess, sys, time
from pathlib import Path
folder = Path({str(folder)!r})
(folder / f"{{os.getpid()}}.launcher").write_text("x")
before = len(list(folder.glob("*.rank")))
for _ in range({ranks}):
    subprocess.Popen(
        [sys.executable, "-c", {RANK!r}, str(folder), {"deaf" if deaf else "hears"!r}],
        start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
while len(list(folder.glob("*.rank"))) < before + {ranks}:
    time.sleep(0.05)
print("ranks are up", flush=True)
{then}
"""


def up(folder: Path) -> list[int]:
    """Return the numbers of all ranks that were ever started."""
    return [int(path.stem) for path in folder.glob("*.rank")]


def alive(folder: Path) -> list[int]:
    """Return the ranks that still live; zombies have ended."""
    return processes.living(up(folder))


def kill(folder: Path) -> None:
    """End what a test left running: the ranks, and the launchers, which may be on their way out still."""
    processes.end([int(path.stem) for kind in ("launcher", "rank") for path in folder.glob(f"*.{kind}")])
