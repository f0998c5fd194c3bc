"""A collected folder made a bundle: requirements with hashes, facts, manifest, installer, and the sums of them all."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from alphaf_orch import __version__
from alphaf_orch.bundle.collect import refs
from alphaf_orch.bundle.contents import Contents
from alphaf_orch.bundle.files import FACTS, INSTALLER, MANIFEST, SUMS, File, below, is_plain, sha256
from alphaf_orch.bundle.found import Package
from alphaf_orch.bundle.target import needs_glibc
from alphaf_orch.core.errors import ContractError, RunStateError
from alphaf_orch.core.record import now, write_atomic
from alphaf_orch.core.stored import absent, read_object
from alphaf_orch.runs.machine.gpus import OLDEST_DRIVER

_SHIPPED = Path(__file__).with_name(INSTALLER)
_MADE = (SUMS, MANIFEST, INSTALLER, FACTS)


def seal(contents: Contents, wheels: Mapping[str, Package], folder: Path, work: Path) -> str:
    """Write what makes the folder a bundle, the sums last, and return the SHA-256 of the sums.

    Every file is read and compared with what index and hub said of it. Raises ContractError naming what differs (it
    is deleted: it was fetched, and the same call fetches it again), RunStateError naming what is no part of it.
    """
    (folder / SUMS).unlink(missing_ok=True)
    expected = {place: File(place, None, package.sha256) for place, package in wheels.items()}
    expected |= {file.path: file for one in contents.snapshots for file in one.files}
    expected |= {local.file.path: local.file for local in contents.local}
    expected |= {place: File(place) for one in contents.snapshots for place in refs(one, contents)}
    lists = _requirements(contents, wheels)
    for place, text in lists.items():
        write_atomic(folder / place, text)
        expected[place] = File(place)
    _refuse_strangers(folder, work, expected)
    with ThreadPoolExecutor(4) as pool:
        digests = dict(zip(expected, pool.map(lambda place: _digest(folder / place), expected), strict=True))
    git = {place: digest for one in contents.snapshots for place, digest in one.git.items()}
    _refuse_changed(folder, expected, digests, git)
    write_atomic(folder / FACTS, _facts(contents, wheels, folder))
    shutil.copyfile(_SHIPPED, folder / INSTALLER)
    (folder / INSTALLER).chmod(0o755)
    write_atomic(folder / MANIFEST, _manifest(contents, wheels, digests, folder))
    for name in (FACTS, INSTALLER, MANIFEST):
        digests[name] = sha256(folder / name)
    return write_sums(folder, digests)


def write_sums(folder: Path, digests: Mapping[str, str]) -> str:
    """Write the list that sha256sum reads, sorted, and return the SHA-256 of the list."""
    text = "".join(f"{digests[place]}  {place}\n" for place in sorted(digests))
    write_atomic(folder / SUMS, text)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _requirements(contents: Contents, wheels: Mapping[str, Package]) -> dict[str, str]:
    """Return the text of each environment's list by its place: every package by version and hash, ours in the first."""
    by_name = {(package.name, package.version): package for package in wheels.values()}
    own = [package for package in wheels.values() if package.name == "alphaf-orch"]
    found = {}
    for name, packages in contents.environments.items():
        wanted = [by_name[package.name, package.version] for package in packages] + (own if name == "venv" else [])
        lines = sorted(f"{package.requirement}\n" for package in wanted)
        found[f"requirements/{name}.txt"] = "".join(lines)
    return found


def _refuse_strangers(folder: Path, work: Path, expected: Iterable[str]) -> None:
    known = {*expected, *_MADE}
    inside = f"{work.name}/"
    strange = [place for place in below(folder) if place not in known and not place.startswith(inside)]
    if strange:
        raise RunStateError(
            f"{len(strange)} files are no part of this bundle: {', '.join(strange[:5])}",
            where=str(folder),
            fix="delete or move them, or name another folder with --out; nothing of yours is deleted",
            code="run.strange_files",
        )


