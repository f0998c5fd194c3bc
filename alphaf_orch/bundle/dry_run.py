"""What pip would take for the target, asked by its dry run: the way where uv cannot be had."""

from __future__ import annotations

import json
import re
from pathlib import Path

from packaging.utils import canonicalize_name

from alphaf_orch.bundle.found import PIP, Found, Package, file_name, file_size, target_options
from alphaf_orch.bundle.run import Runner
from alphaf_orch.bundle.target import Target
from alphaf_orch.core.errors import StageError
from alphaf_orch.runs.launch import exited

_ABSENT = re.compile(r"No matching distribution found for ([\w.-]+)(==\S+)?")


def dry_run(pins: dict[str, str], target: Target, runner: Runner) -> Found:
    """Return what pip would install for the target, and what it has no file of.

    From an index without metadata beside its wheels (PEP 658) pip fetches the wheels themselves to read them, and no
    pip tells a size: those of the network stay unknown. Raises StageError where pip fails.
    """
    report, absent = runner.work / "report.json", []
    left = dict(pins)
    while missing := _ask(left, target, runner, report):
        absent.append(f"{missing}=={left.pop(missing)}")
    if absent:
        return Found((), tuple(absent))
    return Found(tuple(_read(json.loads(report.read_text(encoding="utf-8")))), ())


def _ask(pins: dict[str, str], target: Target, runner: Runner, report: Path) -> str | None:
    """Let pip write what it would install, and return None; or the package that it has no file of."""
    wanted = runner.work / "wanted.txt"
    wanted.write_text("".join(f"{name}=={version}\n" for name, version in sorted(pins.items())), encoding="utf-8")
    argv = [*PIP, "install", "--dry-run", "--quiet", "--ignore-installed", "--no-deps", "--report", str(report)]
    argv += ["--target", str(runner.work / "none"), *target_options(target), "--requirement", str(wanted)]
    finished = runner.run("asking the index", argv)
    if finished.exit_code == 0:
        return None
    missing = _ABSENT.search(runner.printed())
    if missing and canonicalize_name(missing[1]) in pins:
        return str(canonicalize_name(missing[1]))
    raise exited("pip", finished, runner.log, "read pip's lines there, check the index, then call it again")


def _read(report: dict[str, object]) -> list[Package]:
    """Return the packages of pip's report."""
    installs = report["install"]
    assert isinstance(installs, list)
    found = []
    for entry in installs:
        url = entry["download_info"]["url"]
        file = file_name(url)
        digest = entry["download_info"]["archive_info"].get("hashes", {}).get("sha256")
        name = str(canonicalize_name(entry["metadata"]["name"]))
        if not digest:
            raise StageError(
                f"the index tells no SHA-256 of {file}",
                where=url,
                fix="ask its keeper, or use another",
                code="stage.no_checksum",
            )
        source = not file.endswith(".whl")
        found.append(Package(name, entry["metadata"]["version"], file, digest, file_size(url), source))
    return found
