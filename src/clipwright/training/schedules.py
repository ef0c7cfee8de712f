"""Learning rates per epoch, as lists: a schedule is data that a test can look at."""

from __future__ import annotations

import math
from typing import Literal

from clipwright.core.errors import UsageError

Schedule = Literal["dassl", "cosine", "constant"]


def _check(learning_rate: float, epochs: int) -> None:
    if epochs < 0:
        raise UsageError(f"epochs must not be negative; it is {epochs}.")
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise UsageError(f"learning_rate must be positive and finite; it is {learning_rate}.")


def dassl_schedule(learning_rate: float, epochs: int, *, warmup: float = 1e-5) -> list[float]:
    """One epoch at `warmup`, then half a cosine that starts at the full rate: the field's few-shot convention.

    ``lr(0) = warmup`` and ``lr(e) = learning_rate / 2 * (1 + cos(pi * (e - 1) / epochs))`` for e >= 1, so the last
    epoch is small but never 0. Source: Dassl's cosine annealing with a constant warm-up that restarts the count.

    Args:
        learning_rate: the rate of epoch 1, positive.
        epochs: E, at least 0.
        warmup: the rate of epoch 0.

    Returns:
        E learning rates.
    """
    _check(learning_rate, epochs)
    cosine = [learning_rate / 2 * (1 + math.cos(math.pi * e / epochs)) for e in range(epochs)]
    return [warmup, *cosine][:epochs]


def cosine_schedule(learning_rate: float, epochs: int) -> list[float]:
    """``lr(e) = learning_rate / 2 * (1 + cos(pi * e / epochs))``: half a cosine without warm-up; E rates."""
    _check(learning_rate, epochs)
    return [learning_rate / 2 * (1 + math.cos(math.pi * e / epochs)) for e in range(epochs)]


def constant_schedule(learning_rate: float, epochs: int) -> list[float]:
    """The same rate E times."""
    _check(learning_rate, epochs)
    return [learning_rate] * epochs


def make_schedule(name: Schedule, learning_rate: float, epochs: int) -> list[float]:
    """The learning rates of the schedule called `name`, one per epoch."""
    known = {"dassl": dassl_schedule, "cosine": cosine_schedule, "constant": constant_schedule}
    if name not in known:
        raise UsageError(f"there is no schedule {name!r}: choose one of {', '.join(known)}.")
    return known[name](learning_rate, epochs)
