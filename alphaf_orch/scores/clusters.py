"""Rows that share a document or a template: which they are, and the standard error of a mean that keeps them together.

Another question on a document that was read wrongly is not another document. Rows of one cluster are therefore drawn,
exchanged and summed together (Miller 2024, Adding Error Bars to Evals, arXiv 2411.00640, section 2.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Labels = NDArray[np.intp]


def labels_of(names: Sequence[str], clusters: Mapping[str, str]) -> list[str] | None:
    """Return each row's cluster in the order of the names; None where each row is one of its own."""
    found = [f"cluster {clusters[name]}" if name in clusters else f"row {name}" for name in names]
    return found if len(set(found)) < len(found) else None


@dataclass(frozen=True)
class Grouping:
    """The rows of one task by cluster: the position of each row's cluster, and how many rows each cluster has."""

    of_row: Labels
    sizes: Floats

    @property
    def many(self) -> int:
        """How many clusters there are."""
        return len(self.sizes)

    @property
    def effective(self) -> float:
        """How many clusters of one size would say as much: Kish's (1965) number, sum(m)^2 / sum(m^2)."""
        return float(self.sizes.sum() ** 2 / (self.sizes**2).sum())

    def sums(self, rows: Floats) -> Floats:
        """Return the sum over each cluster of the last axis."""
        import numpy as np

        lines = rows.reshape(-1, rows.shape[-1])
        found = np.array([np.bincount(self.of_row, line, self.many) for line in lines], dtype=float)
        return found.reshape(*rows.shape[:-1], self.many)

    def variance(self, centred: Floats) -> Floats:
        """Return the variance of the mean of rows (last axis) that are centred already, robust to clusters.

        CR3, the jackknife over clusters (MacKinnon, Nielsen and Webb 2023, Journal of Econometrics 232(2)): with few or
        unequal clusters it errs to the safe side. Where each row is a cluster it is the usual s^2 / n.
        """
        share = self.sizes / self.sizes.sum()
        moved = self.sums(centred) / self.sizes.sum() / (1 - share)
        found: Floats = (moved**2).sum(axis=-1) * (self.many - 1) / self.many
        return found


def grouped(rows: int, labels: Sequence[str] | None) -> Grouping:
    """Return the grouping of so many rows; without labels each row is a cluster."""
    import numpy as np

    if labels is None:
        return Grouping(np.arange(rows), np.ones(rows))
    _, of_row, sizes = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    return Grouping(of_row, sizes.astype(float))


def mean_error(values: Sequence[float], labels: Sequence[str] | None) -> float | None:
    """Return the standard error of the mean of the values; None where there are not two clusters to tell it from."""
    import numpy as np

    rows, group = np.asarray(values, dtype=float), grouped(len(values), labels)
    return float(np.sqrt(group.variance(rows - rows.mean()))) if group.many > 1 else None
