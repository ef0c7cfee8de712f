"""The confusion matrix, or the part of it where most is confused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clipwright.report.elements import Matrix

WHOLE, PART = 30, 20  # classes up to which all are shown; of more, so many


def matrix(counts: NDArray[np.int64], names: Sequence[str]) -> Matrix | None:
    """Lay out a confusion matrix.

    Args:
        counts: (C, C) row = true class, column = predicted class.
        names: C names.

    Returns:
        all classes where they are few, else those of the commonest mistakes, in the order of the classes; None where
        nothing was counted.
    """
    if not counts.sum():
        return None
    kept = list(range(len(names))) if len(names) <= WHOLE else _confused(counts)
    shown = counts[np.ix_(kept, kept)]
    return Matrix(
        tuple(names[i] for i in kept),
        tuple(tuple(int(n) for n in row) for row in shown),
        tuple(int(n) for n in counts[kept].sum(axis=1) - shown.sum(axis=1)),
        len(names),
    )


def _confused(counts: NDArray[np.int64]) -> list[int]:
    """The classes of the commonest mistakes, pair by pair until there are enough."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    chosen: set[int] = set()
    for place in np.argsort(-wrong, axis=None, kind="stable"):
        pair = set(divmod(int(place), len(wrong)))
        if not wrong.flat[place] or len(chosen | pair) > PART:
            break
        chosen |= pair
    return sorted(chosen)
