"""What is to be said of the machine around its GPUs: shared memory, limits, clock, ports, names of files."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import sys
import tempfile
import time
import unicodedata
from pathlib import Path

from alphaf_orch.core.disk import disk_error, existing, size
from alphaf_orch.core.errors import DiskError, HardwareError
from alphaf_orch.core.paths import PACKAGE, runs_dir
from alphaf_orch.runs.machine.checks import Check

MIB = 1 << 20
# Docker's own size of /dev/shm is 64 MiB; NVIDIA starts its containers with 1 GiB for NCCL (NCCL user guide,
# "Troubleshooting", Docker: `--shm-size=1g --ulimit memlock=-1`).
_DOCKER_SHM, _ENOUGH_SHM = 64 * MIB, 1024 * MIB
_SHM_FIX = "start the container with --shm-size=8g (or --ipc=host), else: mount -o remount,size=8G /dev/shm"
# Ours: what Linux gives a process by itself. Loader workers, shards and sockets of eight ranks stay below.
_OPEN_FILES = 1024
_MEMLOCK = 64 * MIB  # ours: what NCCL pins for eight ranks is a few MiB each
_DRIFT_S = 5.0  # ours: a network disk whose clock is further off makes new files look old
_KOREAN = "확인 기록.txt"
_LETTER = 3  # bytes of a Korean syllable in UTF-8


def shared_memory(gpus: int, folder: Path = Path("/dev/shm")) -> Check:
    """Return whether there is room for what NCCL's ranks and loader workers hand each other."""
    if not folder.is_dir():
        return Check(name="shm", state="warn", evidence=f"there is no {folder}", fix=_SHM_FIX, subject=str(folder))
    usage = shutil.disk_usage(folder)
    evidence = f"{size(usage.free)} of {size(usage.total)} free"
    small = usage.free < _ENOUGH_SHM
    refused = gpus > 1 and usage.free <= _DOCKER_SHM
    return Check(
        name="shm",
        state="fail" if refused else "warn" if small else "ok",
        evidence=evidence + (f"; NCCL wants {size(_ENOUGH_SHM)}" if small else ""),
        fix=_SHM_FIX if small else "",
        subject=str(folder),
        values={"free": usage.free, "total": usage.total},
    )


def limits(gpus: int) -> list[Check]:
    """Return whether a process may open enough files, and with several GPUs pin enough memory."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = 0 <= soft < _OPEN_FILES
    checks = [
        Check(
            name="open_files",
            state="warn" if few else "ok",
            evidence=f"{soft} (at most {hard})",
            fix=f"ulimit -n {hard if hard > soft else _OPEN_FILES} before alphaf" if few else "",
        )
    ]
    if gpus > 1:
        pinned, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        small = 0 <= pinned < _MEMLOCK
        checks.append(
            Check(
                name="pinned_memory",
                state="warn" if small else "ok",
                evidence="unlimited" if pinned < 0 else size(pinned),
                fix="ulimit -l unlimited; of a container: --ulimit memlock=-1" if small else "",
            )
        )
    return checks


def clock(now: float | None = None) -> Check:
    """Return whether the clock is behind what was written already, or apart from the clock of the runs' disk."""
    here = time.time() if now is None else now
    newest = {"alphaf's own files": max(path.stat().st_mtime for path in PACKAGE.glob("**/*.py"))}
    for manifest in runs_dir().glob("*/manifest.json"):
        newest[f"the manifest of run {manifest.parent.name}"] = manifest.stat().st_mtime
    what, then = max(newest.items(), key=lambda item: item[1])
    evidence = _said(here)
    fix = "set the clock: timedatectl set-ntp true, or chronyc makestep"
    if then > here + _DRIFT_S:
        return Check(name="clock", state="warn", evidence=f"{evidence}, and {what} is of {_said(then)}", fix=fix)
    apart = _apart(here) if now is None else 0.0
    if abs(apart) > _DRIFT_S:
        evidence += f"; the disk of {runs_dir()} is {abs(apart):.0f} s {'ahead' if apart > 0 else 'behind'}"
        return Check(name="clock", state="warn", evidence=evidence, fix=fix)
    return Check(name="clock", state="ok", evidence=evidence)


