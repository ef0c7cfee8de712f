"""Exact neighbours against sorting all similarities; the graph they make."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipwright.core import neighbours
from clipwright.core.errors import DataError
from clipwright.core.neighbours import nearest, neighbour_graph


def rows(n: int, dim: int, seed: int) -> torch.Tensor:
    drawn = np.random.default_rng(seed).standard_normal((n, dim))
    return torch.nn.functional.normalize(torch.from_numpy(drawn), dim=1)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 5), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_neighbours_are_those_of_a_full_sort(n: int, m: int, k: int, seed: int) -> None:
    x, keys = rows(n, 4, seed), rows(m, 4, seed + 1)
    values, index = nearest(x, keys, k)
    similar = x.numpy() @ keys.numpy().T
    np.testing.assert_allclose(values.numpy(), -np.sort(-similar, 1)[:, :k], atol=1e-12)
    np.testing.assert_allclose(np.take_along_axis(similar, index.numpy(), 1), values.numpy(), atol=1e-12)


def test_a_row_is_not_its_own_neighbour_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = rows(30, 5, 0)
    whole = nearest(x, x, 4, same=True)
    assert not (whole[1] == torch.arange(30)[:, None]).any()
    monkeypatch.setattr(neighbours, "_BLOCK", 70)  # two rows at a time
    for one, other in zip(nearest(x, x, 4, same=True), whole, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-14)


def test_few_or_no_keys_give_what_there_is() -> None:
    x = rows(3, 4, 0)
    assert nearest(x, x, 9, same=True)[1].shape == (3, 2)
    assert nearest(x[:1], x[:1], 9, same=True)[1].shape == (1, 0)
    assert nearest(x, x[:0], 2)[0].shape == (3, 0)
    with pytest.raises(DataError, match="at least one neighbour"):
        nearest(x, x, 0)


def test_the_graph_holds_the_cosines_of_neighbours_and_no_repulsion() -> None:
    x = rows(20, 3, 1)
    dense = neighbour_graph(x, 15).to_dense().numpy()
    expected = np.zeros((20, 20))
    similar = x.numpy() @ x.numpy().T
    np.fill_diagonal(similar, -2)
    for i, order in enumerate(np.argsort(-similar, 1)[:, :15]):
        expected[i, order] = np.maximum(similar[i, order], 0)
    np.testing.assert_allclose(dense, expected, atol=1e-12)
    assert (expected == 0).sum() > 20 * 5  # beside those that are no neighbours, some were negative


def test_reordered_rows_make_the_reordered_graph() -> None:
    x, order = rows(25, 6, 2), torch.from_numpy(np.random.default_rng(3).permutation(25))
    moved = neighbour_graph(x[order], 4).to_dense()
    torch.testing.assert_close(moved, neighbour_graph(x, 4).to_dense()[order][:, order], rtol=0, atol=1e-12)
