"""The memory in another metric against a plain loop, and where there is nothing to stretch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipwright.core.errors import DataError, FormatError
from clipwright.heads.base import Restricted
from clipwright.heads.metric_cache import MetricCacheHead, stretched


def head(C: int = 4, N: int = 7, Q: int = 3, seed: int = 0) -> MetricCacheHead:
    rng = np.random.default_rng(seed)
    parts = [rng.standard_normal(shape) for shape in ((C, 6), (Q, 6), (N, Q))]
    classes = torch.from_numpy(rng.integers(0, C, N))
    weight, projection, keys = (torch.from_numpy(p) for p in parts)
    return MetricCacheHead(weight, projection, keys, classes, alpha=1.5, beta=2.5, scale=7.0)


@given(st.integers(0, 4), st.integers(1, 5), st.integers(2, 9), st.integers(2, 6), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_it_is_the_formula(m: int, C: int, N: int, Q: int, seed: int) -> None:
    made, x = head(C, N, Q, seed), np.random.default_rng(seed + 1).standard_normal((m, 6))
    state = {name: t.numpy() for name, t in made.state_dict().items()}
    expected = np.zeros((m, C))
    for i, row in enumerate(x):
        u = row / np.linalg.norm(row)
        z = state["projection"] @ u
        near = state["keys"] @ (z / np.linalg.norm(z))
        near = (near - near.min()) / (near.max() - near.min())
        expected[i] = 7 * state["weight"] @ u
        for c, value in zip(state["key_class"], near, strict=True):
            expected[i, c] += 1.5 * np.exp(-2.5 * (1 - value))
    np.testing.assert_allclose(made(torch.from_numpy(x)), expected, rtol=1e-9, atol=1e-9)


def test_equal_affinities_are_not_stretched() -> None:
    assert torch.equal(stretched(torch.full((2, 3), 0.4)), torch.zeros(2, 3))
    assert torch.equal(stretched(torch.tensor([[0.4, 0.4 + 1e-8]])), torch.zeros(1, 2))
    torch.testing.assert_close(stretched(torch.tensor([[0.2, 0.6, 0.4]])), torch.tensor([[0.0, 1.0, 0.5]]))


def test_a_key_that_is_left_out_is_no_end() -> None:
    found = stretched(torch.tensor([[torch.nan, 0.2, 0.6]]))
    assert found[0, 0].isnan()
    torch.testing.assert_close(found[0, 1:], torch.tensor([0.0, 1.0]))


def test_one_key_and_zero_rows_give_finite_logits() -> None:
    one = head(C=1, N=1)
    assert bool(torch.isfinite(one(torch.zeros(2, 6, dtype=torch.float64))).all())


def test_a_restricted_head_is_some_columns() -> None:
    """How near a key is depends on all keys, so they all stay."""
    made, x = head(), torch.randn(3, 6, dtype=torch.float64)
    small = made.restrict(torch.tensor([3, 1]))
    assert isinstance(small, Restricted)
    assert torch.equal(small(x), made(x)[:, [3, 1]])


def test_shapes_that_do_not_fit_are_refused() -> None:
    good = {n: t for n, t in head().state_dict().items() if t.ndim}
    changes = {"keys": torch.ones(7, 2), "projection": torch.ones(3, 5), "key_class": torch.zeros(6)}
    for name, value in changes.items():
        with pytest.raises(DataError, match="a metric cache head takes"):
            MetricCacheHead(**{**good, name: value}, alpha=1.0, beta=1.0)


def test_a_key_of_no_class_is_refused_when_loaded() -> None:
    made = head()
    made.key_class[0] = 4
    with pytest.raises(FormatError, match=r"key_class must lie in 0\.\.3"):
        made.verify()
