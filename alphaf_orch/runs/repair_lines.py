"""Files of lines of which some are damaged: which lines are whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from alphaf_orch.core.stored import first_mistake, numbered_lines


@dataclass(frozen=True)
class Reader:
    """What a line has to be: of a shape, and what more `check` asks of it, which raises ValueError or KeyError."""

    shape: type[BaseModel]
    check: Callable[[dict[str, Any]], object] | None = None

    def wrong(self, line: bytes) -> str | None:
        """Return what is wrong with a line, None where nothing is."""
        if not line.endswith(b"\n"):
            return "its end is cut off"
        try:
            value = json.loads(line)
            self.shape.model_validate(value)
            if self.check:
                self.check(value)
        except ValidationError as error:
            return first_mistake(error)
        except KeyError as error:
            return f"{error} is missing"
        except (ValueError, RecursionError, TypeError):
            return "it is no JSON of ours"
        return None


def whole_lines(path: Path, reader: Reader) -> tuple[list[bytes], int, str]:
    """Return the lines that can be read, how many cannot, and the number and fault of the first of those."""
    kept, lost, first = [], 0, ""
    for number, line in numbered_lines(path):
        wrong = reader.wrong(line)
        if wrong is None:
            kept.append(line)
            continue
        lost += 1
        first = first or f"line {number:,}: {wrong}"
    return kept, lost, first
