"""What an index has of pinned packages, asked by uv: files, hashes and sizes, without fetching any of them."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name, parse_wheel_filename

from alphaf_orch.bundle.found import PIP, Found, Package, file_name, file_size
from alphaf_orch.bundle.run import Runner
from alphaf_orch.bundle.target import Target
from alphaf_orch.core.command import capture
from alphaf_orch.runs.launch import exited

UV = "uv==0.13.9"  # as in requirements/lock.sh, which makes the locks with it
_ABSENT = re.compile(r"there is no version of ([\w.-]+)==|Because ([\w.-]+) was not found in the")
_GLIBC_OF_UV = (*range(40, 30, -1), 28, 17)  # `uv pip compile --help`, --python-platform
_FIX = "read its lines there, check the index, then call it again"


def resolve(pins: Mapping[str, str], target: Target, runner: Runner) -> Found | None:
    """Return what the index has for the target, with sizes; None where uv itself cannot be fetched from it.

    Raises StageError where uv fails for another reason than a package that the index does not have.
    """
    uv = _uv(runner)
    if uv is None:
        return None
    env, absent, left = index_variables(runner), [], dict(pins)
    while missing := _compile(uv, left, target, env, runner):
        absent.append(f"{missing}=={left.pop(missing)}")
    values = tomllib.loads((runner.work / "pylock.toml").read_text(encoding="utf-8"))
    packages = []
    for entry in values.get("packages", ()):
        package = choose(entry, target)
        if package:
            packages.append(package)
        else:
            absent.append(f"{entry['name']}=={entry['version']}")
    return Found(tuple(packages), tuple(sorted(absent)))


def _uv(runner: Runner) -> Path | None:
    """Return uv, fetched beside what is worked on; None where the index does not have it."""
    place = runner.work / "uv"
    program = place / "bin" / "uv"
    if not program.is_file():
        argv = [*PIP, "install", "--quiet", "--no-deps", "--target", str(place), UV]
        if runner.run("fetching uv, which asks the index", argv).exit_code:
            return None
    return program


def _compile(uv: Path, pins: Mapping[str, str], target: Target, env: Mapping[str, str], runner: Runner) -> str | None:
    """Let uv write pylock.toml (PEP 751) for the pins, and return None; or the package that the index does not have."""
    wanted = runner.work / "wanted.txt"
    wanted.write_text("".join(f"{name}=={version}\n" for name, version in sorted(pins.items())), encoding="utf-8")
    argv = [str(uv), "pip", "compile", "--quiet", "--no-deps", "--no-config", "--no-header", "--format", "pylock.toml"]
    argv += ["--python-version", target.python, "--python-platform", _platform(target)]
    argv += ["--output-file", str(runner.work / "pylock.toml"), str(wanted)]
    (runner.work / "pylock.toml").unlink(missing_ok=True)
    finished = runner.run("asking the index", argv, env)
    if finished.exit_code == 0:
        return None
    missing = _ABSENT.search(" ".join(runner.printed().split()))
    name = str(canonicalize_name(missing[1] or missing[2])) if missing else ""
    if name in pins:
        return name
    raise exited("uv", finished, runner.log, _FIX)


def _platform(target: Target) -> str:
    """Return the newest platform that uv knows and the target has: of two indexes uv takes one that has a fit wheel."""
    major, minor = target.glibc
    known = next(n for n in _GLIBC_OF_UV if (2, n) <= (major, minor) or n == _GLIBC_OF_UV[-1])
    return f"{target.machine}-manylinux_2_{known}"


def index_variables(runner: Runner) -> dict[str, str]:
    """Return in uv's variables where pip is told to look for packages; as variables no password stands in a log."""
    code, listed = capture([*PIP, "config", "list"])
    assert code == 0  # the same pip has just installed uv
    found: dict[str, str] = {}
    rank = {"global": 0, "install": 1, ":env:": 2}
    for line in sorted(listed.splitlines(), key=lambda line: rank.get(line.partition(".")[0], -1)):
        place, _, value = line.partition("=")
        section, _, key = place.rpartition(".")
        if section in rank:
            found[key] = str(ast.literal_eval(value))  # pip prints it as Python does
    named = {
        "UV_DEFAULT_INDEX": found.get("index-url", ""),
        "UV_INDEX": " ".join(found.get("extra-index-url", "").split()),
        "UV_FIND_LINKS": ",".join(found.get("find-links", "").split()),
        "UV_NO_INDEX": "1" if found.get("no-index") in ("1", "true", "True") else "",
        "UV_INSECURE_HOST": " ".join(found.get("trusted-host", "").split()),
        "SSL_CERT_FILE": found.get("cert", ""),
        "UV_INDEX_STRATEGY": "unsafe-best-match",  # as pip does: of all indexes the best version
        "UV_CACHE_DIR": str(runner.work / "uv-cache"),
    }
    return {key: value for key, value in named.items() if value}


def choose(entry: Mapping[str, Any], target: Target) -> Package | None:
    """Return the file that pip would take of a package of pylock.toml: the wheel of the best tag, else the source."""
    order = target.order()
    fit = []
    for file in entry.get("wheels", ()):
        ranks = [order[tag] for tag in parse_wheel_filename(_name(file))[3] if tag in order]
        if ranks:
            fit.append((min(ranks), _name(file), file))
    chosen = min(fit, key=lambda one: one[:2])[2] if fit else entry.get("sdist")
    if chosen is None or "sha256" not in chosen.get("hashes", {}):
        return None
    size = chosen.get("size") or file_size(chosen.get("url", ""))
    name, file = str(canonicalize_name(entry["name"])), _name(chosen)
    return Package(name, entry["version"], file, chosen["hashes"]["sha256"], size, not file.endswith(".whl"))


def _name(file: Mapping[str, Any]) -> str:
    return file_name(file.get("url") or file["path"])
