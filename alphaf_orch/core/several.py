"""Mistakes of one file or one command told together, so that they are mended in one go."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from alphaf_orch.core.errors import AlphafError
from alphaf_orch.programs.mistakes import SHOWN

_BEHIND_A_FILE = (" line ", ", key ")
Value = TypeVar("Value")


def told_together(errors: Sequence[AlphafError]) -> AlphafError:
    """Return the one error there is, or one of the first's kind that tells all, the first SHOWN of them in full."""
    each = [part for error in errors for part in error.parts or (error,)]
    if len(each) == 1:
        return each[0]
    file = _file(each[0])
    one_file = all(_file(part) == file for part in each)
    each = sorted(each, key=_line) if one_file else each
    shown = each[:SHOWN]
    count = f"{len(each)} mistakes" if len(shown) == len(each) else f"{len(each)} mistakes, the first {SHOWN} of them"
    lines = [f"  {_place(part, file) if one_file else part.where}: {part.what}" for part in shown]
    fixes = list(dict.fromkeys(part.fix for part in shown if not part.fix.startswith("mend "))) or ["mend each of them"]
    code = each[0].code if len({part.code for part in each}) == 1 else f"{each[0].domain}.several_mistakes"
    made = type(each[0])(
        f"{count}:\n" + "\n".join(lines),
        where=file if one_file else each[0].where,
        fix="\n         ".join(fixes),
        code=code,
    )
    made.parts = tuple(each)
    return made


def raise_all(errors: Sequence[AlphafError]) -> None:
    """Raise what told_together makes of them; nothing where there are none."""
    if errors:
        raise told_together(errors)


def found_in(checks: Iterable[Callable[[], object]]) -> list[AlphafError]:
    """Return what the checks raise, each of them made whatever the others found."""
    found = []
    for check in checks:
        try:
            check()
        except AlphafError as error:
            found.append(error)
    return found


def _file(error: AlphafError) -> str:
    ends = [at for mark in _BEHIND_A_FILE if (at := error.where.find(mark)) >= 0]
    return error.where[: min(ends)] if ends else error.where


def _line(error: AlphafError) -> int:
    found = re.search(r" line (\d+)", error.where)
    return int(found[1]) if found else 0


def _place(error: AlphafError, file: str) -> str:
    return error.where.removeprefix(file).lstrip(" ,") or error.where
