"""The statistics of a pairwise comparison: shares with confidence intervals, and what length has to do with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alphaf_orch.scores import resampling, significance
from alphaf_orch.scores.bounds import SHARE, held
from alphaf_orch.scores.significance import Z95

Floats = NDArray[np.float64]

RESAMPLES = 10_000
_NO_SPREAD = 1e-9  # of a standard error, in logits
_SEED = 20240404  # any fixed number: the same verdicts give the same interval


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% interval; where either cannot be had it is None and `note` says why."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    note: str | None = None


@dataclass(frozen=True)
class LengthControlled:
    """The win rate that would be left if both models wrote equally long, and the model it comes from."""

    win_rate: Estimate
    theta: float | None = None  # quality, in logits
    phi: float | None = None  # what one unit of tanh(length difference / sigma) adds, in logits
    sigma: float | None = None  # standard deviation of the length difference, in characters


def ratio(parts: Floats, wholes: Floats, nothing: str) -> Estimate:
    """Return sum(parts) / sum(wholes) over prompts, each part from 0 to its whole, with a bootstrap over the prompts.

    Prompts with equal (part, whole) are alike, so a resample is one draw of how often each kind occurs:
    exactly the bootstrap over prompts, in the time of a handful of classes. However alike the prompts came out, the
    interval holds what z^2 more of them at either end would make of it. `nothing` is the note where the wholes add up
    to nothing.
    """
    n, whole = len(parts), float(wholes.sum())
    if not whole:
        return Estimate(None, None, None, n, nothing)
    value = float(parts.sum()) / whole
    classes, counts = np.unique(np.stack([parts, wholes], axis=1), axis=0, return_counts=True)
    if len(classes) < 2:
        note = "a single prompt" if n == 1 else "every prompt came out alike"
        return Estimate(value, *held((value, value), value, n, SHARE), n, f"{note}: the interval goes by their number")

    def ratios(drawn: NDArray[np.int64]) -> Floats:
        part, every = (drawn @ classes).T
        found: Floats = part[every > 0] / every[every > 0]
        return found

    low, high = resampling.bootstrap(ratios, counts, RESAMPLES, _SEED)
    return Estimate(value, *held((low, high), value, float((wholes > 0).sum()), SHARE), n)


def mean(scores: Floats) -> Estimate:
    """Return the mean of the prompts' scores with its bootstrap interval."""
    return ratio(scores, np.ones_like(scores), "nothing was judged in both orders")


def wilson(hits: int, n: int) -> Estimate:
    """Return the share of hits with Wilson's score interval."""
    if not n:
        return Estimate(None, None, None, 0, "nothing was counted")
    low, high = significance.wilson(hits, n)
    return Estimate(hits / n, low, high, n)


def length_controlled(scores: Floats, differences: Floats) -> LengthControlled:
    """Return the win rate with the length difference taken out.

    `scores` are a's shares of the points (0 to 1) and `differences` its characters less b's, prompt by prompt.
    logit P(a wins) = theta + phi * tanh(difference / sigma) is fitted by maximum (quasi-)likelihood; the win rate
    is the sigmoid of theta and its interval comes from the robust (sandwich) variance on the logit scale.
    """
    n = len(scores)
    sigma = float(differences.std()) if n else 0.0
    lengths = np.tanh(differences / sigma) if sigma else np.zeros(n)
    fitted, reason = None, _not_estimable(scores, differences, lengths)
    design = np.stack([np.ones(n), lengths], axis=1)
    if not reason:
        fitted = _fit(design, scores)
    if fitted is None:
        return LengthControlled(Estimate(None, None, None, n, f"not estimable: {reason or 'the fit did not converge'}"))
    theta, phi = float(fitted[0]), float(fitted[1])
    error = _robust_error(design, scores, _sigmoid(design @ fitted))
    value, low, high = (float(_sigmoid(np.array(theta + z * error))) for z in (0.0, -Z95, Z95))
    if error < _NO_SPREAD:
        note = "the length fit leaves no spread: no interval can be estimated"
        return LengthControlled(Estimate(value, None, None, n, note), theta, phi, sigma)
    return LengthControlled(Estimate(value, *held((low, high), value, n, SHARE), n), theta, phi, sigma)


def _not_estimable(scores: Floats, differences: Floats, lengths: Floats) -> str | None:
    if len(scores) < 2:
        return "fewer than two prompts"
    if not differences.any():
        return "no length differences"
    if not lengths.any():
        return "the same length difference everywhere"
    # Half a point counts for both sides; where the sides do not overlap, the likelihood has no maximum.
    won, lost = lengths[scores > 0], lengths[scores < 1]
    if not len(won) or not len(lost):
        return "one model won every prompt"
    if won.max() <= lost.min() or lost.max() <= won.min():
        return "length alone separates wins from losses"
    return None


def _robust_error(design: Floats, scores: Floats, chance: Floats) -> float:
    """Return the sandwich standard error of the intercept; it holds for shares of points too, not only 0 and 1."""
    bread = np.linalg.inv((design * (chance * (1 - chance))[:, None]).T @ design)
    influence = (design * (scores - chance)[:, None]) @ bread
    return float(np.sqrt((influence[:, 0] ** 2).sum()))


def _fit(design: Floats, scores: Floats) -> Floats | None:
    """Return the two coefficients where the likelihood is highest, or None where no such place was found."""
    from scipy.optimize import root

    def gradient(beta: Floats) -> Floats:
        return design.T @ (scores - _sigmoid(design @ beta))

    def hessian(beta: Floats) -> Floats:
        chance = _sigmoid(design @ beta)
        return -(design * (chance * (1 - chance))[:, None]).T @ design

    found = root(gradient, np.zeros(2), jac=hessian)
    solved = found.success and np.abs(gradient(found.x)).max() < 1e-6 * len(scores)
    # A nearly separated sample ends far out, where the curvature is lost to rounding.
    return np.asarray(found.x) if solved and np.linalg.cond(hessian(found.x)) < 1e12 else None


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(logits / 2)))
