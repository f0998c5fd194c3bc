"""A bundle's files fetched, built and copied into its folder; what lies there with the right hash stays."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel

from alphaf_orch.bundle.build import Built, Wheel, build
from alphaf_orch.bundle.contents import Contents, Snapshot
from alphaf_orch.bundle.files import MANIFEST, File, has, is_plain, sha256
from alphaf_orch.bundle.found import PIP, Package, target_options
from alphaf_orch.bundle.run import Runner
from alphaf_orch.bundle.target import Target
from alphaf_orch.core.command import PROGRAM_ENV, program
from alphaf_orch.core.disk import existing, size
from alphaf_orch.core.errors import DiskError
from alphaf_orch.core.record import copy_atomic, write_atomic
from alphaf_orch.core.stored import absent, checked, read_object
from alphaf_orch.runs.launch import exited

WHEELS = "wheels"
_BATCH = 256 << 20  # bytes; ours: what a killed bundle fetches twice at most, and 20 starts of pip for a CPU's lock
_UNKNOWN = 16 << 20  # bytes that a file of unknown size is taken for
_FIX = "mend what that says, then call the same command again: it goes on"
_COMMIT = re.compile(r"[0-9a-f]{40}")


class _Wheel(Wheel):
    built_from: str | None = None


class _Manifest(BaseModel):
    wheels: list[_Wheel]


def collect(contents: Contents, folder: Path, python: str, runner: Runner) -> dict[str, Package]:
    """Bring all that the bundle holds into its folder and return the wheels there by place, built ones included.

    Raises DiskError where there is no room, StageError where a download or a build fails: the same call goes on.
    """
    _require_room(contents, folder)
    wheels = {f"{WHEELS}/{package.file}": package for package in contents.packages() if not package.source}
    missing = [package for place, package in wheels.items() if not has(folder / place, package.sha256)]
    for batch in _batches(missing):
        _download(batch, folder, contents.request.target, runner)
    sources = [package for package in contents.packages() if package.source]
    for package in build(sources, folder, _built_before(folder), contents.request.target, runner):
        wheels[f"{WHEELS}/{package.file}"] = package
    own = _own_package(contents.request.checkout, folder, runner)
    wheels[f"{WHEELS}/{own.file}"] = own
    for one in contents.snapshots:
        _snapshot(one, contents, folder, python, runner)
    for local in contents.local:
        place = folder / local.file.path
        if not is_plain(place) or sha256(place) != sha256(local.source):
            place.parent.mkdir(parents=True, exist_ok=True)
            copy_atomic(local.source, place)
        place.chmod(0o600)
    return wheels


def _require_room(contents: Contents, folder: Path) -> None:
    there = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    needed = contents.known_bytes() - there
    free = shutil.disk_usage(existing(folder)).free
    if needed > free:
        raise DiskError(
            f"the bundle needs {size(needed)} more, {size(free)} are free",
            where=str(folder),
            fix="free some, or name another disk with --out",
            code="disk.too_little",
        )


def _batches(packages: Sequence[Package]) -> Iterator[list[Package]]:
    batch: list[Package] = []
    taken = 0
    for package in packages:
        batch.append(package)
        taken += package.size or _UNKNOWN
        if taken >= _BATCH:
            yield batch
            batch, taken = [], 0
    if batch:
        yield batch


def _download(batch: Sequence[Package], folder: Path, target: Target, runner: Runner) -> None:
    """Let pip fetch the files of one batch, which it compares with their hashes, then put them into place."""
    fetched, wanted = runner.work / "fetched", runner.work / "batch.txt"
    shutil.rmtree(fetched, ignore_errors=True)
    wanted.write_text("".join(f"{package.requirement}\n" for package in batch), encoding="utf-8")
    argv = [*PIP, "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    argv += [*target_options(target), "--dest", str(fetched), "--requirement", str(wanted)]
    known = size(sum(package.size or 0 for package in batch))
    finished = runner.run(f"fetching {len(batch)} packages, {known}: {batch[0].name} to {batch[-1].name}", argv)
    if finished.exit_code:
        raise exited("pip download", finished, runner.log, _FIX)
    (folder / WHEELS).mkdir(parents=True, exist_ok=True)
    for package in batch:
        (fetched / package.file).replace(folder / WHEELS / package.file)


def _built_before(folder: Path) -> Built:
    """Return what a finished bundle here says of the wheels that were built for it, by their source's hash."""
    manifest = folder / MANIFEST
    if absent(manifest):
        return {}
    wheels = checked(_Manifest, read_object(manifest), manifest).wheels
    return {wheel.built_from: Wheel(file=wheel.file, sha256=wheel.sha256) for wheel in wheels if wheel.built_from}


def _own_package(checkout: Path, folder: Path, runner: Runner) -> Package:
    """Build our own wheel of the checkout as it is, put it into place and return it."""
    made = runner.work / "own"
    shutil.rmtree(made, ignore_errors=True)
    argv = [*PIP, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(made)]
    finished = runner.run("building our own package", [*argv, str(checkout)])
    if finished.exit_code:
        raise exited(
            "building our own package", finished, runner.log, "`make setup` brings hatchling; then call it again"
        )
    (wheel,) = made.glob("*.whl")
    digest = sha256(wheel)
    (folder / WHEELS).mkdir(parents=True, exist_ok=True)
    bytes_ = wheel.stat().st_size
    wheel.replace(folder / WHEELS / wheel.name)
    name, version = wheel.name.split("-")[:2]
    return Package(name.replace("_", "-"), version, wheel.name, digest, bytes_, source=False)


def _snapshot(one: Snapshot, contents: Contents, folder: Path, python: str, runner: Runner) -> None:
    """Download what lacks of a repository at its commit, and name the commit as the hub's cache does."""
    if not all(_there(folder / file.path, file) for file in one.files):
        into = folder / one.folder / "snapshots" / one.commit
        argv = program(python, "models.repository", "--repo", one.wanted.repo, "--repo-type", one.wanted.kind)
        argv += ("--list", str(one.listing), "--into", str(into))
        known = size(sum(file.size or 0 for file in one.files))
        finished = runner.run(f"fetching {one.wanted.repo} at {one.commit[:12]}, {known}", argv, PROGRAM_ENV)
        if finished.exit_code:
            raise exited(f"the download of {one.wanted.repo}", finished, runner.log, _FIX)
        shutil.rmtree(into / ".cache", ignore_errors=True)  # where the hub's library notes how far it is
    for place, text in refs(one, contents).items():
        write_atomic(folder / place, text)


def _there(path: Path, file: File) -> bool:
    return is_plain(path) and path.stat().st_size == file.size


def refs(one: Snapshot, contents: Contents) -> dict[str, str]:
    """Return the files by which a hub cache finds the commit: of its branch or tag, of a bare commit of `main`."""
    asked = one.wanted.revision or "main"
    if _COMMIT.fullmatch(asked):
        if sum(other.folder == one.folder for other in contents.snapshots) > 1:
            return {}
        asked = "main"
    return {f"{one.folder}/refs/{asked}": one.commit}
