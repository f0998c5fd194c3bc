"""How one model differs from another: the figure, its interval and test, and what may be said of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeVar

from alphaf_orch.core.wording import Text
from alphaf_orch.scores.significance import SIGNIFICANT, holm

Kind = Literal["mcnemar", "exchange", "arms", ""]
# better_rows, worse_rows: the models' answers differ, but each was trained once, so the cause is not known.
Verdict = Literal["better", "worse", "better_rows", "worse_rows", "none", "untested", "refused"]
_Key = TypeVar("_Key")


@dataclass(frozen=True)
class Errors:
    """Where the noise of a difference comes from: the standard error that each source alone would leave it.

    Units of the score. For the difference of an overall score all are those of the overall score.
    """

    rows: float | None  # of the rows, each taken as one of its own; None: fewer than two, or no mean of rows
    clusters: float | None  # of the rows, with those kept together that share a cluster; equals `rows` without clusters
    seeds: float | None = 0.0  # of the trainings; 0 where nothing was trained between the two, None where one seed is
    together: float = 0.0  # what seed and cluster do together, a part of `clusters`
    freedom: float = 1e9  # degrees of freedom of the whole

    @property
    def total(self) -> float | None:
        """The standard error of the difference, as its interval has it; None where a source of it is not known."""
        if self.clusters is None or self.seeds is None:
            return None
        return math.hypot(self.clusters, self.seeds)


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
    clusters: int = 0  # how many of them are independent; 0: as many as rows
    one_seed: bool = False  # each of the two was trained, once: what another training would score is not known
    errors: Errors | None = None
    tests: int = 1  # how many the correction was for

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
        """Whether the later model is better, worse, or not shown to differ; of one seed each, its rows alone."""
        if self.p_told is None:
            return "untested"
        if self.p_told >= SIGNIFICANT or self.estimate == 0:
            return "none"
        if self.one_seed:
            return "better_rows" if (self.estimate > 0) == self.higher_is_better else "worse_rows"
        return "better" if (self.estimate > 0) == self.higher_is_better else "worse"


@dataclass(frozen=True)
class Refused:
    """Why two results were not compared."""

    verdict: ClassVar[Verdict] = "refused"
    reason: Text


def agreeing(found: Difference) -> Difference:
    """Return the difference with an interval that holds zero where its own test (uncorrected) cannot rule zero out."""
    if found.low is None or found.high is None or found.p is None or found.p < SIGNIFICANT:
        return found
    return replace(found, low=min(found.low, 0.0), high=max(found.high, 0.0))


def mean_of(by_seed: tuple[float, ...]) -> float:
    """Return the mean over the seeds."""
    return sum(by_seed) / len(by_seed)


def corrected(found: Mapping[_Key, Difference]) -> dict[_Key, Difference]:
    """Return the differences with Holm's p: all tests among them are one family."""
    tested = {key: each.p for key, each in found.items() if each.p is not None}
    fixed = dict(zip(tested, holm(list(tested.values())), strict=True))
    return {key: replace(each, p_holm=fixed.get(key), tests=max(1, len(tested))) for key, each in found.items()}
