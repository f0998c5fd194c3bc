"""Who holds a lock: written into it as JSON, told in words, and whether that process still lives, wherever it is.

On this machine a process is known by its number, its birth and the boot; on another one by its sign of life: it
touches the lock every few seconds, and the file server's clock says how long ago (ours may differ).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path

from alphaf_orch.core.processes import command
from alphaf_orch.core.small_files import parse_json
from alphaf_orch.programs.guard import birth

BEAT_S = 5.0
# For so long a client of a network disk believes what it knows of a file (nfs(5), acdirmax); twelve signs of life.
SILENT_S = 60.0
_JOBS = {"SLURM_JOB_ID": "Slurm job", "PBS_JOBID": "PBS job", "LSB_JOBID": "LSF job"}


@dataclass(frozen=True)
class Holder:
    """The process that wrote itself into a lock; an earlier version wrote its number alone."""

    pid: int
    host: str = ""
    boot: str = ""
    space: str = ""  # of process numbers: containers of one machine have their own
    born: int = 0
    job: str = ""
    since: str = ""
    who: str = ""
    restart: int = 0  # how often its job was sent back to the queue before

    def is_here(self) -> bool:
        """Return whether its number means something here: the same machine, the same boot, the same container."""
        return not self.host or (self.host, self.boot, self.space) == (_host(), _boot(), _space())

    def lives(self, silent_s: float) -> bool | None:
        """Return whether it lives; None where it gives signs of life elsewhere and the last may have been the last.

        `silent_s` is the age of its last one.
        """
        if not self.host:
            return None if birth(self.pid) else False  # the number may be another one's by now, or of elsewhere
        if self.is_here():
            return birth(self.pid) == self.born
        if self.host == _host() and self.boot != _boot() and silent_s > time.clock_gettime(time.CLOCK_BOOTTIME):
            return False  # this machine was started since
        return None if silent_s <= SILENT_S else False

    def is_earlier_start(self, later: Holder) -> bool:
        """Return whether the scheduler gave this one's job to the other one, having sent it back to the queue."""
        return bool(later.job) and self.job == later.job and self.restart < later.restart

    def __str__(self) -> str:
        called = " ".join(command(self.pid).split()) if self.is_here() else ""  # on one line
        job = f", {self.job}" if self.job else ""
        since = f", since {self.since}" if self.since else ""
        if not self.host:
            return f"process {self.pid}: {called}" if called else f"process {self.pid}"
        if called:
            return f"process {self.pid}: {called}, on host {self.host}{job}{since}"
        return f"process {self.pid}, on host {self.host}{job}{since}"

    def written(self) -> bytes:
        """Return what stands in the lock."""
        return json.dumps(asdict(self), ensure_ascii=False).encode() + b"\n"


def myself(who: str = "") -> Holder:
    """Return this process as a holder; `who` is what others may call it."""
    pid = os.getpid()
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    return Holder(pid, _host(), _boot(), _space(), birth(pid), job_of(os.environ), since, who, restart_of(os.environ))


def read_holder(text: bytes) -> Holder | None:
    """Return who wrote himself into a lock; None where nobody did, or half of it."""
    try:
        if text.strip().isdigit():
            return Holder(int(text))
        found = parse_json(text)
        known = {field.name: found[field.name] for field in fields(Holder) if field.name in found}
        holder = Holder(**known)
    except (ValueError, TypeError):
        return None
    right = all(isinstance(value, int if name in ("pid", "born", "restart") else str) for name, value in known.items())
    return holder if right else None


def holder_of(path: Path) -> Holder | None:
    """Return who has written himself into a lock, dead or alive; None where nobody has."""
    try:
        return read_holder(path.read_bytes())
    except OSError:
        return None


class Signs:
    """The signs of life of who holds a lock on another machine: whether it was touched since, by our own clock."""

    def __init__(self, lock: Path) -> None:
        self._lock = lock
        self._touched = self._look()
        self._heard = time.monotonic()

    def silent_s(self) -> float:
        """Return the seconds since the last new one that was seen here."""
        touched = self._look()
        if touched != self._touched:
            self._touched, self._heard = touched, time.monotonic()
        return time.monotonic() - self._heard

    def _look(self) -> int:
        try:
            with self._lock.open("rb") as file:  # opened: a network disk is asked anew
                return os.fstat(file.fileno()).st_mtime_ns
        except OSError:
            return 0


def job_of(env: Mapping[str, str]) -> str:
    """Return the job of a scheduler that this process is part of, in words; empty where it is of none."""
    for name, kind in _JOBS.items():
        if env.get(name):
            return f"{kind} {env[name]}"
    return f"pod {_host()}" if env.get("KUBERNETES_SERVICE_HOST") else ""


def slurm_job(env: Mapping[str, str]) -> str:
    """Return the number of the Slurm job that this process is part of, empty where it is of none."""
    job = env.get("SLURM_JOB_ID", "")
    return job if job.isalnum() else ""  # it is part of a file's name


def job_id_of(env: Mapping[str, str]) -> str:
    """Return that job's id, of whatever scheduler: a job of another one than Slurm is given it (clusters/clouds)."""
    return slurm_job(env) or env.get("ALPHAF_JOB_ID", "")


def restart_of(env: Mapping[str, str]) -> int:
    """Return how often that job was sent back to the queue before this start."""
    count = env.get("SLURM_RESTART_COUNT", "")
    return int(count) if count.isascii() and count.isdigit() else 0


def _host() -> str:
    return os.uname().nodename


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:  # hidden from a container
        return ""


def _space() -> str:
    return str(Path("/proc/self/ns/pid").readlink())
