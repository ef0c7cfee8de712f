"""Heads that start from class scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from clipwright.core.errors import DataError
from clipwright.fitted import Fitted
from clipwright.heads.base import Head, build, describe
from clipwright.heads.io import load_head, save_head
from clipwright.heads.linear import LinearHead
from clipwright.heads.refine import ChainHead, RefineHead, ScaleHead
from clipwright.task import Features

REFINE = RefineHead(*(torch.randn(shape, dtype=torch.float64) for shape in ((5, 3), (5,), (3, 5), (3,))))
SCALE = ScaleHead(torch.rand(2, 3, dtype=torch.float64), torch.randn(3, dtype=torch.float64))


def test_refinement_against_numpy() -> None:
    scores = torch.randn(6, 2, 3, dtype=torch.float64)
    z = scores.numpy().mean(1)
    hidden = np.maximum(z @ REFINE.w1.numpy().T + REFINE.b1.numpy(), 0)
    expected = z + hidden @ REFINE.w2.numpy().T + REFINE.b2.numpy()
    np.testing.assert_allclose(REFINE(scores).numpy(), expected, atol=1e-12)


def test_scaling_against_numpy() -> None:
    scores = torch.randn(6, 2, 3, dtype=torch.float64)
    logs = scores.numpy() - np.log(np.exp(scores.numpy()).sum(-1, keepdims=True))
    expected = (SCALE.weight.numpy() * logs).sum(1) + SCALE.bias.numpy()
    np.testing.assert_allclose(SCALE(scores).numpy(), expected, atol=1e-12)


def test_behind_another_head() -> None:
    first = LinearHead(torch.randn(3, 4, dtype=torch.float64))
    x = torch.randn(6, 4, dtype=torch.float64)
    chained = ChainHead(first, REFINE)
    assert chained.inputs == ("image",)
    torch.testing.assert_close(chained(x), REFINE(first(x)[:, None]))
    index = torch.tensor([2, 0])
    torch.testing.assert_close(chained.restrict(index)(x), chained(x)[:, index])
    with pytest.raises(DataError, match="takes scores"):
        ChainHead(first, first)


@pytest.mark.parametrize("head", [REFINE, SCALE, ChainHead(LinearHead(torch.randn(3, 4)), REFINE)])
def test_saved_and_loaded(head: Head, tmp_path: Path) -> None:
    save_head(head, tmp_path / "head")
    again = load_head(tmp_path / "head")
    assert describe(again) == describe(head)
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), head.state_dict().values(), strict=True))
    assert build(describe(head)).n_classes == 3


def test_scores_of_features_reach_the_head() -> None:
    scores = torch.randn(4, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(Fitted(SCALE)(Features(torch.zeros(4, 0), scores=scores)), SCALE(scores))


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(DataError, match=r"\(H, C\)"):
        RefineHead(torch.zeros(5, 3), torch.zeros(4), torch.zeros(3, 5), torch.zeros(3))
    with pytest.raises(DataError, match=r"\(S, C\)"):
        ScaleHead(torch.zeros(2, 3), torch.zeros(2))
