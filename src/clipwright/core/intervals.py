"""Confidence intervals: over repeated draws, over test images, over both, and of paired differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from clipwright.core.errors import DataError


@dataclass(frozen=True)
class Interval:
    """An estimate and where the truth lies with the stated confidence; unbounded where nothing can be said.

    Attributes:
        mean: the estimate.
        low: lower end, -inf when unknown.
        high: upper end, inf when unknown.
    """

    mean: float
    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def known(self) -> bool:
        """Whether both ends are finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)


def over_draws(values: ArrayLike, level: float = 0.95) -> Interval:
    """Student's t interval of the mean of independent repetitions; unbounded for fewer than two.

    Args:
        values: (m,) one figure per draw.
        level: confidence, between 0 and 1.

    Raises:
        DataError: there are no values, or some are not finite.
    """
    x = _values(values)
    if len(x) < 2:
        return Interval(float(x[0]), -math.inf, math.inf)
    half = _t(len(x) - 1, level) * float(x.std(ddof=1)) / math.sqrt(len(x))
    mean = float(x.mean())
    return Interval(mean, mean - half, mean + half)


def wilson(right: float, total: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a share counted once (Wilson, 1927); its ends stay within 0 and 1.

    Args:
        right: how many of `total`, 0 to `total`; a mean count need not be whole.
        total: how many were counted, at least 1.
        level: confidence, between 0 and 1.

    Raises:
        DataError: the counts make no share.
    """
    if total < 1 or not 0 <= right <= total:
        raise DataError(f"a share needs 0 <= right <= total and total >= 1; right is {right}, total is {total}.")
    z, p = _z(level), right / total
    scale = 1 + z * z / total
    centre = (p + z * z / (2 * total)) / scale
    half = z * math.sqrt(p * (1 - p) / total + z * z / (4 * total * total)) / scale
    # Rounding must not push an end past the share itself.
    return Interval(p, min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half)))


def over_draws_and_samples(shares: ArrayLike, total: int, level: float = 0.95) -> Interval:
    """Interval of a mean share over draws of the support set and over the test images it was counted on.

    The rule: Student's t over draws and Wilson over test images each give a distance from the mean to either end;
    the distances are added in quadrature (the recovered-variance rule of Zou and Donner, 2008), and the ends kept
    within 0 and 1. All draws are taken to share their test images, which is the cautious reading. With one draw, or
    an answer that no draw changes, it is Wilson's interval and says nothing about other draws.

    Args:
        shares: (m,) share of test images right, one per draw, each in 0..1.
        total: number of test images per draw.
        level: confidence, between 0 and 1.

    Raises:
        DataError: no shares, shares outside 0..1, or no test images.
    """
    x = _values(shares)
    if x.min() < 0 or x.max() > 1:
        raise DataError(f"shares must lie in 0..1; they range from {x.min()} to {x.max()}.")
    mean = float(x.mean())
    samples = wilson(min(mean * total, total), total, level)
    if len(x) < 2:
        return Interval(mean, samples.low, samples.high)
    draws = over_draws(x, level)
    low = mean - math.hypot(mean - draws.low, mean - samples.low)
    high = mean + math.hypot(draws.high - mean, samples.high - mean)
    return Interval(mean, max(0.0, low), min(1.0, high))


def paired_difference(a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Interval:
    """Student's t interval of the mean of ``a - b`` over the same draws, scored on the same test images.

    Pairing removes what both share: how lucky the draw and how hard the images were.

    Args:
        a: (m,) figures of one method, one per draw.
        b: (m,) figures of another on the same draws in the same order.
        level: confidence, between 0 and 1.

    Raises:
        DataError: the lengths differ, or there are no draws.
    """
    x, y = _values(a), _values(b)
    if len(x) != len(y):
        raise DataError(f"a paired comparison needs the same draws on both sides; there are {len(x)} and {len(y)}.")
    return over_draws(x - y, level)


def paired_shares(a: Sequence[ArrayLike], b: Sequence[ArrayLike], level: float = 0.95) -> Interval:
    """Interval of the difference between two mean shares over the same draws and the same test images.

    The rule is that of `over_draws_and_samples` applied to the differences: Student's t over draws, and the normal
    interval of the mean difference over a draw's test images, added in quadrature; the ends stay within -1 and 1.
    With one draw it covers the test images only.

    Args:
        a: for each of m draws, (n,) whether one method was right on each test image.
        b: the same of another method, on the same images in the same order.
        level: confidence, between 0 and 1.

    Raises:
        DataError: the draws or their images differ in number, or there are none.
    """
    left, right = ([np.asarray(x, dtype=np.float64) for x in side] for side in (a, b))
    if not left or [x.shape for x in left] != [x.shape for x in right] or not all(x.size for x in left):
        raise DataError("a paired comparison needs the same draws and the same test images on both sides.")
    differences = [x - y for x, y in zip(left, right, strict=True)]
    draws = over_draws([d.mean() for d in differences], level)
    error = math.sqrt(float(np.mean([d.var() / d.size for d in differences])))
    half = math.hypot(draws.high - draws.mean if draws.known else 0.0, _z(level) * error)
    return Interval(draws.mean, max(-1.0, draws.mean - half), min(1.0, draws.mean + half))


def _values(values: ArrayLike) -> np.ndarray:
    x = np.asarray(values, dtype=np.float64).reshape(-1)
    if not len(x) or not np.isfinite(x).all():
        raise DataError("an interval needs at least one figure, and all of them finite.")
    return x


def _t(freedom: int, level: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, _upper(level)))


def _z(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(_upper(level)))


def _upper(level: float) -> float:
    if not 0 < level < 1:
        raise DataError(f"a confidence level lies between 0 and 1; it is {level}.")
    return 0.5 + level / 2
