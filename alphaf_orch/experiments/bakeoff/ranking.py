"""The ranking of a bake-off by stated weights: ties share a place, and what a candidate lacks is never a zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alphaf_orch.core.errors import ConfigError
from alphaf_orch.core.values import nearest
from alphaf_orch.experiments.bakeoff.criteria import CRITERIA, Criterion

_DIGITS = 3  # totals that are equal as shown share a place
Weights = dict[str, float]
Criteria = Mapping[str, Mapping[str, Criterion]]  # candidate -> criterion


@dataclass(frozen=True)
class Place:
    """A candidate's total and place; with criteria lacking, its place among all on those that it has."""

    candidate: str
    total: float | None
    place: int | None
    of: int  # how many candidates it was compared with, itself included
    has: tuple[str, ...]
    weighted: int  # how many criteria have a weight

    @property
    def whole(self) -> bool:
        """Whether no weighted criterion lacks."""
        return self.place is not None and len(self.has) == self.weighted


@dataclass(frozen=True)
class Sensitivity:
    """Who leads if one weight is multiplied."""

    criterion: str
    factor: float
    leaders: tuple[str, ...]


def parse_weights(text: str | None) -> Weights:
    """Return the weight of each criterion: `versatility=1,korean=2,performance=1`, 1 for one that is not named.

    Raises ConfigError for an unknown criterion, one named twice, a weight that is no number from 0 on, or none above 0.
    """
    found: Weights = {}
    where = f"--weights {text}"
    for part in (text or "").split(",") if text else ():
        name, equals, number = (piece.strip() for piece in part.partition("="))
        if name not in CRITERIA:
            fix = f"use {', '.join(f'{each}=1' for each in CRITERIA)}"
            raise ConfigError(
                f"there is no criterion {name or part!r}{nearest(name, CRITERIA)}",
                where=where,
                fix=fix,
                code="config.unknown_name",
            )
        if name in found:
            raise ConfigError(
                f"{name} is weighted twice", where=where, fix="keep one of them", code="config.given_twice"
            )
        try:
            weight = float(number) if equals else -1.0
        except ValueError:
            weight = -1.0
        if not 0 <= weight < float("inf"):
            raise ConfigError(
                f"{number or part!r} is no weight",
                where=where,
                fix="write a number from 0 on",
                code="config.wrong_type",
            )
        found[name] = weight
    weights = {name: found.get(name, 1.0) for name in CRITERIA}
    if not any(weights.values()):
        raise ConfigError(
            "every weight is 0", where=where, fix="give one criterion a weight above 0", code="config.out_of_range"
        )
    return weights


def rank(criteria: Criteria, weights: Weights) -> tuple[Place, ...]:
    """Return the candidates in order: those with every weighted criterion by their totals, then the others.

    total = sum of weight * value / sum of weights, over the criteria that a candidate has. One that lacks a criterion
    is placed among all that have at least the same, on those criteria alone.
    """
    counted = [name for name in CRITERIA if weights[name]]
    found = []
    for candidate, own in criteria.items():
        has = tuple(name for name in counted if own[name].value is not None)
        total = _total(own, weights, has)
        # Complete candidates are placed among each other; a candidate with less is compared on that alone.
        field = [
            _total(other, weights, has)
            for other in criteria.values()
            if all(other[name].value is not None for name in has)
        ]
        known = [value for value in field if value is not None]
        place = None if total is None else 1 + sum(_shown(value) > _shown(total) for value in known)
        found.append(Place(candidate, total, place, len(known), has, len(counted)))
    order = list(criteria)
    return tuple(sorted(found, key=lambda p: (not p.whole, -len(p.has), p.place or 0, order.index(p.candidate))))


def leaders(criteria: Criteria, weights: Weights) -> tuple[str, ...]:
    """Return who is first among the candidates with every weighted criterion; several where totals are equal."""
    return tuple(place.candidate for place in rank(criteria, weights) if place.whole and place.place == 1)


def sensitivity(criteria: Criteria, weights: Weights) -> tuple[Sensitivity, ...]:
    """Return who leads with each weight doubled and halved, one at a time."""
    return tuple(
        Sensitivity(name, factor, leaders(criteria, {**weights, name: factor * weights[name]}))
        for name in CRITERIA
        if weights[name]
        for factor in (2.0, 0.5)
    )


def _total(own: Mapping[str, Criterion], weights: Weights, names: tuple[str, ...]) -> float | None:
    """Return the weighted mean of the named criteria; None where there is none."""
    pairs = [(weights[name], own[name].value) for name in names]
    parts = [weight * value for weight, value in pairs if value is not None]
    return sum(parts) / sum(weight for weight, _ in pairs) if pairs else None


def _shown(value: float) -> float:
    return round(value, _DIGITS)
