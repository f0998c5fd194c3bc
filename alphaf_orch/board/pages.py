"""The reports that a board shows: files of known names in known folders, and nothing that a link leads out to."""

from __future__ import annotations

import os
from pathlib import Path

from alphaf_orch.board.state import Experiment, Run, Snapshot
from alphaf_orch.core.file_kinds import NotAFile, open_file
from alphaf_orch.core.names import real

MOST_BYTES = 256 << 20  # ours: a report has some five MB, most of it plotly


def pages_of(snapshot: Snapshot) -> dict[str, tuple[Path, str]]:
    """Return every report there is, as the board calls it: the folder that it has to lie in, and its path there."""
    found = {name: (snapshot.root, name) for name in snapshot.pages}
    everything: tuple[Run | Experiment, ...] = (*snapshot.runs, *snapshot.experiments)
    for each in everything:
        found |= {f"{each.name}/{name}": (each.folder, name) for name in each.pages}
    return found


def read_page(folder: Path, name: str) -> bytes | None:
    """Return the report; None for what is no regular file, too large, or lies elsewhere than it seems to."""
    try:
        with open_file(folder / name) as file:
            # Of what was opened, not of the name: that may lead elsewhere a moment later.
            place = Path(os.readlink(f"/proc/self/fd/{file.fileno()}"))  # noqa: PTH115  (of no path of ours)
            if real(folder) not in place.parents:
                return None
            data = file.read(MOST_BYTES + 1)
    except (OSError, NotAFile):
        return None
    return data if len(data) <= MOST_BYTES else None