def _refuse_changed(
    folder: Path, expected: Mapping[str, File], digests: Mapping[str, str], git: Mapping[str, str]
) -> None:
    changed = []
    for place, file in expected.items():
        path = folder / place
        other = not digests[place] or file.sha256 not in (None, digests[place])
        if other or (place in git and _git_hash(path) != git[place]):
            changed.append(place)
            path.unlink(missing_ok=True)
    if changed:
        raise ContractError(
            f"{len(changed)} files are not what the index or the hub says they are: {', '.join(changed[:5])}",
            where=str(folder),
            fix="they were deleted; call the same command again, and it fetches them anew",
            code="contract.checksum_differs",
        )


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file, nothing where no plain file is."""
    return sha256(path) if is_plain(path) else ""


def _git_hash(path: Path) -> str:
    """Return what git calls a file's content, as the hub does of small files."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _facts(contents: Contents, wheels: Mapping[str, Package], folder: Path) -> str:
    """Return what the installer asks of the machine, a `key=value` a line."""
    target = contents.request.target
    glibc = max((needs_glibc(package.file) for package in wheels.values()), default=(0, 0))
    locked = {package.name: package.version for packages in contents.environments.values() for package in packages}
    cuda = locked.get("cuda-toolkit", "")
    unpacked = sum(_unpacked(folder / place) for place in wheels)
    placed = sum((folder / file.path).stat().st_size for one in contents.snapshots for file in one.files)
    placed += sum((folder / local.file.path).stat().st_size for local in contents.local)
    values = {
        "alphaf": __version__,
        "accel": contents.request.accel,
        "python": target.python,
        "machine": target.machine,
        "glibc": ".".join(map(str, glibc)),
        "cuda": ".".join(cuda.split(".")[:2]),
        "driver": OLDEST_DRIVER.get(int(cuda.split(".")[0]), "") if cuda else "",
        "environments": " ".join(contents.environments),
        "unpacked": unpacked,
        "placed": placed,
    }
    lines = [f"{key}={value}\n" for key, value in values.items()]
    for one in contents.snapshots:  # for the room that a hub cache on another disk needs
        count = sum((folder / file.path).stat().st_size for file in one.files)
        lines.append(f"snapshot={count} {one.folder}/snapshots/{one.commit}\n")
    return "".join(lines)


def _unpacked(wheel: Path) -> int:
    with zipfile.ZipFile(wheel) as archive:
        return sum(entry.file_size for entry in archive.infolist())


def _manifest(contents: Contents, wheels: Mapping[str, Package], digests: Mapping[str, str], folder: Path) -> str:
    """Return the manifest: sorted, and with one date, that of the first bundle of the same content."""
    source = {(p.name, p.version): p.sha256 for p in contents.packages() if p.source}
    request = contents.request
    values: dict[str, Any] = {
        "format": 1,
        "alphaf": __version__,
        "target": {
            "accel": request.accel,
            "python": request.target.python,
            "machine": request.target.machine,
            "glibc": ".".join(map(str, request.target.glibc)),
        },
        "environments": {name: len(packages) for name, packages in contents.environments.items()},
        "wheels": [
            {"file": p.file, "name": p.name, "version": p.version, "sha256": p.sha256}
            | ({"built_from": source[p.name, p.version]} if (p.name, p.version) in source else {})
            for _, p in sorted(wheels.items())
        ],
        "repositories": [
            {"kind": one.wanted.kind, "repo": one.wanted.repo, "asked": one.wanted.revision, "commit": one.commit}
            for one in contents.snapshots
        ],
        "files": {
            place: {"size": (folder / place).stat().st_size, "sha256": digests[place]} for place in sorted(digests)
        },
    }
    old = folder / MANIFEST
    before = {} if absent(old) else read_object(old)
    created = before.pop("created", None)
    values["created"] = created if before == values else now()
    return json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
