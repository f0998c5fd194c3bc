"""What lies below a folder into which others write meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def walked(folder: Path) -> Iterator[Path]:
    """Yield every file and folder below a folder; what vanishes meanwhile is passed over, which `rglob` raises for."""
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            yield Path(place, name)
