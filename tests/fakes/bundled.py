"""What the tests of a bundle share: the small bundle as it was made, and how its installer is called."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hub_mirror import Mirror

from alphaf_orch.bundle.make import make_bundle
from alphaf_orch.bundle.request import Request
from alphaf_orch.bundle.target import Target

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
TARGET = Target(PYTHON, platform.machine(), (2, 28))
LOCK = "eins==1.0  # via x\nzwei==2.0 ; sys_platform == 'linux'\nquelle==1.0\nnie==3.0 ; python_version < '3.0'\n"
CANARY = "hf_CANARYcanaryCANARYcanary"


@dataclass
class Made:
    """A finished bundle, its parts, what made it and what was said and asked meanwhile."""

    folder: Path
    parts: Path
    request: Request
    index: Path
    hub: Mirror
    env: dict[str, str]
    lines: list[str]
    said: list[str] = field(default_factory=list)
    digest: str = ""

    def again(self, folder: Path, **changes: object) -> tuple[list[str], list[str]]:
        """Call the same for another folder; return the lines of the result and what was said meanwhile."""
        said: list[str] = []
        request = replace(self.request, **changes)  # type: ignore[arg-type]
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.env.items():
                patch.setenv(name, value)
            return [*make_bundle(request, folder, None, said.append, dry=False)], said


Install = Callable[..., subprocess.CompletedProcess[str]]
