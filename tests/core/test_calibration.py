"""The temperature against a general minimiser, and where there is no minimum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from clipwright.core.calibration import BOUNDS, fit_temperature
from clipwright.core.metrics import log_softmax, negative_log_likelihood


def _case(seed: int, n: int = 400, classes: int = 6, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)) * 2
    p = np.exp(log_softmax(logits))
    labels = np.array([rng.choice(classes, p=row) for row in p])
    return logits * scale, labels


@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0])
def test_finds_the_minimum_that_a_general_minimiser_finds(scale: float) -> None:
    logits, labels = _case(0, scale=scale)
    found = fit_temperature(logits, labels, pseudo_rows=0)
    reference = minimize_scalar(lambda t: negative_log_likelihood(logits / np.exp(t), labels), bounds=(-5, 5))
    np.testing.assert_allclose(found.value, np.exp(reference.x), rtol=1e-4)
    assert found.nll_after == pytest.approx(reference.fun, rel=1e-8)
    assert found.rows == 400


@pytest.mark.parametrize("scale", [0.1, 1.0, 20.0])
def test_undoes_a_scale_that_overstates_or_understates(scale: float) -> None:
    found = fit_temperature(*_case(1, n=3000, scale=scale))
    assert found.value == pytest.approx(scale, rel=0.1)
    assert found.nll_after <= found.nll_before


def test_rows_that_are_all_right_do_not_make_it_certain() -> None:
    logits = np.eye(3).repeat(5, axis=0) * 4
    labels = np.arange(3).repeat(5)
    bare = fit_temperature(logits, labels, pseudo_rows=0)
    guarded = fit_temperature(logits, labels)
    assert bare.value == pytest.approx(BOUNDS[0])
    assert 0.3 < guarded.value < 3
    more = fit_temperature(np.tile(logits, (20, 1)), np.tile(labels, 20))
    assert more.value < guarded.value


def test_rows_that_are_all_wrong_stop_at_the_bound() -> None:
    logits = np.eye(3) * 4
    found = fit_temperature(logits, np.array([1, 2, 0]))
    assert found.value == pytest.approx(BOUNDS[1])
    assert np.isfinite(found.nll_after)


def test_one_class_and_equal_logits_are_harmless() -> None:
    for logits in (np.ones((4, 1)), np.ones((4, 3))):
        found = fit_temperature(logits, np.zeros(4, dtype=int))
        assert BOUNDS[0] <= found.value <= BOUNDS[1]
        assert found.nll_after == pytest.approx(found.nll_before)


@given(st.integers(0, 1000), st.integers(1, 40), st.floats(0.01, 100))
def test_stays_within_bounds_and_keeps_the_order(seed: int, n: int, scale: float) -> None:
    logits, labels = _case(seed, n=n, scale=scale)
    found = fit_temperature(logits, labels)
    assert BOUNDS[0] * 0.999 <= found.value <= BOUNDS[1] * 1.001
    np.testing.assert_array_equal((logits / found.value).argmax(1), logits.argmax(1))
