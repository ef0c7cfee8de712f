"""Batches and views depend on seed, key and epoch alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clipwright.core.errors import UsageError
from clipwright.training.batches import random_views, shuffled_batches, split_batches


@given(st.integers(0, 50), st.integers(1, 20), st.booleans(), st.integers(0, 3), st.integers(0, 5))
def test_batches_hold_each_row_at_most_once(n: int, size: int, drop_last: bool, seed: int, epoch: int) -> None:
    batches = shuffled_batches(n, size, drop_last=drop_last, seed=seed, key=("x",))(epoch)
    rows = torch.cat(batches).tolist() if batches else []
    assert len(set(rows)) == len(rows)
    assert set(rows) <= set(range(n))
    assert all(len(batch) == size for batch in batches[:-1])
    kept = n if not drop_last or n <= size else n - n % size
    assert len(rows) == kept
    again = shuffled_batches(n, size, drop_last=drop_last, seed=seed, key=("x",))(epoch)
    assert [b.tolist() for b in again] == [b.tolist() for b in batches]


def test_epochs_seeds_and_keys_give_other_orders() -> None:
    def order(seed: int, key: str, epoch: int) -> tuple[int, ...]:
        return tuple(torch.cat(shuffled_batches(40, 8, drop_last=False, seed=seed, key=(key,))(epoch)).tolist())

    assert len({order(0, "a", 0), order(1, "a", 0), order(0, "b", 0), order(0, "a", 1)}) == 4


def test_the_only_batch_is_kept_even_if_incomplete() -> None:
    assert [b.tolist() for b in split_batches(torch.arange(3), 4, drop_last=True)] == [[0, 1, 2]]
    assert [len(b) for b in split_batches(torch.arange(9), 4, drop_last=True)] == [4, 4]
    assert [len(b) for b in split_batches(torch.arange(9), 4, drop_last=False)] == [4, 4, 1]


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        split_batches(torch.arange(3), 0, drop_last=False)


@given(st.integers(0, 12), st.integers(1, 5), st.integers(0, 3))
def test_each_row_is_one_of_its_own_views(n: int, count: int, epoch: int) -> None:
    views = torch.arange(n * count).reshape(n, count, 1)
    drawn = random_views(views, seed=0, key=("x",))(epoch)
    assert drawn.shape == (n, 1)
    assert (drawn[:, 0] // count).tolist() == list(range(n))
    assert torch.equal(drawn, random_views(views, seed=0, key=("x",))(epoch))


def test_all_views_are_drawn_about_equally_often() -> None:
    views = torch.arange(4).expand(1000, 4)[..., None]
    counts = torch.bincount(torch.cat([random_views(views, seed=0, key=())(e) for e in range(10)])[:, 0])
    assert counts.min() > 2300