def _said(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _apart(here: float) -> float:
    """Return by how many seconds the clock of the runs' disk is ahead; 0 where nothing can be written there."""
    try:
        with tempfile.NamedTemporaryFile(dir=existing(runs_dir()), prefix=".alphaf-doctor-") as file:
            return os.fstat(file.fileno()).st_mtime - here
    except OSError:
        return 0.0  # `names` tells of it


def names() -> list[Check]:
    """Return whether text is UTF-8 here, and a file of a Korean name comes back as it was written among the runs."""
    encodings = {sys.getfilesystemencoding(), (sys.stdout.encoding or "utf-8")}
    wrong = sorted(name for name in encodings if name.lower().replace("-", "") != "utf8")
    language = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or "not set"
    locale = Check(
        name="locale",
        state="warn" if wrong else "ok",
        evidence=f"{language}; {f'python writes {wrong[0]}' if wrong else 'UTF-8'}",
        fix="export LANG=C.UTF-8 (or PYTHONUTF8=1)" if wrong else "",
    )
    return [locale, _korean_names(existing(runs_dir()))]


def _korean_names(folder: Path) -> Check:
    fix = "point ALPHAF_RUNS at a folder of a local disk (ext4, xfs) that you may write to"
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".alphaf-doctor-") as scratch:
            (Path(scratch) / _KOREAN).write_text("가나다\n", encoding="utf-8")
            listed = [path.name for path in Path(scratch).iterdir()]
            same = listed == [_KOREAN] and (Path(scratch) / _KOREAN).read_text(encoding="utf-8") == "가나다\n"
        longest = os.pathconf(folder, "PC_NAME_MAX")
    except OSError as error:
        failure = disk_error(error, folder)
        said = failure.what if failure else str(error)
        return Check(name="korean_paths", state="fail", evidence=said, fix=fix, subject=str(folder), error=DiskError)
    evidence = f"written and read; a name has at most {longest} bytes, {longest // _LETTER} Korean letters"
    if same and longest >= 255:
        return Check(name="korean_paths", state="ok", evidence=evidence, subject=str(folder))
    if not same:
        taken_apart = [unicodedata.normalize("NFC", name) for name in listed] == [_KOREAN]
        evidence = f"{_KOREAN!r} comes back as {listed!r}" + (" (its letters taken apart)" if taken_apart else "")
    return Check(
        name="korean_paths",
        state="warn" if same or taken_apart else "fail",
        evidence=evidence,
        fix=fix,
        subject=str(folder),
        error=HardwareError,
    )


def ports() -> Check:
    """Return whether ranks can meet on this machine: a port can be had on loopback, and MASTER_PORT is free."""
    try:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            given = free.getsockname()[1]
    except OSError as error:
        fix = "bring the loopback interface up: ip link set lo up"
        return Check(name="ports", state="fail", evidence=f"127.0.0.1: {error.strerror}", fix=fix)
    named = os.environ.get("MASTER_PORT", "")
    if not named:
        return Check(name="ports", state="ok", evidence=f"127.0.0.1 gives ports ({given} was one)")
    problem = _port_problem(named)
    return Check(
        name="ports",
        state="warn" if problem else "ok",
        evidence=f"127.0.0.1 gives ports; MASTER_PORT={named} is {problem or 'free'}",
        fix="end what listens there (ss -ltnp), or set another MASTER_PORT" if problem else "",
    )


def _port_problem(named: str) -> str:
    if not named.isdigit() or not 0 < int(named) < 65536:
        return "no port"
    try:
        with socket.socket() as wanted:
            wanted.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            wanted.bind(("", int(named)))
    except OSError as error:
        return f"not to be had: {error.strerror}"
    return ""
