"""The choice among nearly equal values."""

from __future__ import annotations

import pytest

from clipwright.core.choice import near_best

GRID = (0.01, 0.1, 1.0, 10.0)


@pytest.mark.parametrize(
    ("correct", "prior", "expected"),
    [
        ([50, 90, 91, 92], 0.1, 0.1),  # a row or two are worth less than a factor of ten
        ([50, 88, 93, 92], 0.1, 1.0),  # five rows are worth one
        ([50, 60, 70, 92], 0.1, 10.0),  # evidence wins
        ([500, 900, 910, 920], 0.1, 1.0),  # the same shares of ten times the rows
        ([5, 5, 5, 5], 0.5, 1.0),  # nothing to choose on: nearest in ratio
        ([5, 5, 1, 5], 1.0, 0.1),  # of two as good, the smaller
        ([0, 0, 0, 0], 10.0, 10.0),
    ],
)
def test_what_is_expected_stands_unless_the_rows_speak_against_it(
    correct: list[int], prior: float, expected: float
) -> None:
    assert near_best(correct, GRID, prior) == expected
