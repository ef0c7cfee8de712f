"""Variance and covariance of a batch of embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from clipwright.core.errors import UsageError
from clipwright.training.regularisers import covariance_loss, variance_loss


def test_values_and_gradients_of_the_published_code(golden: Path) -> None:
    g = np.load(golden / "regft.npz")
    for loss, value, slope in ((variance_loss, "V", "grad_E_V"), (covariance_loss, "Cv", "grad_E_Cv")):
        e = torch.tensor(g["E"], requires_grad=True)
        found = loss(e)
        found.backward()  # type: ignore[no-untyped-call]
        assert e.grad is not None
        assert found.item() == pytest.approx(float(g[value]), rel=1e-10)
        np.testing.assert_allclose(e.grad.numpy(), g[slope], rtol=0, atol=1e-10 * np.abs(g[slope]).max())


def test_the_loss_of_regft(golden: Path) -> None:
    g = np.load(golden / "regft.npz")
    e, w, b = (torch.tensor(g[name], requires_grad=True) for name in ("E", "head_weight", "head_bias"))
    logits = torch.nn.functional.normalize(e, dim=1) @ w.T + b
    ce = torch.nn.functional.cross_entropy(logits, torch.tensor(g["labels"]))
    total = ce + float(g["lambda_v"]) * variance_loss(e) + float(g["lambda_c"]) * covariance_loss(e)
    total.backward()  # type: ignore[no-untyped-call]
    assert total.item() == pytest.approx(float(g["total_loss"]), rel=1e-10)
    for leaf, name in ((e, "grad_E_total"), (w, "grad_head_weight"), (b, "grad_head_bias")):
        assert leaf.grad is not None
        np.testing.assert_allclose(leaf.grad.numpy(), g[name], rtol=0, atol=1e-10 * np.abs(g[name]).max())


def test_against_loops(rng: np.random.Generator) -> None:
    x = rng.normal(size=(7, 4)) * [0.3, 1.0, 2.0, 0.0]
    n, d = x.shape
    s = [[sum((x[:, i] - x[:, i].mean()) * (x[:, j] - x[:, j].mean())) / (n - 1) for j in range(d)] for i in range(d)]
    short = [max(0.0, 1 - (s[j][j] + 1e-7) ** 0.5) for j in range(d)]
    apart = [s[i][j] ** 2 for i in range(d) for j in range(d) if i != j]
    assert variance_loss(torch.tensor(x)).item() == pytest.approx(sum(short) / d, rel=1e-12)
    assert covariance_loss(torch.tensor(x)).item() == pytest.approx(sum(apart) / (d * (d - 1)), rel=1e-12)


def test_half_precision_and_autocast_are_computed_in_float32() -> None:
    x = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    for loss in (variance_loss, covariance_loss):
        plain = loss(x)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(loss(x), plain)
        assert loss(x.bfloat16()).dtype == torch.float32
        assert loss(x.double()).dtype == torch.float64


def test_edges() -> None:
    assert covariance_loss(torch.randn(5, 1)).item() == 0
    same = torch.ones(4, 3, requires_grad=True)  # no variance at all: steep, but finite
    (variance_loss(same) + covariance_loss(same)).backward()  # type: ignore[no-untyped-call]
    assert same.grad is not None
    assert torch.isfinite(same.grad).all()
    for loss in (variance_loss, covariance_loss):
        with pytest.raises(UsageError, match="at least 2 embeddings"):
            loss(torch.zeros(1, 3))
