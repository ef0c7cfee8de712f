"""Support and validation draws: nested, disjoint, and blind to everything but the row, the seed and the draw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipwright.core.errors import DataError, UsageError
from clipwright.protocol.draws import draw_order, support_draw, validation_draw

_COUNTS = st.lists(st.integers(1, 25), min_size=1, max_size=6)


def _labels(counts: list[int], seed: int = 0) -> np.ndarray:
    y = np.concatenate([np.full(n, c) for c, n in enumerate(counts)])
    return np.random.default_rng(seed).permutation(y)


def _names(labels: np.ndarray) -> list[str]:
    return [f"{y}/{i}" for i, y in enumerate(labels)]


@given(_COUNTS, st.integers(0, 5), st.integers(0, 5), st.integers(1, 12))
def test_k_shots_are_part_of_2k(counts: list[int], draw: int, seed: int, shots: int) -> None:
    y = _labels(counts)
    few, many = (support_draw(y, k, draw, seed, short="all") for k in (shots, 2 * shots))
    assert set(few) <= set(many)
    for c, n in enumerate(counts):
        assert (y[few] == c).sum() == min(n, shots)
    assert (y[few] == np.sort(y[few])).all()


@given(_COUNTS, st.integers(0, 5), st.integers(0, 5), st.integers(1, 12))
def test_validation_never_meets_support(counts: list[int], draw: int, seed: int, shots: int) -> None:
    y = _labels(counts)
    support = support_draw(y, shots, draw, seed, short="all")
    validation = validation_draw(y, shots, draw, seed, short="all")
    assert not set(support) & set(validation)
    for c, n in enumerate(counts):
        assert (y[validation] == c).sum() == min(shots, 4, max(0, n - shots))


@given(_COUNTS, st.integers(0, 5), st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(counts: list[int], draw: int, shuffle: int) -> None:
    y = _labels(counts)
    ids = _names(y)
    order = np.random.default_rng(shuffle).permutation(len(y))
    drawn = {ids[i] for i in support_draw(y, 3, draw, 1, ids=ids, short="all")}
    moved = [ids[i] for i in order]
    assert drawn == {moved[i] for i in support_draw(y[order], 3, draw, 1, ids=moved, short="all")}


def test_a_class_is_drawn_whatever_the_others_are() -> None:
    y = _labels([10, 10, 10])
    ids = _names(y)
    drawn = {ids[i] for i in support_draw(y, 4, 0, 0, ids=ids) if y[i] == 1}
    alone = np.where(y == 1, 0, -1)
    assert drawn == {ids[i] for i in support_draw(alone, 4, 0, 0, ids=ids)}


def test_a_new_image_changes_at_most_its_own_place() -> None:
    y = np.zeros(30, dtype=int)
    ids = _names(y)
    before = {ids[i] for i in support_draw(y[:-1], 8, 0, 0, ids=ids[:-1])}
    after = {ids[i] for i in support_draw(y, 8, 0, 0, ids=ids)}
    assert len(before & after) >= 7


def test_draws_and_seeds_differ_and_cover() -> None:
    y = np.zeros(40, dtype=int)
    drawn = [frozenset(support_draw(y, 4, d, s)) for d in range(20) for s in range(2)]
    assert len(set(drawn)) == 40
    often = np.bincount([i for d in range(400) for i in support_draw(y, 10, d, 0)], minlength=40)
    assert often.min() > 60  # 100 expected each; five standard deviations are 43
    assert often.max() < 145


def test_a_class_with_too_few_is_refused_in_one_sentence() -> None:
    y = _labels([5, 2])
    with pytest.raises(DataError, match=r"class 'dog' has 2 labelled images to draw from but 4 shots were asked for"):
        support_draw(y, 4, 0, 0, class_names=["cat", "dog"])
    with pytest.raises(DataError, match="class number 1 has 2 labelled images"):
        support_draw(y, 4, 0, 0)
    with pytest.raises(DataError, match="3 shots and 3 for validation"):
        validation_draw(y[y == 0], 3, 0, 0)
    assert len(support_draw(y, 4, 0, 0, short="all")) == 6


def test_a_class_without_images_is_refused_even_when_all_may_be_short() -> None:
    with pytest.raises(DataError, match="class 'cow' has no labelled image"):
        support_draw([0, 1, -1], 1, 0, 0, class_names=["cat", "dog", "cow"], short="all")


def test_no_shots_draw_nothing_and_fewer_are_refused() -> None:
    order = draw_order([0, 0, 1], 0, 0)
    assert len(order.support(0)) == 0
    assert len(order.validation(0)) == 0
    with pytest.raises(UsageError, match="can't be negative"):
        order.support(-1)
