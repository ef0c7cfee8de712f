"""The confusion matrix: whole where classes are few, where most is confused otherwise."""

from __future__ import annotations

import numpy as np

from clipwright.report.elements import Matrix
from clipwright.report.matrix import PART, WHOLE, matrix
from clipwright.report.page import Page, Part
from clipwright.report.render import render


def _counts(n: int) -> np.ndarray:
    counts = np.diag(np.full(n, 10))
    counts[3, 7], counts[7, 3], counts[1, 0] = 4, 3, 2
    return counts


def test_few_classes_are_all_shown() -> None:
    found = matrix(_counts(WHOLE), [f"c{i}" for i in range(WHOLE)])
    assert found is not None
    assert found.whole
    assert found.counts[3][7] == 4
    assert found.elsewhere == (0,) * WHOLE


def test_of_many_classes_those_of_the_commonest_mistakes_are_shown() -> None:
    counts = _counts(WHOLE + 1)
    counts[7, 20] = 1
    found = matrix(counts, [f"c{i}" for i in range(WHOLE + 1)])
    assert found is not None
    assert found.names == ("c0", "c1", "c3", "c7", "c20")
    assert not found.whole
    assert found.elsewhere == (0, 0, 0, 0, 0)
    crowded = np.ones((WHOLE + 10, WHOLE + 10), dtype=np.int64)
    many = matrix(crowded, [str(i) for i in range(WHOLE + 10)])
    assert many is not None
    assert len(many.names) == PART
    assert many.elsewhere == (WHOLE + 10 - PART,) * PART


def test_nothing_counted_makes_no_matrix() -> None:
    assert matrix(np.zeros((3, 3), dtype=np.int64), ["a", "b", "c"]) is None


def test_a_part_of_the_matrix_says_so_and_shows_what_went_elsewhere() -> None:
    html = render(
        Page("m", parts=(Part(matrix=Matrix(("a", "b"), ((5, 1), (0, 6)), (3, 0), 99), counted="Counted so."),))
    )
    assert "Of 99 classes these 2 have the commonest mistakes." in html
    assert ">any other<" in html
    assert 'title="a named b: 1 of 9"' in html
    assert "Counted so." in html


def test_large_counts_are_shares_of_their_row() -> None:
    html = render(Page("m", parts=(Part(matrix=Matrix(("a", "b"), ((1500, 500), (0, 10)), (0, 0), 2)),)))
    assert "in per cent of the row" in html
    assert ">75</td>" in html
    assert ">1500</td>" not in html
