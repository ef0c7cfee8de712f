"""Learning rates per step."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from clipwright.core.errors import UsageError
from clipwright.training.warmup import warmup_schedule


def test_the_published_schedule(golden: Path) -> None:
    wanted = np.load(golden / "regft.npz")["lr_seq_base1e3_warm500_total800"]
    found = warmup_schedule(1e-3, 800, warmup_steps=500)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-18)


def test_a_share_of_the_steps_warms_up() -> None:
    rates = warmup_schedule(2.0, 30)
    assert rates[:4] == pytest.approx([2 / 3, 4 / 3, 2.0, 2.0])
    assert rates[3:] == pytest.approx([1 + math.cos(math.pi * s / 27) for s in range(27)])
    assert warmup_schedule(2.0, 29)[:3] == pytest.approx([1.0, 2.0, 2.0])  # never more than the share
    assert warmup_schedule(2.0, 5)[0] == 2.0


def test_the_published_warm_up_of_a_short_training_never_ends() -> None:
    assert warmup_schedule(1.0, 50, warmup_steps=500)[-1] == pytest.approx(0.1)


def test_constant() -> None:
    assert warmup_schedule(1.0, 4, warmup_steps=2, after="constant") == [0.5, 1, 1, 1]
    assert warmup_schedule(1.0, 3, warmup_share=0, after="constant") == [1, 1, 1]
    assert warmup_schedule(1.0, 0) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": -1}, "steps must not be negative"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"warmup_share": 1.5}, "warmup_share must lie"),
        ({"warmup_steps": -1}, "warmup_steps must not be negative"),
        ({"after": "dassl"}, "choose cosine or constant"),
    ],
)
def test_arguments_out_of_range(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        warmup_schedule(**({"learning_rate": 1.0, "steps": 3} | change))  # type: ignore[arg-type]
