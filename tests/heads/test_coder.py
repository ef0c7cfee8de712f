"""CODER's zero-shot head against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipwright.core.errors import DataError
from clipwright.heads.coder import CoderHead


@given(st.integers(0, 4), st.integers(1, 5), st.integers(1, 4), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_it_is_the_formula(m: int, C: int, S: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weight, names, share = rng.standard_normal((C, 6)), rng.standard_normal((C, S, 6)), rng.random(C)
    x = rng.standard_normal((m, 6))
    head = CoderHead(*(torch.from_numpy(a) for a in (weight, names, share)), scale=7.0)
    expected = np.zeros((m, C))
    for i, row in enumerate(x):
        u = row / np.linalg.norm(row)
        for c in range(C):
            expected[i, c] = 7 * (u @ weight[c] + share[c] * max(u @ n for n in names[c]))
    np.testing.assert_allclose(head(torch.from_numpy(x)), expected, rtol=1e-12, atol=1e-12)


def test_a_restricted_head_keeps_only_its_classes() -> None:
    head = CoderHead(torch.randn(5, 6), torch.randn(5, 2, 6), torch.rand(5))
    small = head.restrict(torch.tensor([4, 4, 1]))
    assert isinstance(small, CoderHead)
    x = torch.randn(3, 6)
    torch.testing.assert_close(small(x), head(x)[:, [4, 4, 1]])


def test_shapes_that_do_not_fit_are_refused() -> None:
    weight, names, share = torch.ones(3, 4), torch.ones(3, 2, 4), torch.ones(3)
    for bad in ((weight, names, torch.ones(2)), (weight, torch.ones(2, 2, 4), share), (weight, names[:, :0], share)):
        with pytest.raises(DataError, match="a CODER head takes"):
            CoderHead(*bad)
