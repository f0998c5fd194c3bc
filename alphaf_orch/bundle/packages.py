"""The wheels of the locked environments: which files the index has for the target, and how large they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from pydantic import TypeAdapter

from alphaf_orch.bundle.dry_run import dry_run
from alphaf_orch.bundle.found import Package
from alphaf_orch.bundle.resolver import resolve
from alphaf_orch.bundle.run import AGAIN, Runner
from alphaf_orch.bundle.target import Target
from alphaf_orch.core.errors import ToolError
from alphaf_orch.core.record import fingerprint, write_atomic
from alphaf_orch.core.stored import absent, checked, read_value


def find_packages(pins: dict[str, str], target: Target, runner: Runner) -> list[Package]:
    """Return the file of each pinned package that pip would take for the target, by name; fetches no wheel.

    What was found once for these pins is not asked again: a bundle that goes on is the same bundle.
    Raises StageError where uv or pip fails, ToolError naming every package that the index has no file of.
    """
    kept = runner.work / f"packages-{fingerprint([pins, target.platforms(), target.python])[:16]}.json"
    if not absent(kept):
        return checked(TypeAdapter(list[Package]), read_value(kept, AGAIN), kept, AGAIN)
    found = resolve(pins, target, runner) or dry_run(pins, target, runner)
    if found.absent:
        raise _nothing_for(found.absent, target)
    packages = sorted(found.packages, key=lambda package: package.name)
    write_atomic(kept, json.dumps([asdict(package) for package in packages], indent=1))
    return packages


def _nothing_for(absent: Sequence[str], target: Target) -> ToolError:
    glibc = ".".join(map(str, target.glibc))
    return ToolError(
        f"the index has no file for the target of {', '.join(absent)}",
        where=f"python {target.python}, {target.machine}, glibc {glibc}",
        fix="name a newer glibc where the target has one (--glibc 2.34; `ldd --version` says it), or put wheels that"
        " were built on such a machine into a folder and name it in PIP_FIND_LINKS",
        code="tool.no_package",
    )
