"""Deletes what a finished run needs no more: held, recorded first, renamed and then deleted."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from alphaf_orch.core.disk import writing
from alphaf_orch.core.places import freed
from alphaf_orch.runs.cleaned import note_cleaned
from alphaf_orch.runs.cleaning.needless import CLEANED, Found, Item, holding, judged


def clean_run(found: Found, *, merged: bool) -> tuple[int, list[Item]]:
    """Return the bytes that were freed and what was deleted of what was found; raise RunStateError for a run in use.

    What no record speaks of goes first: the record itself needs room. Whatever is cut off, the same call goes on.
    """
    wanted = {item.path for item in found.items}
    with holding(found.paths), writing(found.paths.root):
        # Looked at again under the lock: a run may have begun and ended meanwhile.
        items = [item for item in judged(found.paths, found.name, merged=merged).items if item.path in wanted]
        size = freed([item.path for item in items])
        for item in sorted(items, key=lambda item: bool(item.stage)):
            if item.stage:
                note_cleaned(found.paths, item.stage, item.path)
            delete(item.path)
    return size, items


def delete(path: Path) -> None:
    """Delete a file or folder: out of sight by one rename, then gone; a link only itself."""
    doomed = path
    if not path.name.endswith(CLEANED):
        target = path.with_name(f"{path.name}{CLEANED}")
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        with contextlib.suppress(OSError):  # a full disk may not even take a name: then it goes where it is
            doomed = path.rename(target)
    if doomed.is_dir() and not doomed.is_symlink():
        shutil.rmtree(doomed)
    else:
        doomed.unlink(missing_ok=True)
