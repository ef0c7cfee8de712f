"""Sweeps against re-evaluating the logits, and sums of exponentials against one term at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipwright.core.sweeps import (
    INTERPOLATION_ERROR,
    exponential_sums,
    segment_exponentials,
    sweep,
    sweep_grid,
    winning_intervals,
)


def problem(M: int, C: int, seed: int, *, coarse: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, M, C)) * 2
    if coarse:  # many exact ties, at alphas of the grid too
        a, b = np.round(a), np.round(b)
    return torch.from_numpy(a), torch.from_numpy(b), torch.from_numpy(rng.integers(0, C, M))


def right(a: torch.Tensor, b: torch.Tensor, y: torch.Tensor, alpha: float) -> int:
    """Re-evaluation: NumPy's argmax takes the first of equals."""
    return int(((a.double() + alpha * b.double()).numpy().argmax(1) == y.numpy()).sum())


@given(st.integers(0, 30), st.integers(1, 6), st.integers(0, 10_000), st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_grid_counts_what_re_evaluation_counts(M: int, C: int, seed: int, coarse: bool) -> None:
    a, b, y = problem(M, C, seed, coarse=coarse)
    grid = torch.tensor([-1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 2.0, 4.0], dtype=torch.float64)
    assert sweep_grid(a, b, y, grid).tolist() == [right(a, b, y, float(alpha)) for alpha in grid]


@given(st.integers(1, 20), st.integers(1, 5), st.integers(0, 10_000), st.booleans())
@settings(max_examples=100, deadline=None)
def test_every_step_is_what_re_evaluation_finds_inside_it(M: int, C: int, seed: int, coarse: bool) -> None:
    a, b, y = problem(M, C, seed, coarse=coarse)
    steps = sweep(a, b, y, 0.0, 5.0)
    assert float(steps.edges[0]) == 0.0
    assert float(steps.edges[-1]) == 5.0
    wide = steps.edges.diff() > 1e-9
    inside = (steps.edges[:-1] + 0.3819660113 * steps.edges.diff())[wide]  # not the middle, where coarse logits may tie
    assert steps.correct[wide].tolist() == [right(a, b, y, float(alpha)) for alpha in inside]
    alpha, most = steps.best()
    assert most == int(steps.correct.max())
    assert 0 < alpha < 5


def test_many_slopes_are_swept_together() -> None:
    a, b, y = problem(20, 4, 0, coarse=True)
    many = torch.stack([b, 2 * b, -b])
    grid = torch.tensor([0.5, 1.0, 3.0])
    assert torch.equal(sweep_grid(a, many, y, grid), torch.stack([sweep_grid(a, one, y, grid) for one in many]))


def test_float32_logits_are_compared_in_float64() -> None:
    a, b, y = problem(50, 6, 1, coarse=False)
    a, b = a.float(), b.float()
    assert int(sweep_grid(a, b, y, torch.tensor([0.7]))[0]) == right(a, b, y, float(torch.tensor(0.7)))


def test_intervals_of_known_rows() -> None:
    a = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    b = torch.tensor([[0.0, 1.0], [1.0, 0.0], [3.0, 3.0], [1.0, 1.0], [1.0, 1.0]])
    low, high = winning_intervals(a, b, torch.tensor([0, 0, 1, 0, 1]))
    assert low.tolist() == [-math.inf, 1.0, math.inf, -math.inf, math.inf]
    assert high.tolist() == [1.0, math.inf, -math.inf, math.inf, -math.inf]


def test_the_best_step_is_the_widest() -> None:
    # right below 1, between 2 and 3 (both rows from 2.5), and above 4: two rows right on (2.5, 3) only
    a = torch.tensor([[0.0, 5.0], [6.0, 0.0]])
    b = torch.tensor([[2.0, 0.0], [-2.0, 0.0]])
    assert sweep(a, b, torch.tensor([0, 0]), 0.0, 10.0).best() == (2.75, 2)
    flat = torch.zeros(1, 2)
    assert sweep(flat, flat, torch.tensor([0]), 0.0, 10.0).best() == (5.0, 1)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rates", [[3.0], [0.1, 50.0], np.linspace(0.1, 50, 90), np.linspace(0.1, 1, 7)])
def test_sums_of_exponentials(weighted: bool, rates: list[float]) -> None:
    rng = np.random.default_rng(0)
    distance, segment = rng.random((12, 5)) * 2 - 0.1, rng.integers(0, 3, 12)
    distance[4, 2] = math.inf
    weight = rng.random(12) if weighted else np.ones(12)
    found = exponential_sums(
        torch.from_numpy(distance),
        torch.from_numpy(segment),
        4,
        torch.tensor(np.asarray(rates)),
        torch.from_numpy(weight) if weighted else None,
    )
    for i, rate in enumerate(rates):
        terms = weight[:, None] * np.exp(-rate * distance)
        expected = np.stack([terms[segment == s].sum(0) for s in range(4)], 1)
        largest = float(np.exp(0.1 * max(rates)))
        np.testing.assert_allclose(found[i].numpy(), expected, rtol=0, atol=12 * 4 * INTERPOLATION_ERROR * largest)


def test_sums_keep_the_dtype_and_use_the_memory_given() -> None:
    distance, work = torch.rand(4, 3), torch.empty(4, 3)
    found = segment_exponentials(distance, torch.tensor([0, 0, 1, 1]), 2, 2.0, out=work)
    assert found.dtype == torch.float32
    torch.testing.assert_close(work, torch.exp(-2 * distance))
    torch.testing.assert_close(found, torch.stack([work[:2].sum(0), work[2:].sum(0)]))
