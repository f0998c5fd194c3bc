"""The lines a judge's work is kept in: appended one by one, read back, never mixed with those of another judge."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from alphaf_orch.core.disk import writing
from alphaf_orch.core.errors import RunStateError
from alphaf_orch.core.line_shapes import Verdict
from alphaf_orch.core.lock import held
from alphaf_orch.core.paths import RunPaths
from alphaf_orch.core.record import write_atomic
from alphaf_orch.core.shapes import lines_of
from alphaf_orch.core.stored import first_mistake, mending, numbered_lines, usable
from alphaf_orch.programs.json_lines import cut_half_line

Row = dict[str, Any]
Name = tuple[object, ...]


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file; a last line that was cut off is left out.

    Raises RunStateError naming the line where one is no verdict and no vote.
    """
    read = lines_of(Verdict).validate_json
    for number, line in numbered_lines(path):
        if not line.endswith(b"\n"):
            return
        try:
            row = read(line)
        except ValidationError as error:
            # Without a key to name it is no object at all.
            told = first_mistake(error) if error.errors()[0]["loc"] else ""
            raise RunStateError(
                f"a line is no verdict: {told}" if told else "a line holds no JSON object",
                where=f"{path} line {number}",
                fix=f"remove that line: the next run asks for what it held; {mending(path)}",
                code="run.unreadable",
            ) from None
        yield row


@contextlib.contextmanager
def open_verdicts(path: Path) -> Iterator[VerdictFile]:
    """Hold the file for this process, without a last line that a crash cut off.

    Raises RunStateError where another process has it.
    """
    what = f"the judging of {path.parent.name}"
    usable(path)
    with (
        held(path.parent / ".lock", what, heed=RunPaths(path.parents[2]).stop_wish),
        writing(path),
        contextlib.closing(VerdictFile(path, path.open("ab"))) as file,
    ):
        cut_half_line(path)
        yield file


def _line(row: Row) -> bytes:
    # A model can write half a character, which no file can hold.
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


class VerdictFile:
    """A file of rows that is added to."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file = path, file

    def append(self, row: Row) -> None:
        """Write one row; it is there for the next run as soon as this returns, whatever ends the process."""
        with writing(self._path):
            self._file.write(_line(row))
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def kept(
        self,
        name: Callable[[Row], Name],
        expected: Callable[[Row], Mapping[str, str] | None],
        parts: Mapping[str, str],
    ) -> set[Name]:
        """Return the names of the questions that have a row already.

        `expected` gives the keys (fingerprints) that a row must show, or None for one that nobody asks for;
        `parts` says in words what each key stands for. Raises RunStateError naming what has changed since: rows
        of different judges, prompts or answers are no one result. A refusal is no result: its row goes where anything
        has changed, and where the judge has not answered a single question yet.
        """
        found, rows = set(), list(read_rows(self._path))
        answered = any(not row.get("refused") for row in rows)
        staying = []
        for row in rows:
            try:
                keys, wanted = row["keys"], expected(row)
                named = name(row)
            except KeyError as error:
                raise self._foreign(f"a row lacks {error}") from None
            changed = wanted is not None and [part for part, key in wanted.items() if keys.get(part) != key]
            if row.get("refused") and (wanted is None or changed or not answered):
                continue
            if wanted is None:
                raise self._foreign(f"{' '.join(map(str, named))} is not asked for any more")
            if changed:
                raise self._foreign(f"changed since: {', '.join(parts[part] for part in changed)}")
            staying.append(row)
            found.add(named)
        if len(staying) < len(rows):
            self._replace(staying)
        return found

    def _replace(self, rows: Iterable[Row]) -> None:
        write_atomic(self._path, b"".join(map(_line, rows)).decode("utf-8"))
        self._file.close()
        self._file = self._path.open("ab")

    def _foreign(self, difference: str) -> RunStateError:
        return RunStateError(
            f"the verdicts kept here do not belong to this question ({difference})",
            where=str(self._path.parent),
            fix="take the change back, or rename or remove that folder to judge anew",
            code="run.other_inputs",
        )
