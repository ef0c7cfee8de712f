"""Fourteen shapes as inside/outside tests on the plane, and their masks by counting sub-pixels.

Counting keeps masks exact: a coverage is a small integer over a small integer, equal on every machine and every
version of an imaging library.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float64]
Inside = NDArray[np.bool_]
_Test = Callable[[Plane, Plane, float], Inside]


def _polygon(points: list[tuple[float, float]], x: Plane, y: Plane) -> Inside:
    """Even-odd rule for a closed polygon."""
    inside = np.zeros(np.broadcast(x, y).shape, dtype=np.bool_)
    for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True):
        if y0 == y1:
            continue
        crosses = (y < y0) != (y < y1)
        inside ^= crosses & (x < x0 + (y - y0) * ((x1 - x0) / (y1 - y0)))
    return inside


def _around(radii: list[float], start: float) -> list[tuple[float, float]]:
    """Corners at equal angles, starting at `start` radians (0 is right, clockwise because y points down)."""
    step = 2 * math.pi / len(radii)
    return [(r * math.cos(start + i * step), r * math.sin(start + i * step)) for i, r in enumerate(radii)]


def _disc(x: Plane, y: Plane, radius: float, cx: float = 0.0, cy: float = 0.0) -> Inside:
    return np.asarray((x - cx) ** 2 + (y - cy) ** 2 < radius**2)


def _heart(x: Plane, y: Plane, form: float) -> Inside:
    u, v = x * 1.28, 0.12 - y * (1.2 + 0.15 * form)
    return np.asarray((u * u + v * v - 1) ** 3 - u * u * v**3 < 0)


def _crescent(x: Plane, y: Plane, form: float) -> Inside:
    return _disc(x - 0.15, y, 0.85) & ~_disc(x - 0.15, y, 0.74, cx=0.34 + 0.14 * form)


def _cross(x: Plane, y: Plane, form: float) -> Inside:
    arm = 0.2 + 0.1 * form
    ax, ay = np.abs(x), np.abs(y)
    return np.asarray(((ax < arm) & (ay < 0.85)) | ((ay < arm) & (ax < 0.85)))


def _arrow(x: Plane, y: Plane, form: float) -> Inside:
    shaft, neck = 0.15 + 0.1 * form, 0.1
    half = [(-0.9, -shaft), (neck, -shaft), (neck, -0.62), (0.9, 0.0)]
    return _polygon(half + [(px, -py) for px, py in reversed(half[:-1])], x, y)


def _teardrop(x: Plane, y: Plane, form: float) -> Inside:
    tip, radius = -0.95, 0.5 + 0.08 * form
    tangent = math.sqrt(1 - (radius / (0.35 - tip)) ** 2)
    cone = (y < 0.35 - radius * radius / (0.35 - tip)) & (np.abs(x) * (tangent / (radius / (0.35 - tip))) < y - tip)
    return _disc(x, y, radius, cy=0.35) | cone


_TESTS: dict[str, _Test] = {
    "circle": lambda x, y, _: _disc(x, y, 0.85),
    "oval": lambda x, y, f: np.asarray((x / 0.95) ** 2 + (y / (0.46 + 0.14 * f)) ** 2 < 1),
    "ring": lambda x, y, f: _disc(x, y, 0.88) & ~_disc(x, y, 0.5 + 0.14 * f),
    "semicircle": lambda x, y, _: _disc(x, y, 0.92, cy=0.42) & (y < 0.42),
    "crescent": _crescent,
    "square": lambda x, y, _: np.asarray(np.maximum(np.abs(x), np.abs(y)) < 0.74),
    "diamond": lambda x, y, f: np.asarray(np.abs(x) / (0.58 + 0.16 * f) + np.abs(y) / 0.95 < 1),
    "triangle": lambda x, y, f: _polygon([(0.0, -0.85), (0.8 + 0.12 * f, 0.7), (-0.8 - 0.12 * f, 0.7)], x, y),
    "hexagon": lambda x, y, _: _polygon(_around([0.92] * 6, 0.0), x, y),
    "star": lambda x, y, f: _polygon(_around([0.95, 0.36 + 0.12 * f] * 5, -math.pi / 2), x, y),
    "heart": _heart,
    "cross": _cross,
    "arrow": _arrow,
    "teardrop": _teardrop,
}

SHAPES: tuple[str, ...] = tuple(_TESTS)
"""Names of the shapes, in the order of the classes of the embedded data set."""


def inside(name: str, x: Plane, y: Plane, form: float = 0.5) -> Inside:
    """Which points lie inside a shape.

    Args:
        name: One of `SHAPES`.
        x: Horizontal coordinates; the shape lies within [-1, 1].
        y: Vertical coordinates of the same shape, pointing down.
        form: In [0, 1]: proportions of those shapes that have some (a star's inner radius, a ring's width).

    Returns:
        Booleans of the shape of `x`.
    """
    return _TESTS[name](x, y, form)


def grid(size: int, oversample: int) -> tuple[Plane, Plane]:
    """Centres of the sub-pixels of a square image, in [-1, 1].

    Args:
        size: Pixels per side.
        oversample: Sub-pixels per pixel and side.

    Returns:
        x and y, each (size * oversample, size * oversample).
    """
    n = size * oversample
    centres = (2 * np.arange(n, dtype=np.float64) + 1) / n - 1
    x, y = np.meshgrid(centres, centres)
    return x, y


def coverage(covered: Inside, oversample: int) -> NDArray[np.int64]:
    """Number of covered sub-pixels in each pixel.

    Args:
        covered: (n * oversample, n * oversample) booleans.
        oversample: Sub-pixels per pixel and side.

    Returns:
        (n, n) integers in [0, oversample**2].
    """
    n = covered.shape[0] // oversample
    blocks = covered.reshape(n, oversample, n, oversample).astype(np.int64)
    return np.asarray(blocks.sum(axis=(1, 3)), dtype=np.int64)
