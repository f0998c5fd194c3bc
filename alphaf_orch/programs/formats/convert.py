"""Child program: turns rows of any known format into one canonical JSON Lines file.

Usage: python -m alphaf_orch.programs.formats.convert JSON

JSON holds the fields of converting.Wanted. Prints the facts as one JSON object; where the rows can't be taken it is
{"error": {"what", "where", "fix"}} and the exit code is 3; where the disk refuses the copy, {"errno"}.
"""

from __future__ import annotations

import errno
import json
import os
from contextlib import AbstractContextManager
from pathlib import Path

from alphaf_orch.programs.common import DATA, program
from alphaf_orch.programs.formats.converting import Wanted, convert
from alphaf_orch.programs.formats.files import Reading
from alphaf_orch.programs.formats.hub_set import hub_reading
from alphaf_orch.programs.formats.reading import reading

_OF_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


class _Told(Exception):
    def __init__(self, what: str, *, where: object, fix: str, code: str) -> None:
        self.error = {"what": what, "where": str(where), "fix": fix, "code": code}
        super().__init__(what)


def _opened(wanted: Wanted) -> AbstractContextManager[Reading]:
    if wanted.hub:
        return hub_reading(wanted.place, wanted.hub, wanted.config, wanted.split)
    return reading(Path(wanted.place))


def main(argv: list[str]) -> int:
    """Convert what the one argument says; the facts, or the error, are the last line of what is printed."""
    # What libraries print goes with their warnings.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        wanted = Wanted(**json.loads(argv[0]))
        found, code = convert(wanted, _opened(wanted), _Told), 0
    except _Told as told:
        found, code = {"error": told.error}, DATA
    except OSError as error:
        if error.errno not in _OF_DISK:
            raise
        found, code = {"errno": error.errno}, 1
    print(json.dumps(found, ensure_ascii=False), file=answer, flush=True)
    return code


if __name__ == "__main__":
    program(main)
