"""Intervals against SciPy, against published values, and by how often they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from clipwright.core.errors import DataError
from clipwright.core.intervals import (
    over_draws,
    over_draws_and_samples,
    paired_difference,
    paired_shares,
    wilson,
)


@pytest.mark.parametrize("draws", [2, 3, 10, 40])
def test_over_draws_is_students_t(rng: np.random.Generator, draws: int) -> None:
    values = rng.normal(0.8, 0.05, draws)
    expected = stats.t.interval(0.95, draws - 1, values.mean(), stats.sem(values))
    found = over_draws(values)
    np.testing.assert_allclose((found.low, found.high), expected)


def test_one_draw_says_nothing_of_others() -> None:
    found = over_draws([0.7])
    assert (found.mean, found.low, found.high) == (0.7, -math.inf, math.inf)
    assert not found.known
    assert 0.0 in found


@pytest.mark.parametrize(("right", "total"), [(0, 10), (10, 10), (3, 7), (450, 500), (1, 1)])
def test_wilson_agrees_with_scipy(right: int, total: int) -> None:
    expected = stats.binomtest(right, total).proportion_ci(method="wilson")
    found = wilson(right, total)
    np.testing.assert_allclose((found.low, found.high), expected, atol=1e-12)


@given(st.integers(1, 2000), st.data())
def test_wilson_holds_its_share_and_stays_a_share(total: int, data: st.DataObject) -> None:
    found = wilson(data.draw(st.integers(0, total)), total)
    assert 0 <= found.low <= found.mean <= found.high <= 1


def test_combined_is_wilson_where_draws_say_nothing() -> None:
    for shares in ([0.9], [0.9] * 5):
        found, expected = over_draws_and_samples(shares, 200), wilson(180, 200)
        np.testing.assert_allclose((found.low, found.high), (expected.low, expected.high))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.integers(1, 5000))
def test_combined_is_wider_than_either_part_within_0_and_1(shares: list[float], total: int) -> None:
    found, draws = over_draws_and_samples(shares, total), over_draws(shares)
    samples = wilson(float(np.mean(shares)) * total, total)
    assert 0 <= found.low <= found.mean <= found.high <= 1
    assert found.low <= max(0.0, min(draws.low, samples.low)) + 1e-9
    assert found.high >= min(1.0, max(draws.high, samples.high)) - 1e-9


@pytest.mark.parametrize(("truth", "between", "total"), [(0.9, 0.02, 300), (0.97, 0.005, 100), (0.6, 0.08, 2000)])
def test_combined_holds_the_truth_at_least_as_often_as_it_says(truth: float, between: float, total: int) -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(600):
        # All draws share their test images: image i is right when its difficulty lies below the draw's accuracy.
        difficulty = rng.random(total)
        accuracy = np.clip(rng.normal(truth, between, 10), 0, 1)
        held += truth in over_draws_and_samples([(difficulty < a).mean() for a in accuracy], total)
    assert held / 600 >= 0.935


def test_paired_difference_removes_what_is_shared(rng: np.random.Generator) -> None:
    luck = rng.normal(0.8, 0.1, 10)
    a, b = luck + 0.01 + rng.normal(0, 0.001, 10), luck
    found = paired_difference(a, b)
    expected = stats.ttest_rel(a, b).confidence_interval(0.95)
    np.testing.assert_allclose((found.low, found.high), (expected.low, expected.high))
    assert 0.0 not in found
    assert over_draws(a).low < over_draws(b).high


@pytest.mark.parametrize("draws", [1, 10])
def test_paired_shares_hold_the_truth_at_least_as_often_as_they_say(draws: int) -> None:
    rng = np.random.default_rng(1)
    truth, held = _true_gap(), 0
    for _ in range(600):
        difficulty = rng.random(400)
        noise = rng.normal(0, 0.01 if draws > 1 else 0.0, draws)
        a = [difficulty < 0.85 + e for e in noise]
        b = [difficulty + rng.normal(0, 0.05, 400) * (difficulty < 0.9) < 0.80 for _ in noise]
        held += truth in paired_shares(a, b)
    assert held / 600 >= 0.93


def _true_gap() -> float:
    rng = np.random.default_rng(2)
    difficulty = rng.random(400_000)
    b = difficulty + rng.normal(0, 0.05, len(difficulty)) * (difficulty < 0.9) < 0.80
    return 0.85 - float(b.mean())


def test_equal_answers_tie() -> None:
    right = [np.array([True, False, True])]
    found = paired_shares(right, right)
    assert (found.low, found.mean, found.high) == (0.0, 0.0, 0.0)
    assert 0.0 in found


def test_refuses_what_makes_no_interval() -> None:
    with pytest.raises(DataError, match="at least one figure"):
        over_draws([])
    with pytest.raises(DataError, match="all of them finite"):
        over_draws([0.5, math.nan])
    with pytest.raises(DataError, match="right is 5, total is 4"):
        wilson(5, 4)
    with pytest.raises(DataError, match=r"shares must lie in 0\.\.1"):
        over_draws_and_samples([90.0, 91.0], 100)
    with pytest.raises(DataError, match="there are 2 and 1"):
        paired_difference([1.0, 2.0], [1.0])
    with pytest.raises(DataError, match="same test images"):
        paired_shares([np.ones(3)], [np.ones(4)])
    with pytest.raises(DataError, match="between 0 and 1"):
        over_draws([1.0, 2.0], level=95)
