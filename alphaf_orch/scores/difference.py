"""How one model differs from another: the figure, its interval and test, and what may be said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeVar

from alphaf_orch.core.wording import Text
from alphaf_orch.scores.significance import SIGNIFICANT, holm

Kind = Literal["mcnemar", "exchange", "arms", ""]
Verdict = Literal["better", "worse", "none", "untested", "refused"]
_Key = TypeVar("_Key")


@dataclass(frozen=True)
class Difference:
    """What a later model does differently, in the units of the score; without p it was not tested."""

    before: tuple[float, ...]  # the score of each model, one a seed
    after: tuple[float, ...]
    rows: int
    higher_is_better: bool | None = True
    low: float | None = None  # 95% interval
    high: float | None = None
    kind: Kind = ""
    p: float | None = None
    p_holm: float | None = None
    gained: int = 0  # rows of a 0/1 metric that went from 0 to 1, and from 1 to 0
    lost: int = 0

    @property
    def estimate(self) -> float:
        """The later model's mean over the seeds less the earlier one's."""
        return mean_of(self.after) - mean_of(self.before)

    @property
    def p_told(self) -> float | None:
        """The p that counts: after correction where there was one."""
        return self.p if self.p_holm is None else self.p_holm

    @property
    def verdict(self) -> Verdict:
        """Whether the later model is better, worse, or not shown to differ."""
        if self.p_told is None:
            return "untested"
        if self.p_told >= SIGNIFICANT or self.estimate == 0:
            return "none"
        return "better" if (self.estimate > 0) == self.higher_is_better else "worse"


@dataclass(frozen=True)
class Refused:
    """Why two results were not compared."""

    verdict: ClassVar[Verdict] = "refused"
    reason: Text


def mean_of(by_seed: tuple[float, ...]) -> float:
    """Return the mean over the seeds."""
    return sum(by_seed) / len(by_seed)


def corrected(found: Mapping[_Key, Difference]) -> dict[_Key, Difference]:
    """Return the differences with Holm's p: all tests among them are one family."""
    tested = {key: each.p for key, each in found.items() if each.p is not None}
    fixed = dict(zip(tested, holm(list(tested.values())), strict=True))
    return {key: replace(each, p_holm=fixed.get(key)) for key, each in found.items()}
