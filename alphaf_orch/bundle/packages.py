"""The wheels of the locked environments: which files the index has for the target, and how large they are."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from alphaf_orch.bundle.run import Runner
from alphaf_orch.bundle.target import Target
from alphaf_orch.core.errors import StageError, ToolError
from alphaf_orch.core.record import fingerprint, write_atomic
from alphaf_orch.runs.launch import exited

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
_ABSENT = re.compile(r"No matching distribution found for ([\w.-]+)(==\S+)?")
_SIZE_PATIENCE_S = 10.0  # ours; a size that is not told in that time is unknown, and nothing waits for it


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


def target_options(target: Target) -> list[str]:
    """Return the options by which pip chooses for the target, not for the machine it runs on."""
    named = [word for platform in target.platforms() for word in ("--platform", platform)]
    return ["--python-version", target.python, "--implementation", "cp", *named]


def find_packages(pins: dict[str, str], target: Target, runner: Runner) -> list[Package]:
    """Return the file of each pinned package that pip would take for the target, by name.

    What was found once for these pins is not asked again: a bundle that goes on is the same bundle.
    Raises StageError where pip fails, ToolError naming every package that the index has no file of.
    """
    kept = runner.work / f"packages-{fingerprint([pins, target.platforms(), target.python])[:16]}.json"
    if kept.is_file():
        return [Package(**values) for values in json.loads(kept.read_text(encoding="utf-8"))]
    report, absent = runner.work / "report.json", []
    left = dict(pins)
    while True:
        missing = _ask(left, target, runner, report)
        if not missing:
            break
        absent.append(f"{missing}=={left.pop(missing)}")
    if absent:
        raise _nothing_for(absent, target)
    found = _read(json.loads(report.read_text(encoding="utf-8")))
    write_atomic(kept, json.dumps([asdict(package) for package in found], indent=1))
    return found


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


def _nothing_for(absent: Sequence[str], target: Target) -> ToolError:
    glibc = ".".join(map(str, target.glibc))
    return ToolError(
        f"the index has no file for the target of {', '.join(absent)}",
        where=f"python {target.python}, {target.machine}, glibc {glibc}",
        fix="name a newer glibc where the target has one (--glibc 2.34; `ldd --version` says it), or put wheels that"
        " were built on such a machine into a folder and name it in PIP_FIND_LINKS",
    )


def _read(report: dict[str, object]) -> list[Package]:
    """Return the packages of pip's report; sizes are asked for by HEAD or on the disk."""
    installs = report["install"]
    assert isinstance(installs, list)
    urls = [entry["download_info"]["url"] for entry in installs]
    sizes = _sizes(urls)
    found = []
    for entry, url, size in zip(installs, urls, sizes, strict=True):
        file = unquote(urlsplit(url).path.rsplit("/", 1)[-1])
        digest = entry["download_info"]["archive_info"].get("hashes", {}).get("sha256")
        name = str(canonicalize_name(entry["metadata"]["name"]))
        if not digest:
            raise StageError(f"the index tells no SHA-256 of {file}", where=url, fix="ask its keeper, or use another")
        found.append(Package(name, entry["metadata"]["version"], file, digest, size, not file.endswith(".whl")))
    return sorted(found, key=lambda package: package.name)


def _sizes(urls: Sequence[str]) -> list[int | None]:
    """Return how many bytes lie at each URL, None where that is not told."""
    import httpx

    with httpx.Client(follow_redirects=True, timeout=_SIZE_PATIENCE_S) as client, ThreadPoolExecutor(16) as pool:

        def size(url: str) -> int | None:
            parts = urlsplit(url)
            if parts.scheme == "file":
                return Path(unquote(parts.path)).stat().st_size
            try:
                answer = client.head(url)
            except httpx.HTTPError:
                return None
            told = answer.headers.get("content-length", "")
            return int(told) if answer.is_success and told.isdigit() else None

        return list(pool.map(size, urls))
