"""A place without a network interface, or with loopback alone and every address seen that processes in it ask for."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

_ADDRESS = re.compile(r"sa_family=AF_(INET6?).{0,60}?(?:inet_addr\(|inet_pton\(AF_INET6, )\"([^\"]+)\"")
_CALL = re.compile(r"\b(connect|sendto|sendmsg|sendmmsg)\(")
_LOOPBACK = re.compile(r"127\.|::1$|::ffff:127\.")
_LOOPBACK_UP = ("sh", "-c", 'ip link set lo up && exec "$@"', "sh")


@cache
def _made() -> tuple[tuple[str, ...], str]:
    """Return what starts a command with no interface that is up, as root or as a user; or why nothing does."""
    said = "unshare is not installed"
    for words in (("unshare", "-n"), ("unshare", "-rn")) if shutil.which("unshare") else ():
        tried = subprocess.run([*words, "true"], capture_output=True, check=False)
        if tried.returncode == 0:
            return words, ""
        said = f"no network namespace may be made here: {tried.stderr.decode(errors='replace').strip()}"
    return (), said


def without_interface() -> str | None:
    """Return why no process can be started without a network interface here, None where one can."""
    return _made()[1] or None


def cut_off() -> tuple[str, ...]:
    """Return what to write before a command so that it has no network interface; see without_interface."""
    return _made()[0]


@cache
def without_network() -> str | None:
    """Return why no process can be started with loopback alone and seen here, None where one can."""
    for tool in ("ip", "strace"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    if lacking := without_interface():
        return lacking
    traced = [*cut_off(), *_LOOPBACK_UP, "strace", "-f", "-o", "/dev/null", "true"]
    tried = subprocess.run(traced, capture_output=True, check=False)
    return None if tried.returncode == 0 else f"no calls can be seen: {tried.stderr.decode(errors='replace').strip()}"


def alone(trace: Path, *, network: bool = False) -> list[str]:
    """Return what to write before a command: no interface but lo (unless `network`), and its calls kept in `trace`."""
    calls = ("strace", "-f", "--seccomp-bpf", "-qq", "-s", "0", "-e", "trace=connect,sendto,sendmsg,sendmmsg")
    return [*(() if network else (*cut_off(), *_LOOPBACK_UP)), *calls, "-e", "signal=none", "-o", str(trace), "--"]


def elsewhere(trace: Path) -> list[str]:
    """Return the calls that name an address off this machine; a socket of a file or of the kernel has none."""
    found = []
    for line in trace.read_text(encoding="utf-8", errors="replace").splitlines():
        named = _ADDRESS.search(line) if _CALL.search(line) else None
        if named and not _LOOPBACK.match(named[2]):
            found.append(line)
    return found


def calls(trace: Path) -> int:
    """Return how many calls were seen: none would mean that nothing was looked at."""
    return len(_CALL.findall(trace.read_text(encoding="utf-8", errors="replace")))
