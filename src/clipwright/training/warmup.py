"""Learning rates per optimiser step, as lists: a linear warm-up, then half a cosine or a constant."""

from __future__ import annotations

import math
from typing import Literal

from clipwright.core.errors import UsageError


def warmup_schedule(
    learning_rate: float,
    steps: int,
    *,
    warmup_share: float = 0.1,
    warmup_steps: int | None = None,
    after: Literal["cosine", "constant"] = "cosine",
) -> list[float]:
    """``lr(s) = lr * (s + 1) / w`` in the w steps of the warm-up, then ``lr / 2 * (1 + cos(pi * (s - w) / (S - w)))``.

    Published code warms up for 500 steps whatever S is, so that a short training never reaches its rate; by default a
    share of the steps is taken instead. Source: WiSE-FT, RegFT, open_clip.

    Args:
        learning_rate: the rate at the end of the warm-up, positive.
        steps: S, at least 0.
        warmup_share: w as a share of S, rounded down, in [0, 1].
        warmup_steps: w itself, at least 0, instead of a share; the warm-up of a training that is shorter never ends.
        after: what follows the warm-up: half a cosine towards 0, or the full rate.

    Returns:
        S learning rates.

    Raises:
        UsageError: an argument is out of its range.
    """
    if steps < 0:
        raise UsageError(f"steps must not be negative; it is {steps}.")
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise UsageError(f"learning_rate must be positive and finite; it is {learning_rate}.")
    if not 0 <= warmup_share <= 1:
        raise UsageError(f"warmup_share must lie in [0, 1]; it is {warmup_share}.")
    if warmup_steps is not None and warmup_steps < 0:
        raise UsageError(f"warmup_steps must not be negative; it is {warmup_steps}.")
    if after not in {"cosine", "constant"}:
        raise UsageError(f"there is no schedule {after!r}: choose cosine or constant.")
    warm = math.floor(warmup_share * steps + 1e-9) if warmup_steps is None else warmup_steps
    rising = [learning_rate * (s + 1) / warm for s in range(min(warm, steps))]
    rest = steps - len(rising)
    if after == "constant":
        return rising + [learning_rate] * rest
    return rising + [learning_rate / 2 * (1 + math.cos(math.pi * s / rest)) for s in range(rest)]
