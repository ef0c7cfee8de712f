"""Blend weights: the minimum of a convex objective, by a brute-force reference."""

from __future__ import annotations

import numpy as np
import pytest

from clipwright.core.calibration import fit_temperature
from clipwright.core.errors import DataError
from clipwright.core.metrics import log_softmax
from clipwright.protocol.blending import blend_weights


def case(seed: int, n: int = 60, members: int = 2) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(4, size=n)
    truth = np.eye(4)[y]
    return [scale * (truth + rng.normal(size=(n, 4))) for scale in (3.0, 0.5, 1.0)[:members]], y


def loss(weights: np.ndarray, logits: list[np.ndarray], y: np.ndarray, start: np.ndarray, prior: float) -> float:
    mixed = log_softmax(sum(w * z for w, z in zip(weights, logits, strict=True)))
    return float(-mixed[np.arange(len(y)), y].sum() + prior / 2 * ((weights / start - 1) ** 2).sum())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("prior", [0.1, 1.0, 30.0])
def test_no_other_weights_do_better(seed: int, prior: float) -> None:
    logits, y = case(seed)
    start = np.array([1 / (2 * fit_temperature(z, y).value) for z in logits])
    found = blend_weights(logits, y, prior=prior)
    best = loss(found, logits, y, start, prior)
    for a in np.linspace(0, 4, 41) * start[0]:
        for b in np.linspace(0, 4, 41) * start[1]:
            assert best <= loss(np.array([a, b]), logits, y, start, prior) + 1e-6


def test_a_strong_prior_gives_an_even_blend_of_calibrated_members() -> None:
    logits, y = case(0, members=3)
    expected = [1 / (3 * fit_temperature(z, y).value) for z in logits]
    np.testing.assert_allclose(blend_weights(logits, y, prior=1e9), expected, rtol=1e-4)


def test_a_member_that_misleads_hardly_counts() -> None:
    logits, y = case(1, n=400)
    found = blend_weights([logits[0], -logits[0]], y)
    assert found[1] < 0.05 * found[0]


def test_nothing_to_go_by_is_refused() -> None:
    with pytest.raises(DataError, match="at least one member"):
        blend_weights([], np.zeros(3, dtype=np.int64))
