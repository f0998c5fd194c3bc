"""What a run was allowed beyond plain data, by which flag, and the files that this let in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alphaf_orch.core.command import child_env
from alphaf_orch.core.record import read_json
from alphaf_orch.inputs import hub_cache
from alphaf_orch.inputs.executable import Executable, pickles, python_files
from alphaf_orch.inputs.model_files import brings_code
from alphaf_orch.planning.resolved import Resolved

FLAGS = {"pickle": "--allow-pickle", "code": "--trust-remote-code"}


def let_in(resolved: Resolved) -> tuple[Executable, ...]:
    """Return the files that run or are unpickled because a flag allows it: one that nothing needs lets nothing in."""
    found: tuple[Executable, ...] = ()
    base = resolved.base
    if base and base.pickled:
        found += pickles(base.model, base.pickled)
    if base and resolved.remote_code:
        folder = base.pickled or _folder(base.name, base.revision)
        found += python_files(base.model, folder, os.environ) if folder else ()
    if resolved.merge and resolved.config.trust_remote_code:
        for partner in resolved.merge.partners:
            folder = Path(partner.path)
            if folder.is_dir() and brings_code(read_json(folder / "config.json") or {}):
                found += python_files(partner.name, folder, os.environ)
    return found


def _folder(name: str, revision: str | None) -> Path | None:
    place = Path(name)
    return place if place.is_dir() else hub_cache.snapshot(name, "model", revision, child_env({}, online=False))


def given(resolved: Resolved) -> list[str]:
    """Return the flags that the run was given, now or when it began."""
    config = resolved.config
    said = {"pickle": config.allow_pickle, "code": config.trust_remote_code}
    return [flag for kind, flag in FLAGS.items() if said[kind]]


def record(resolved: Resolved, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the manifest is to keep: the flags and their files with a SHA-256 each; nothing where none was given.

    A call that does not look at the base model forgets none of the files that are recorded.
    """
    flags = given(resolved)
    if not flags:
        return {}
    files = {(each["model"], each["file"]): each for each in manifest.get("allowed", {}).get("files", [])}
    for one in let_in(resolved):
        kept = one.record()
        files[kept["model"], kept["file"]] = kept
    return {"allowed": {"flags": flags, "files": list(files.values())}}


def lines(flags: list[str], files: list[tuple[str, str, str]]) -> list[str]:
    """Return a line a flag: what it let in, as (kind, model, file); that it let in nothing is said too."""
    found = []
    for kind, flag in FLAGS.items():
        if flag in flags:
            names = [f"{file} of {model}" for each, model, file in files if each == kind]
            found.append(f"{flag}: {', '.join(names) or 'nothing here needs it'}")
    return found
