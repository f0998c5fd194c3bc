"""What both generators do with their texts: write them, or say which file is not up to date."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_or_check(files: Mapping[Path, str], argv: Sequence[str] | None, program: str, purpose: str | None) -> int:
    """Write the files, or with --check only compare them; returns 0, or 1 where --check found a difference."""
    parser = argparse.ArgumentParser(prog=program, description=purpose)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file is not up to date")
    check = parser.parse_args(argv).check
    stale = 0
    for path, text in files.items():
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Renamed into place, so that an interrupted run leaves the old file whole.
            temporary = path.with_suffix(".tmp")
            temporary.write_text(text, encoding="utf-8", newline="\n")
            temporary.replace(path)
            print(f"{path.name}: {text.count(chr(10))} rows")
        elif not path.is_file() or path.read_bytes() != text.encode("utf-8"):
            stale = 1
            what = f"error: {path.name} is not what the generator writes"
            print(f"{what}\n  where: {path}\n  next:  run PYTHONPATH=tools python -m {program}", file=sys.stderr)
    return stale
