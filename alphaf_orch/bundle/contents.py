"""What a bundle will hold, known before it is fetched: packages, repositories, the user's files, and their size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from alphaf_orch.bundle.files import File, check_place
from alphaf_orch.bundle.found import Package
from alphaf_orch.bundle.packages import find_packages
from alphaf_orch.bundle.request import Local, Request, Wanted, settle
from alphaf_orch.bundle.run import AGAIN, Runner
from alphaf_orch.bundle.target import pinned
from alphaf_orch.core.command import PROGRAM_ENV, program
from alphaf_orch.core.disk import size
from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.record import fingerprint
from alphaf_orch.core.stored import absent, checked, read_value
from alphaf_orch.planning.base import tool_python
from alphaf_orch.runs.launch import exited
from alphaf_orch.settings.config import RunConfig

_FETCH_FIX = "mend what that says, then call the same command again: it goes on"


class _Entry(BaseModel):
    path: str
    size: int | None
    sha256: str | None
    git: str | None


class _Listing(BaseModel):
    commit: str
    files: list[_Entry]
    left_out: list[str]


@dataclass(frozen=True)
class Snapshot:
    """One repository at a commit: its folder in a hub cache, and its files' git hashes where they have no SHA-256."""

    wanted: Wanted
    commit: str
    folder: str
    files: tuple[File, ...]
    git: Mapping[str, str]
    listing: Path
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Contents:
    """All that comes into a bundle but what is made of it: environments by folder name, repositories, own files."""

    request: Request
    environments: Mapping[str, tuple[Package, ...]]
    snapshots: tuple[Snapshot, ...]
    local: tuple[Local, ...]

    def packages(self) -> list[Package]:
        """Return every package of every environment once, by file name."""
        each = {package.file: package for packages in self.environments.values() for package in packages}
        return [each[file] for file in sorted(each)]

    def sizes(self) -> dict[str, tuple[int, int, int]]:
        """Return files, known bytes and files of unknown size, by what they are."""
        groups: dict[str, Sequence[int | None]] = {"packages": [package.size for package in self.packages()]}
        for one in self.snapshots:
            groups[f"{one.wanted.kind} {one.wanted.repo}@{one.commit[:12]}"] = [file.size for file in one.files]
        groups["your files"] = [one.file.size for one in self.local]
        return {
            name: (len(found), sum(n for n in found if n is not None), sum(n is None for n in found))
            for name, found in groups.items()
            if found
        }

    def known_bytes(self) -> int:
        """Return the bytes of all files whose size is known."""
        return sum(known for _, known, _ in self.sizes().values())

    def told(self) -> Iterator[str]:
        """Yield the lines that say what is to come, and how large it is."""
        for name, (files, known, unknown) in self.sizes().items():
            more = f", and {unknown} of unknown size" if unknown else ""
            yield f"  {name}: {files} files, {size(known)}{more}"
        built = sorted(package.name for package in self.packages() if package.source)
        if built:
            yield f"  built here, for they come as source: {', '.join(built)}"
        for one in self.snapshots:
            if one.left_out:
                yield f"  left out of {one.wanted.repo}, for python unpickles them: {', '.join(one.left_out)}"
        yield f"in all {size(self.known_bytes())}"


def plan_bundle(request: Request, config: RunConfig, runner: Runner) -> Contents:
    """Return what the bundle will hold; asks the index and the hub, fetches no wheel and no weights.

    Raises ConfigError where alphaf is no checkout, and what is asked for is not there; ToolError for packages that
    the index has no file of; StageError where pip or the hub's library fails.
    """
    locks = request.checkout / "requirements"
    if not (locks / f"{request.accel}.lock").is_file():
        raise ConfigError(
            "a bundle is made from a checkout, which has the locks and our own source",
            where=str(locks),
            fix="clone the repository on the connected machine and call `make bundle` there",
            code="config.no_checkout",
        )
    wanted, local = settle(request, config)
    python = tool_python(config, "axolotl")
    snapshots = tuple(_look(one, python, request, runner) for one in wanted)
    environments = {"venv": (request.accel, "nodeps")} | ({"venv-vllm": ("vllm",)} if request.vllm else {})
    found = {}
    for name, files in environments.items():
        pins: dict[str, str] = {}
        for file in files:
            pins |= pinned((locks / f"{file}.lock").read_text(encoding="utf-8"), request.target)
        found[name] = tuple(find_packages(pins, request.target, runner))
    return Contents(request, found, snapshots, tuple(local))


def _look(wanted: Wanted, python: str, request: Request, runner: Runner) -> Snapshot:
    """Return the repository's commit and files; what was found once stays, so that a bundle goes on with one commit."""
    listing = runner.work / f"repository-{fingerprint([*vars(wanted).values(), request.allow_pickle])[:16]}.json"
    if absent(listing):
        argv = program(python, "models.repository", "--repo", wanted.repo, "--repo-type", wanted.kind)
        argv += ("--list", str(listing))
        argv += ("--revision", wanted.revision) if wanted.revision else ()
        argv += ("--pickles",) if request.allow_pickle else ()
        finished = runner.run(f"asking the hub for {wanted.repo}", argv, PROGRAM_ENV)
        if finished.exit_code:
            raise exited(f"the listing of {wanted.repo}", finished, runner.log, _FETCH_FIX)
    found = checked(_Listing, read_value(listing, AGAIN), listing, AGAIN)
    folder = f"hub/{wanted.kind}s--{wanted.repo.replace('/', '--')}"
    place = f"{folder}/snapshots/{found.commit}"
    files, git = [], {}
    for entry in found.files:
        path = check_place(f"{place}/{entry.path}", wanted.repo)
        files.append(File(path, entry.size, entry.sha256))
        if entry.git:
            git[path] = entry.git
    return Snapshot(wanted, found.commit, folder, tuple(files), git, listing, tuple(found.left_out))
