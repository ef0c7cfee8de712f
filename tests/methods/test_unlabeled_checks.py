"""Shares of classes and of unlike images on made-up data whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipwright.core.errors import DataError
from clipwright.methods.unlabeled_checks import class_shares, open_set_share, two_groups


def overlapping(shares: list[float], n: int, seed: int) -> torch.Tensor:
    """Log-likelihoods of overlapping classes: what softmax gives is right where all classes are equally common."""
    rng = np.random.default_rng(seed)
    y = rng.choice(len(shares), n, p=shares)
    x = rng.standard_normal((n, len(shares)))
    x[np.arange(n), y] += 1.0
    return torch.from_numpy(x)  # unit Gaussians at the axes: log-densities differ by the coordinates


@pytest.mark.parametrize("shares", [[0.7, 0.2, 0.1], [0.05, 0.05, 0.45, 0.45], [0.5, 0.5]])
def test_shares_of_overlapping_classes_are_found(shares: list[float]) -> None:
    logits = overlapping(shares, 20_000, 0)
    found = class_shares(logits, pseudo=0.0).numpy()
    np.testing.assert_allclose(found, shares, atol=0.02)
    naive = logits.softmax(1).mean(0).numpy()
    assert np.abs(found - shares).sum() < np.abs(naive - shares).sum() or len(set(shares)) == 1


@given(st.integers(0, 20), st.integers(1, 5), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_shares_are_the_fixed_point_of_plain_arithmetic(n: int, classes: int, seed: int) -> None:
    logits = 2 * np.random.default_rng(seed).standard_normal((n, classes))
    expected = np.full(classes, 1 / classes)
    for _ in range(3000):
        p = expected * np.exp(logits)
        counts = (p / p.sum(1, keepdims=True)).sum(0) + 1
        expected = counts / counts.sum()
    found = class_shares(torch.from_numpy(logits), tolerance=1e-13, rounds=5000)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-8)
    assert float(found.sum()) == pytest.approx(1)


def images(known: int, unknown: int, classes: int = 10, seed: int = 0) -> torch.Tensor:
    """Cosines: every image near 0.18 to all texts, and a known one near 0.30 to its own."""
    rng = np.random.default_rng(seed)
    cosines = 0.18 + 0.015 * rng.standard_normal((known + unknown, classes))
    cosines[np.arange(known), rng.integers(0, classes, known)] = 0.32 + 0.015 * rng.standard_normal(known)
    return torch.from_numpy(cosines)


@pytest.mark.parametrize(("known", "unknown"), [(500, 500), (900, 100), (200, 800), (95, 5)])
def test_the_share_of_unlike_images_is_found(known: int, unknown: int) -> None:
    assert open_set_share(images(known, unknown)) == pytest.approx(unknown / (known + unknown), abs=0.02)


@pytest.mark.parametrize("seed", range(10))
def test_images_of_one_kind_hold_no_unlike_ones(seed: int) -> None:
    assert open_set_share(images(400, 0, seed=seed)) == 0.0
    assert open_set_share(images(0, 400, seed=seed)) == 0.0


def test_order_and_size_of_images_and_classes() -> None:
    cosines = images(300, 100)
    shuffled = cosines[torch.randperm(400)][:, torch.randperm(10)]
    assert open_set_share(shuffled) == pytest.approx(open_set_share(cosines), abs=1e-12)
    assert open_set_share(cosines[:, :1].repeat(1, 3)) == open_set_share(cosines[:, :1])
    assert open_set_share(cosines[:5]) == 0.0
    assert open_set_share(torch.full((20, 3), 0.2)) == 0.0
    for wrong in (torch.zeros(3), torch.zeros(3, 0)):
        with pytest.raises(DataError):
            open_set_share(wrong)
        with pytest.raises(DataError):
            class_shares(wrong)


def test_two_groups_are_those_that_were_drawn() -> None:
    rng = np.random.default_rng(0)
    x = np.sort(np.r_[rng.normal(-2, 0.5, 3000), rng.normal(1, 0.8, 7000)])
    means, widths, share, _ = two_groups(torch.from_numpy(x))
    np.testing.assert_allclose(means, [-2, 1], atol=0.05)
    np.testing.assert_allclose(widths, [0.5, 0.8], atol=0.05)
    assert share == pytest.approx(0.3, abs=0.01)
