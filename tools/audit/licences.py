"""The licences of all locked packages: recorded once from their own metadata, and checked against a list."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "requirements"
RECORD = Path(__file__).with_name("licences.tsv")
# SPDX ids that ask for no more than a notice, whoever uses the package for what. MPL-2.0 asks for the source of changed
# files of the package itself, of which there are none here.
ALLOWED = frozenset(
    [
        "0BSD",
        "Apache-2.0",
        "Apache-2.0-WITH-LLVM-exception",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "CNRI-Python",
        "HPND",
        "ISC",
        "MIT",
        "MIT-0",
        "MIT-CMU",
        "MPL-2.0",
        "PSF-2.0",
        "Python-2.0",
        "UPL-1.0",
        "Unicode-3.0",
        "Unlicense",
        "WTFPL",
        "Zlib",
    ]
)
_LOCKED = re.compile(r"([A-Za-z0-9._-]+)==([^\s;#]+)")
# What people write where SPDX ids are meant, the narrower first.
_NAMES = (
    (r"apache.*llvm", "Apache-2.0-WITH-LLVM-exception"), (r"lgpl|lesser general", "LicenseRef-LGPL"),
    (r"\bagpl|affero", "AGPL-3.0-only"), (r"\bgpl|general public", "GPL-3.0-only"), (r"apache", "Apache-2.0"),
    (r"mozilla|mpl", "MPL-2.0"), (r"bsd.*2|2-clause", "BSD-2-Clause"), (r"\bbsd|3-clause|new bsd", "BSD-3-Clause"),
    (r"mit-cmu|hpnd|historical permission", "MIT-CMU"), (r"\bmit\b|mit license", "MIT"), (r"\bisc\b|iscl", "ISC"),
    (r"python software foundation|psf", "PSF-2.0"), (r"unlicense", "Unlicense"), (r"cc0", "CC0-1.0"),
    (r"boost", "BSL-1.0"), (r"nvidia|proprietary", "LicenseRef-NVIDIA"), (r"zlib", "Zlib"), (r"0bsd", "0BSD"),
    (r"universal permissive", "UPL-1.0"),
    (r"public domain", "Unlicense"), (r"zope|zpl", "ZPL-2.1"),
)  # fmt: skip


Pair = tuple[str, str]  # canonical name and version, without what a build adds (+cpu)


class Licensed(NamedTuple):
    """A locked version with the licence that its metadata state, as SPDX; empty where they state none.

    `taken_from` is the version whose metadata were read where its own could not be.
    """

    name: str
    version: str
    licence: str
    taken_from: str = ""


def canonical(name: str) -> str:
    """Return a package's name as the index compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> set[Pair]:
    """Return name and version of every package that a lock names: two locks may have two versions."""
    lines = [line for lock in LOCKS.glob("*.lock") for line in lock.read_text(encoding="utf-8").splitlines()]
    return {_pair(named[1], named[2]) for line in lines if (named := _LOCKED.match(line))}


def _pair(name: str, version: str) -> Pair:
    return canonical(name), version.partition("+")[0]


def recorded() -> dict[Pair, Licensed]:
    """Return the record, by name and version."""
    rows = [Licensed(*line.split("\t")) for line in RECORD.read_text(encoding="utf-8").splitlines()[1:]]
    return {(row.name, row.version): row for row in rows}


def spdx(metadata: Mapping[str, Any]) -> str:
    """Return the licence that a package's metadata state: an expression, else classifiers, else known words."""
    stated = metadata.get("license_expression")
    if stated:
        return str(stated)
    classifiers = [each.split(" :: ")[-1] for each in metadata.get("classifier") or [] if each.startswith("License ::")]
    classifiers = [each for each in classifiers if each != "OSI Approved"]
    words = classifiers or [str(metadata.get("license") or "").strip().split("\n")[0][:200]]
    ids = dict.fromkeys(found for each in words if (found := _id(each)))
    return " AND ".join(ids)


def _id(text: str) -> str | None:
    if text in ALLOWED or re.fullmatch(r"[A-Za-z0-9.-]+-(only|or-later)", text):
        return text
    return next((name for pattern, name in _NAMES if re.search(pattern, text.lower())), None)


