"""The lines a judge's work is kept in: appended one by one, read back, never mixed with those of another judge."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from alphaf_orch.core.disk import writing
from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.lock import held
from alphaf_orch.programs.json_lines import cut_half_line

Row = dict[str, Any]
Name = tuple[object, ...]


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file; a last line that was cut off is left out.

    Raises RunStateError naming the line where one is no JSON object.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise RunStateError(
                    "a line holds no JSON object",
                    where=f"{path} line {number}",
                    fix="remove that line; the next run asks for what it held",
                )
            yield row


@contextlib.contextmanager
def open_verdicts(path: Path) -> Iterator[VerdictFile]:
    """Hold the file for this process, without a last line that a crash cut off.

    Raises RunStateError where another process has it.
    """
    what = f"the judging of {path.parent.name}"
    with held(path.parent / ".lock", what), writing(path), path.open("ab") as file:
        cut_half_line(path)
        yield VerdictFile(path, file)


class VerdictFile:
    """A file of rows that is added to."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file = path, file

    def append(self, row: Row) -> None:
        """Write one row; it is there for the next run as soon as this returns, whatever ends the process."""
        # A model can write half a character, which no file can hold.
        line = json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        with writing(self._path):
            self._file.write(line)
            self._file.flush()

    def kept(
        self,
        name: Callable[[Row], Name],
        expected: Callable[[Row], Mapping[str, str] | None],
        parts: Mapping[str, str],
    ) -> set[Name]:
        """Return the names of the questions that have a row already.

        `expected` gives the keys (fingerprints) that a row must show, or None for one that nobody asks for;
        `parts` says in words what each key stands for. Raises RunStateError naming what has changed since: rows
        of different judges, prompts or answers are no one result.
        """
        found = set()
        for row in read_rows(self._path):
            try:
                keys, wanted = row["keys"], expected(row)
                found.add(name(row))
            except KeyError as error:
                raise self._foreign(f"a row lacks {error}") from None
            if wanted is None:
                raise self._foreign(f"{' '.join(map(str, name(row)))} is not asked for any more")
            changed = [parts[part] for part, key in wanted.items() if keys.get(part) != key]
            if changed:
                raise self._foreign(f"changed since: {', '.join(changed)}")
        return found

    def _foreign(self, difference: str) -> RunStateError:
        return RunStateError(
            f"the verdicts kept here do not belong to this question ({difference})",
            where=str(self._path.parent),
            fix="take the change back, or rename or remove that folder to judge anew",
        )
