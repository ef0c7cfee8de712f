"""Choosing a hyper-parameter on few held-out rows, where many values are equally good by chance."""

from __future__ import annotations

import math
from collections.abc import Sequence

DECADE = 4.0
"""Rows that a value ten times larger or smaller than expected must get right beyond what the expected one does."""


def near_best(correct: Sequence[int], grid: Sequence[float], prior: float) -> float:
    """The value of a grid with the most rows right, less what its distance from the expected value costs.

    A value a factor of ten away costs `DECADE` rows, a factor of hundred four times that. On few rows, where the best
    value is the luckiest one, what is expected stands; on many rows they decide. It is the mode of the posterior under
    a log-normal prior, the count of right rows taken as the log-likelihood.

    Args:
        correct: rows right at each value of the grid.
        grid: positive values.
        prior: what is expected, positive.
    """
    worth = [right - DECADE * math.log10(value / prior) ** 2 for value, right in zip(grid, correct, strict=True)]
    best = max(worth)
    return min(value for value, w in zip(grid, worth, strict=True) if w >= best - 1e-9)
