"""What Triton builds its launchers with, asked as Triton asks: a C compiler, Python.h, and where libcuda.so.1 lies."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphaf_orch.core.command import capture
from alphaf_orch.core.disk import existing
from alphaf_orch.core.errors import ToolError
from alphaf_orch.core.names import expanded
from alphaf_orch.runs.machine.checks import Check, State

# The first lines of any launcher of Triton's; `stdio.h` comes of the C library's own headers.
_SOURCE = "#include <stdio.h>\n#include <Python.h>\nint alphaf_doctor(void) { return PY_MAJOR_VERSION; }\n"
_LDCONFIG = "/sbin/ldconfig"  # by this path (triton/backends/nvidia/driver.py, libcuda_dirs)
_LIBRARY = "libcuda.so.1"


def compiler(env: Mapping[str, str]) -> str | None:
    """Return the C compiler that Triton takes (triton/runtime/build.py): CC, else gcc, else clang; None for none."""
    if env.get("CC"):
        return shutil.which(env["CC"], path=env.get("PATH"))
    return shutil.which("gcc", path=env.get("PATH")) or shutil.which("clang", path=env.get("PATH"))


def judge_compiler(environment: Mapping[str, Any], env: Mapping[str, str], where: str, *, needed: bool) -> list[Check]:
    """Return whether there is a C compiler and it finds the headers; what lacks fails only where it is needed."""
    lacking: State = "fail" if needed else "warn"
    found, include = compiler(env), environment["include"]
    version = ".".join(str(environment["python"]).split(".")[:2])
    if found is None:
        said = f"CC names {env['CC']}, which is not there" if env.get("CC") else "neither gcc nor clang is on the PATH"
        fix = "install one (apt-get install gcc), or name it in the variable CC"
        return [
            _check("compiler", lacking, f"{said}; Triton builds its kernels' launchers with it", fix, where),
            Check(name="headers", state="skipped", evidence="there is no compiler", subject=where),
        ]
    checks = [_check("compiler", "ok", found, "", where)]
    fix = (
        f"install the headers of python {version} (apt-get install python{version}-dev; conda and uv bring them),"
        " or make the environment with a python that has them"
    )
    if not environment["headers"]:
        return [*checks, _check("headers", lacking, f"there is no Python.h in {include}", fix, where)]
    said = _compiled(found, include, env)
    if said:
        fix = "install the C library's headers (apt-get install libc6-dev)" if "stdio.h" in said else fix
        return [*checks, _check("headers", lacking, f"{found} cannot build a python module: {said}", fix, where)]
    return [*checks, _check("headers", "ok", f"{include}/Python.h, built a module with it", "", where)]


def judge_libcuda(env: Mapping[str, str], where: str, *, needed: bool) -> Check:
    """Return whether Triton finds the driver's library: its own variable, ldconfig's list, else LD_LIBRARY_PATH."""
    named = env.get("TRITON_LIBCUDA_PATH")
    folders = [named] if named else _listed()
    if folders is None:
        state: State = "fail" if needed else "skipped"
        fix = f"install it (apt-get install libc-bin), or name the folder of {_LIBRARY} in TRITON_LIBCUDA_PATH"
        return _check("libcuda", state, f"there is no {_LDCONFIG}, which Triton asks for {_LIBRARY}", fix, where)
    if not folders:
        folders = [folder for folder in env.get("LD_LIBRARY_PATH", "").split(":") if (Path(folder) / _LIBRARY).exists()]
    there = [folder for folder in folders if (Path(folder) / _LIBRARY).exists()]
    if there:
        return _check("libcuda", "ok", f"{there[0]}/{_LIBRARY}", "", where)
    said = f"{_LDCONFIG} -p lists {_LIBRARY} in {folders[0]}, where it is not" if folders else ""
    return _check(
        "libcuda",
        "fail" if needed else "skipped",
        said or f"{_LDCONFIG} -p does not list {_LIBRARY}, and no folder of LD_LIBRARY_PATH holds it",
        f"run ldconfig as root where the driver is installed, or name the folder of {_LIBRARY} in TRITON_LIBCUDA_PATH;"
        " in a container start it with --gpus all",
        where,
    )


def judge_triton_cache(env: Mapping[str, str], where: str, *, needed: bool) -> Check:
    """Return whether what Triton compiles can be kept and loaded: its folder may be written to and run from."""
    home = expanded(env.get("TRITON_HOME") or env.get("HOME") or "~")
    folder = existing(Path(env.get("TRITON_CACHE_DIR") or home / ".triton" / "cache"))
    try:
        with tempfile.TemporaryFile(dir=folder):
            said = "is mounted noexec: no library is loaded from it" if os.statvfs(folder).f_flag & os.ST_NOEXEC else ""
    except OSError as error:
        said = f"cannot be written to: {error.strerror}"
    if not said:
        return _check("triton_cache", "ok", str(folder), "", where)
    fix = "name another folder in TRITON_CACHE_DIR, on a local disk"
    return _check("triton_cache", "fail" if needed else "warn", f"{folder} {said}", fix, where)


def _listed() -> list[str] | None:
    """Return the folders that ldconfig lists the library in; None where there is no ldconfig."""
    code, out = capture((_LDCONFIG, "-p"))
    if code == 127:
        return None
    places = [line.split()[-1] for line in out.splitlines() if _LIBRARY in line]
    return list(dict.fromkeys(str(Path(place).parent) for place in places))


def _compiled(found: str, include: str, env: Mapping[str, str]) -> str:
    """Return the first error of building a module that includes Python.h, empty where it was built."""
    with tempfile.TemporaryDirectory(prefix="alphaf-doctor-") as scratch:
        source, log = Path(scratch) / "launcher.c", Path(scratch) / "log"
        source.write_text(_SOURCE, encoding="utf-8")
        # The compiler speaks on stderr, of which `capture` keeps nothing.
        words = ("sh", "-c", 'exec "$@" 2>"$0"', str(log), found, str(source), "-shared", "-fPIC", f"-I{include}")
        code, _ = capture((*words, "-o", str(Path(scratch) / "launcher.so")), env=env)
        if not code:
            return ""
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    named = [line for line in lines if re.search(r"error", line, re.IGNORECASE)] or lines
    return named[0].strip() if named else f"exit code {code}"


def _check(name: str, state: State, evidence: str, fix: str, where: str) -> Check:
    return Check(name=name, state=state, evidence=evidence, fix=fix, subject=where, error=ToolError)
