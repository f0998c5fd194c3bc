"""One package as an index has it, and how pip is called for a machine that is not this one."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from alphaf_orch.bundle.target import Target

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")


@dataclass(frozen=True)
class Package:
    """One locked package as the index has it: the file's name, its hash and size; `source` is not built yet."""

    name: str
    version: str
    file: str
    sha256: str
    size: int | None
    source: bool

    @property
    def requirement(self) -> str:
        """The line that pip takes this very file by."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True)
class Found:
    """What an index has for the target, and NAME==VERSION of what it has no file of."""

    packages: tuple[Package, ...]
    absent: tuple[str, ...]


def target_options(target: Target) -> list[str]:
    """Return the options by which pip chooses for the target, not for the machine it runs on."""
    named = [word for platform in target.platforms() for word in ("--platform", platform)]
    return ["--python-version", target.python, "--implementation", "cp", *named]


def file_name(url: str) -> str:
    """Return the name of the file that a URL is of."""
    return unquote(urlsplit(url).path.rsplit("/", 1)[-1])


def file_size(url: str) -> int | None:
    """Return how large the file is that a URL names on this machine, None for any other."""
    parts = urlsplit(url)
    return Path(unquote(parts.path)).stat().st_size if parts.scheme == "file" else None
