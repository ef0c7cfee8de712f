"""Schedules against the golden sequences and their closed forms."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipwright.core.errors import UsageError
from clipwright.training.schedules import Schedule, dassl_schedule, make_schedule


@pytest.mark.parametrize(
    ("name", "rate", "epochs"),
    [
        ("lr_seq_E100_lr2e3", 2e-3, 100),
        ("lr_seq_E200_lr2e3", 2e-3, 200),
        ("lr_seq_E200_lr2e4", 2e-4, 200),
        ("lr_seq_E300_lr1e1", 1e-1, 300),
        ("lr_seq_E30_lr2e3", 2e-3, 30),
    ],
)
def test_golden_sequences(golden: Path, name: str, rate: float, epochs: int) -> None:
    with np.load(golden / "taskres.npz") as arrays:
        np.testing.assert_allclose(dassl_schedule(rate, epochs), arrays[name], rtol=1e-12, atol=0)


@given(st.sampled_from(["dassl", "cosine", "constant"]), st.floats(1e-8, 10), st.integers(0, 40))
def test_one_positive_rate_per_epoch_and_never_above_the_given(name: Schedule, rate: float, epochs: int) -> None:
    rates = make_schedule(name, rate, epochs)
    assert len(rates) == epochs
    assert all(0 < r <= max(rate, 1e-5) for r in rates)
    if name == "cosine" and epochs:
        assert rates[0] == rate
        assert rates[-1] == pytest.approx(rate / 2 * (1 + math.cos(math.pi * (epochs - 1) / epochs)))


@pytest.mark.parametrize(("rate", "epochs"), [(0.0, 3), (-1.0, 3), (math.nan, 3), (math.inf, 3), (1.0, -1)])
def test_senseless_arguments_are_refused(rate: float, epochs: int) -> None:
    for name in ("dassl", "cosine", "constant"):
        with pytest.raises(UsageError, match=r"learning_rate|epochs"):
            make_schedule(name, rate, epochs)


def test_an_unknown_schedule_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match="choose one of dassl, cosine, constant"):
        make_schedule("steps", 1.0, 1)  # type: ignore[arg-type] # that is the point
