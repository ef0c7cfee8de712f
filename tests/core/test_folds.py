"""Keys that rows keep whatever surrounds them, and folds that leave something of every class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipwright.core.errors import DataError
from clipwright.core.folds import class_order, row_keys, stratified_folds

_LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=60)


def test_keys_belong_to_the_row_not_to_its_place() -> None:
    ids = [f"a/{i}.jpg" for i in range(50)]
    keys = dict(zip(ids, row_keys(ids, 7, "support", 0), strict=True))
    other = ["new", *ids[::-1][:20]]
    for i, key in zip(other, row_keys(other, 7, "support", 0), strict=True):
        assert keys.get(i, key) == key
    assert len(set(keys.values())) == 50
    assert not set(keys.values()) & set(row_keys(ids, 7, "support", 1))
    assert not set(keys.values()) & set(row_keys(ids, 8, "support", 0))


def test_keys_are_the_same_on_every_machine() -> None:
    found = row_keys(["0", "ä", "x\udcff"], 0, "folds")
    assert found.tolist() == [13964334622283417995, 13955110358848187235, 1105219098314237135]


def test_class_order_leaves_the_unlabeled_out() -> None:
    keys = np.array([5, 1, 4, 2, 3], dtype=np.uint64)
    first, second, third = class_order([0, 0, -1, 1, 0], keys, 3)
    assert (first.tolist(), second.tolist(), third.tolist()) == ([1, 4, 0], [3], [])
    with pytest.raises(DataError, match="2 labels but 5 identifiers"):
        class_order([0, 0], keys, 1)


@given(_LABELS, st.integers(2, 8), st.integers(0, 99))
def test_every_fold_leaves_every_class_to_learn_from(labels: list[int], folds: int, seed: int) -> None:
    y = np.array(labels)
    found = stratified_folds(y, folds, seed)
    if np.unique(y, return_counts=True)[1].min() < 2:
        assert found is None
        return
    assert found is not None
    used = found.max() + 1
    assert 2 <= used <= folds
    for fold in range(used):
        assert (found == fold).any()
        assert set(y[found != fold]) == set(y)
    for c in set(y):
        sizes = np.bincount(found[y == c], minlength=used)
        assert sizes.max() - sizes.min() <= 1
    sizes = np.bincount(found)
    assert sizes.max() - sizes.min() <= 1


@given(_LABELS, st.integers(0, 99))
def test_folds_follow_the_row_through_any_order(labels: list[int], seed: int) -> None:
    y = np.array(labels * 2)
    ids = [f"row {i}" for i in range(len(y))]
    order = np.random.default_rng(seed).permutation(len(y))
    found = stratified_folds(y, 3, seed, "a", ids=ids)
    moved = stratified_folds(y[order], 3, seed, "a", ids=[ids[i] for i in order])
    assert found is not None
    np.testing.assert_array_equal(found[order], moved)


def test_refuses_what_makes_no_folds() -> None:
    for labels, folds in (([0, 1], 1), ([], 2), ([0, -1], 2)):
        with pytest.raises(DataError, match="folds need"):
            stratified_folds(np.array(labels, dtype=int), folds, 0)
