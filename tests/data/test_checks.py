"""Sentences about data that can't serve."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clipwright.core.errors import DataError, UsageError
from clipwright.data import check_shots

LABELS = np.array([0, 0, 0, 1, 1, 2, -1, -1])


def test_shots() -> None:
    check_shots(LABELS, ("a", "b", "c"), 1)
    with pytest.raises(DataError, match=r"2 labelled images per class .* the class 'c' has 1: ask for at most 1 shots"):
        check_shots(LABELS, ("a", "b", "c"), 2)
    with pytest.raises(DataError, match=r"'c' has 1 \(1 more classes also have too few\)"):
        check_shots(LABELS, ("a", "b", "c"), 3)
    with pytest.raises(DataError, match=r"'d' has 0.*label some of its images"):
        check_shots(LABELS, ("a", "b", "c", "d"), 1)
    with pytest.raises(UsageError, match="positive"):
        check_shots(LABELS, ("a",), 0)


@pytest.mark.parametrize("shots", ["2", 2.5, True, None])
def test_shots_are_whole_numbers(shots: Any) -> None:
    with pytest.raises(UsageError, match="whole number"):
        check_shots(np.zeros(5, dtype=int), ["a"], shots)
