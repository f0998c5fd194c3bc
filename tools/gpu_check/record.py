"""What was found so far, in one JSON file that is written after every step: an end in the middle costs one step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alphaf_orch.core.record import write_atomic


@dataclass
class Record:
    """The state of a check: the machine, and what came of each step, in the order of the steps."""

    path: Path
    machine: dict[str, Any] = field(default_factory=dict)
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Record:
        """Return the record of earlier calls, empty where there is none."""
        if not path.is_file():
            return cls(path)
        found = json.loads(path.read_text(encoding="utf-8"))
        return cls(path, found["machine"], found["steps"])

    def finished(self, name: str) -> bool:
        """Return whether a step ended, well or not: it is not run again."""
        return self.steps.get(name, {}).get("state") in ("done", "failed")

    def found(self, name: str) -> dict[str, Any]:
        """Return the facts that a step has noted so far, in this call or an earlier one, without what became of it."""
        noted = self.steps.get(name, {})
        return {key: value for key, value in noted.items() if key not in ("state", "why", "seconds")}

    def note(self, name: str, state: str, **facts: Any) -> None:
        """Set a step's state and facts, and write the whole record by rename."""
        self.steps[name] = {"state": state, **facts}
        write_atomic(self.path, json.dumps(self.as_json(), ensure_ascii=False, indent=1) + "\n")

    def as_json(self) -> Mapping[str, Any]:
        """Return the record as it is written."""
        return {"machine": self.machine, "steps": self.steps}