def is_allowed(expression: str) -> bool:
    """Return whether one of the alternatives asks for nothing but what is on the list; no brackets are understood."""
    plain = expression.replace(" WITH ", "-WITH-")
    if not plain or "(" in plain:
        return False
    return any(all(part.strip() in ALLOWED for part in each.split(" AND ")) for each in plain.split(" OR "))


def problems(exceptions: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for every locked version whose licence is unknown, or not on the list without an exception."""
    known, pairs = recorded(), locked()
    for name, version in sorted(pairs):
        row = known.get((name, version))
        if row is None:
            yield f"{name}: its licence is not recorded for {version}: `make audit ARGS=--record`, then look at it"
        elif not is_allowed(row.licence) and name not in exceptions:
            yield f"{name}: {version}: {row.licence or 'states no licence'}, which is not on the list"
    for name in sorted(exceptions.keys() - {name for name, _ in pairs}):
        yield f"{name}: an exception is made of it, and no lock names it"


def record(python: str) -> int:
    """Write the record anew: of what is installed from there, else from the index; return how many have none.

    A version that neither has keeps its line; one without a line gets the licence of another version, and says so.
    """
    wanted = locked()
    found = {pair: spdx(metadata) for pair, metadata in _installed(python)}
    found |= {pair: spdx(metadata) for pair, metadata in _asked(wanted - found.keys())}
    known = recorded() if RECORD.is_file() else {}
    known |= {pair: Licensed(*pair, licence) for pair, licence in found.items()}
    read = [row for row in known.values() if not row.taken_from]
    newest = {row.name: row for row in sorted(read, key=lambda row: Version(row.version))}
    rows = []
    for pair in sorted(wanted):
        other = newest.get(pair[0], Licensed(*pair, ""))
        taken_from = other.version if other.licence else ""
        rows.append(known.get(pair) or Licensed(*pair, other.licence, taken_from))
    lines = ["\t".join(Licensed._fields), *("\t".join(row if row.taken_from else row[:3]) for row in rows)]
    RECORD.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return sum(not row.licence for row in rows)


_READ = (
    "import importlib.metadata as m, json; print(json.dumps([{'name': d.metadata['Name'], 'version': d.version,"
    " 'license_expression': d.metadata['License-Expression'], 'license': d.metadata['License'],"
    " 'classifier': d.metadata.get_all('Classifier')} for d in m.distributions()]))"
)


def _installed(python: str) -> Iterator[tuple[Pair, dict[str, Any]]]:
    told = subprocess.run([python, "-c", _READ], capture_output=True, text=True, check=True)
    for each in json.loads(told.stdout):
        yield _pair(each["name"], each["version"]), each


def _asked(wanted: Iterable[Pair]) -> Iterator[tuple[Pair, dict[str, Any]]]:
    """Yield what the index says of wheels: their metadata alone are read, nothing is installed or built."""
    left = set(wanted)
    while left:
        versions = dict(sorted(left))  # one of each name: pip takes no two
        left -= versions.items()
        yield from _reported(versions)


def _reported(versions: Mapping[str, str]) -> Iterator[tuple[Pair, dict[str, Any]]]:
    left = {name: f"{name}=={version}" for name, version in versions.items()}
    with tempfile.TemporaryDirectory() as folder:
        report, listed = Path(folder) / "report.json", Path(folder) / "wanted.txt"
        argv = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet"]
        argv += ["--only-binary=:all:", "--report", str(report), "-r", str(listed)]
        while left:
            listed.write_text("\n".join(left.values()), encoding="utf-8")
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            absent = re.search(r"No matching distribution found for ([\w.-]+)==", done.stderr)
            if done.returncode and not absent:
                print(f"the index does not answer: {done.stderr.strip()[-300:]}", file=sys.stderr)
                return
            if absent:
                without = left.pop(canonical(absent[1]))
                print(f"{without}: no wheel, its licence is to be looked up by hand", file=sys.stderr)
                continue
            for each in json.loads(report.read_text(encoding="utf-8"))["install"]:
                yield _pair(each["metadata"]["name"], each["metadata"]["version"]), each["metadata"]
            return
