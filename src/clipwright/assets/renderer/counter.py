"""Counter-based random numbers in exact integer arithmetic.

A draw is a function of (seed, counters) alone, so order, batch size and worker count can't change an image, and,
unlike numpy's distributions, the values are pinned here: a numpy release can't move the bytes of an embedded data set.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_MASK = 0xFFFFFFFFFFFFFFFF
_GOLDEN = 0x9E3779B97F4A7C15


def mix(*counters: int) -> int:
    """Hash integers to one 64-bit integer (the finaliser of SplitMix64, absorbed once per counter).

    Args:
        counters: Any number of integers; negative ones count modulo 2**64.

    Returns:
        An integer in [0, 2**64).
    """
    state = 0
    for counter in counters:
        state = (state + _GOLDEN + (counter & _MASK)) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def uniform(seed: int, counters: ArrayLike) -> NDArray[np.float64]:
    """Independent uniform numbers in [0, 1), one for each counter.

    Args:
        seed: Any integer; hash several with `mix` first.
        counters: Integers of any shape.

    Returns:
        float64 of the shape of `counters`, multiples of 2**-53, equal on every machine.
    """
    state = np.asarray(counters).astype(np.uint64)
    with np.errstate(over="ignore"):  # wrapping around is the arithmetic meant here
        state = (state + np.uint64(1)) * np.uint64(_GOLDEN) + np.uint64(mix(seed))
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
