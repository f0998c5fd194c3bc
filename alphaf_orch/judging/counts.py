"""What is added up over the lines of verdicts or votes, whatever they say, and why some hold none."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_CAUSES = 10  # ours: more kinds than these are in the lines themselves
_NUMBER = re.compile(r"\d+")


@dataclass
class Counts:
    """The sums, and the reasons of what could not be read or was refused."""

    verdicts: int = 0
    unreadable: int = 0
    refused: int = 0
    retried: int = 0
    attempts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    without_usage: int = 0
    judging_s: float = 0.0
    judges: Counter[str] = field(default_factory=Counter)
    causes: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, row: Mapping[str, Any], verdict: object) -> None:
        """Count one line."""
        self.verdicts += 1
        if verdict is None:
            self._add_cause(row)
        self.retried += row["attempts"] > 1
        self.attempts += row["attempts"]
        self.judging_s += row["seconds"]
        self.judges[row["judge"]] += 1
        usage = row["usage"]
        if usage is None:
            self.without_usage += 1
        else:
            self.prompt_tokens += usage["prompt_tokens"]
            self.completion_tokens += usage["completion_tokens"]

    def figures(self) -> dict[str, Any]:
        """Return the sums; tokens are what the server counted, and for how many lines it did not."""
        return {
            "judge": ", ".join(sorted(self.judges)),
            "verdicts": self.verdicts,
            "parse_failures": self.unreadable,
            "refusals": self.refused,
            "causes": [
                {"end": cause[0], "why": self.examples[cause], "verdicts": count}
                for cause, count in self.causes.most_common(_CAUSES)
            ],
            "retried": self.retried,
            "requests": self.attempts,
            "tokens": {
                "prompt": self.prompt_tokens,
                "completion": self.completion_tokens,
                "verdicts_without_count": self.without_usage,
            },
            "judging_s": round(self.judging_s, 3),
        }

    def _add_cause(self, row: Mapping[str, Any]) -> None:
        end, why = "refused" if row.get("refused") else "unreadable", str(row.get("error"))
        self.refused += end == "refused"
        self.unreadable += end == "unreadable"
        cause = end, _NUMBER.sub("N", why)  # lengths differ from prompt to prompt, and are one reason
        self.causes[cause] += 1
        self.examples.setdefault(cause, why)
