"""The machine a bundle is for: which of a lock's packages it needs, and which wheels it takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

# Names of manylinux before they were numbered by glibc: PEP 600, "Legacy manylinux tags".
_LEGACY = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}
_OLDEST = 5  # the first manylinux is of glibc 2.5
_MANYLINUX = re.compile(r"manylinux_(\d+)_(\d+)_")
_LEGACY_GLIBC = {name: glibc for glibc, name in _LEGACY.items()}


@dataclass(frozen=True)
class Target:
    """A CPython on Linux: `python` as 3.12, `machine` as uname calls it, `glibc` as (2, 28)."""

    python: str
    machine: str
    glibc: tuple[int, int]

    def markers(self) -> dict[str, str]:
        """Return what the markers of a lock's lines are judged by there."""
        return {
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "sys_platform": "linux",
            "platform_machine": self.machine,
            "platform_system": "Linux",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
            "os_name": "posix",
            "extra": "",
        }

    def platforms(self) -> list[str]:
        """Return the platform tags that a pip there takes, the newest glibc first."""
        major, newest = self.glibc
        found = []
        for minor in range(newest, _OLDEST - 1, -1):
            found.append(f"manylinux_{major}_{minor}_{self.machine}")
            if (major, minor) in _LEGACY:
                found.append(f"{_LEGACY[major, minor]}_{self.machine}")
        return [*found, f"linux_{self.machine}"]

    def order(self) -> dict[Tag, int]:
        """Return every tag of a wheel that a pip there takes with its rank, the best first."""
        major, minor = (int(part) for part in self.python.split("."))
        platforms = self.platforms()
        own = cpython_tags((major, minor), platforms=platforms)
        every = [*own, *compatible_tags((major, minor), f"cp{major}{minor}", platforms)]
        return {tag: rank for rank, tag in reversed([*enumerate(every)])}

    def takes(self, wheel: str) -> bool:
        """Return whether a wheel of that file name can be installed there."""
        return not self.order().keys().isdisjoint(parse_wheel_filename(wheel)[3])


def pinned(lock: str, target: Target) -> dict[str, str]:
    """Return version by canonical name of what the text of a lock names for the target."""
    found = {}
    for line in lock.splitlines():
        text = line.split("#")[0].strip()
        if not text:
            continue
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(target.markers()):
            found[str(canonicalize_name(requirement.name))] = str(next(iter(requirement.specifier)).version)
    return found


def needs_glibc(wheel: str) -> tuple[int, int]:
    """Return the oldest glibc that a wheel of that file name says it runs on, (0, 0) where it names none."""
    found = [*_glibc_of({tag.platform for tag in parse_wheel_filename(wheel)[3]})]
    return min(found, default=(0, 0))


def _glibc_of(platforms: set[str]) -> Iterator[tuple[int, int]]:
    for platform in platforms:
        numbered = _MANYLINUX.match(platform)
        legacy = _LEGACY_GLIBC.get(platform.partition("_")[0])
        if numbered:
            yield int(numbered[1]), int(numbered[2])
        elif legacy:
            yield legacy
