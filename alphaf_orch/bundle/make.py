"""A bundle from what was asked to its last line: planned, its size told, collected, sealed, cut into parts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from alphaf_orch.bundle.collect import collect
from alphaf_orch.bundle.contents import plan_bundle
from alphaf_orch.bundle.files import INSTALLER, SUMS
from alphaf_orch.bundle.request import Request
from alphaf_orch.bundle.run import Runner
from alphaf_orch.bundle.seal import seal
from alphaf_orch.bundle.split import split
from alphaf_orch.core.disk import writing
from alphaf_orch.core.errors import RunStateError, interruptible
from alphaf_orch.core.lock import held
from alphaf_orch.planning.base import tool_python
from alphaf_orch.settings.config import RunConfig, build_config, read_config

WORK = ".partial"  # beside what is finished; gone when all is


def make_bundle(
    request: Request, out: Path, limit: int | None, say: Callable[[str], None], *, dry: bool
) -> Iterator[str]:
    """Yield the lines of the result, and with `dry` of what would come; `say` takes what happens meanwhile.

    The same call goes on with what an earlier one left. Raises what plan_bundle, collect, seal and split raise,
    RunStateError for a folder that is no bundle's, Interrupted for Ctrl-C.
    """
    out = out.expanduser().absolute()
    _require_ours(out)
    file = read_config(request.config) if request.config else {}
    config = build_config({**file, "model": ""}, str(request.config))
    work = out / WORK
    fresh = not out.exists()
    try:
        yield from _made(request, out, config, work, say, dry=dry)
    finally:
        if dry and fresh:
            shutil.rmtree(out, ignore_errors=True)
    if not dry and limit:
        parts = out.with_name(f"{out.name}.parts")
        say(f"cutting it into {parts}")
        yield from _closing(parts, split(out, parts, limit))


def _made(
    request: Request, out: Path, config: RunConfig, work: Path, say: Callable[[str], None], *, dry: bool
) -> Iterator[str]:
    """Plan, and unless `dry` collect and seal, under the folder's lock."""
    holding = held(work / "lock", f"the bundle {out}")
    told = interruptible("the bundle", out, "call the same command again: it goes on with what is there")
    with writing(out), holding as lock, told:
        runner = Runner(work, lock, say)
        contents = plan_bundle(request, config, runner)
        yield f"{out} will hold"
        yield from contents.told()
        if dry:
            return
        wheels = collect(contents, out, tool_python(config, "axolotl"), runner)
        say("reading every file")
        whole = seal(contents, wheels, out, work)
    shutil.rmtree(work)
    yield from _closing(out, whole)


def _require_ours(out: Path) -> None:
    """Raise RunStateError for a folder with content that no bundle put there."""
    known = (SUMS, WORK, INSTALLER)  # a manifest has every run, too
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not any((out / name).exists() for name in known))):
        raise RunStateError(
            "there is something else than a bundle",
            where=str(out),
            fix="name a new folder with --out",
            code="run.folder_taken",
        )


def _closing(folder: Path, digest: str) -> Iterator[str]:
    yield f"done: {folder}"
    yield f"  {SUMS} has the SHA-256 {digest}"
    yield f"  there: sh {INSTALLER} --manifest-sha256 {digest}   (send that number another way than the files)"
