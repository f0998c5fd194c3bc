"""Child program: prints python, packages and headers of a tool's environment, importing none of its tools."""

import json
import platform
import sys
import sysconfig
from pathlib import Path
from typing import Any

from alphaf_orch.programs.versions import PACKAGES, installed


def include_folder() -> str:
    """Return where Triton has the compiler look for Python.h (triton/runtime/build.py).

    Debian's own scheme `posix_local` names a folder that no package fills, so Triton asks for `posix_prefix` then.
    """
    scheme = sysconfig.get_default_scheme()
    return sysconfig.get_paths(scheme="posix_prefix" if scheme == "posix_local" else scheme)["include"]


def environment() -> dict[str, Any]:
    """Return the python's version and place, the installed versions, its headers and how it encodes file names."""
    include = include_folder()
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "packages": installed((*PACKAGES, "triton")),
        "include": include,
        "headers": (Path(include) / "Python.h").is_file(),
        "filesystem_encoding": sys.getfilesystemencoding(),
    }


if __name__ == "__main__":
    print(json.dumps(environment()), flush=True)
