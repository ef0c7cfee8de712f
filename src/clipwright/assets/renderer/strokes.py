"""Digits and capitals as pen movements: what a hand draws, where a font only gives what a printer draws.

A letterform is a few strokes through control points (per cent of a box, y down); `!` marks a corner, `|` lifts the
pen. The control points are shaken, smoothed and inked with a round pen. Written for this project by hand; no image of
handwriting went into them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipwright.assets.renderer.counter import uniform

FORMS: dict[str, tuple[str, ...]] = {
    "0": ("50,0 15,22 10,60 30,95 62,100 88,70 85,25 50,0", "60,2 30,15 18,60 40,98 68,80 78,40 60,2 45,8"),
    "1": ("50,0 50,100", "20,30 52,0! 50,100", "25,28 52,0! 52,100! | 22,100 82,100"),
    "2": (
        "10,25 32,2 70,4 84,30 58,62 10,100! 90,100",
        "15,18 45,0 78,20 62,58 25,88 12,97 28,84 55,95 92,96",
        "12,12 60,0 80,22 55,55 15,96! 50,92 90,100",
    ),
    "3": (
        "15,12 50,0 82,18 70,42 40,48! 75,55 88,78 55,100 10,90",
        "15,2 85,2! 45,40! 85,58 82,90 42,100 10,88",
    ),
    "4": (
        "30,0 10,60! 92,58 | 66,28 60,100",
        "70,100 70,0! 8,66! 95,66",
        "18,5 10,42 30,58 78,46 | 86,5 72,50 55,100",
    ),
    "5": (
        "85,2 25,2! 20,45! 60,36 88,62 68,96 10,92",
        "25,3 18,46! 58,40 82,66 60,98 12,90 | 25,3 88,0",
    ),
    "6": ("70,0 32,28 12,70 35,100 75,95 86,70 60,52 18,70", "55,0 30,40 18,80 45,100 76,84 62,60 28,72"),
    "7": ("10,3 90,3! 42,100", "10,5 88,3! 40,100 | 28,52 82,50", "12,15 15,3! 50,8 88,2! 60,45 45,100"),
    "8": (
        "50,48 20,25 50,0 80,25 50,48 15,75 50,100 85,75 50,48",
        "82,14 50,0 20,20 50,46 82,76 50,100 18,80 40,52 70,32 82,14",
    ),
    "9": (
        "82,28 50,0 16,24 40,50 80,34! 76,70 60,100",
        "80,30 48,2 18,26 42,48 82,22! 86,70 60,100 16,92",
        "78,18 45,2 20,28 45,48 78,18! 72,100",
    ),
    "A": ("5,100 50,0! 95,100 | 22,62 78,62",),
    "B": ("15,0 15,100 | 15,2 62,4 72,24 58,44 15,48! 68,52 84,76 60,98 15,100",),
    "C": ("85,18 55,0 18,22 10,55 28,92 60,100 88,82",),
    "D": ("15,0 15,100 | 15,2 60,6 88,40 80,80 50,98 15,100",),
    "E": ("85,2 15,2! 15,100! 88,100 | 15,50 72,50",),
    "F": ("85,2 15,2! 15,100 | 15,48 70,48",),
    "G": ("85,16 55,0 18,22 10,58 30,94 65,98 86,78 86,56! 55,56",),
    "H": ("15,0 15,100 | 85,0 85,100 | 15,50 85,50",),
    "I": ("50,0 50,100 | 25,0 75,0 | 25,100 75,100",),
    "J": ("75,0 75,70 58,98 30,98 14,74", "40,2 95,2 | 68,2 68,75 45,100 15,80"),
    "K": ("15,0 15,100 | 85,0 15,55! 88,100",),
    "L": ("18,0 18,100! 85,100",),
    "M": ("8,100 15,0! 50,70! 85,0! 92,100",),
    "N": ("15,100 15,0! 85,100! 85,0",),
    "O": ("50,0 12,25 8,60 30,96 68,98 92,65 85,20 50,0",),
    "P": ("15,0 15,100 | 15,2 66,4 84,28 62,52 15,54",),
    "Q": ("50,0 12,25 8,60 30,92 68,92 92,62 85,20 50,0 | 58,68 95,100",),
    "R": ("15,0 15,100 | 15,2 66,4 82,26 62,48 15,52! 88,100",),
    "S": ("82,14 52,0 20,18 34,42 70,58 84,80 54,100 14,86",),
    "T": ("5,2 95,2 | 50,2 50,100",),
    "U": ("15,0 14,65 35,98 65,98 86,65 85,0",),
    "V": ("8,0 50,100! 92,0",),
    "W": ("4,0 26,100! 50,28! 74,100! 96,0",),
    "X": ("10,0 90,100 | 90,0 10,100",),
    "Y": ("8,0 50,50! 92,0 | 50,50 50,100",),
    "Z": ("12,2 88,2! 10,100! 90,100",),
}

Points = NDArray[np.float64]


def _parse(form: str) -> list[tuple[Points, NDArray[np.bool_]]]:
    """Strokes of a form: control points in [0, 1] and whether each is a corner."""
    strokes = []
    for stroke in form.split("|"):
        words = stroke.split()
        points = [[float(number) / 100 for number in word.rstrip("!").split(",")] for word in words]
        strokes.append((np.array(points), np.array([word.endswith("!") for word in words])))
    return strokes


def _smooth(points: Points, corners: NDArray[np.bool_], pieces: int = 6) -> Points:
    """A Catmull-Rom curve through the points; doubling a point makes the curve stop there, hence a corner."""
    knots = np.repeat(points, np.where(corners, 2, 1), axis=0)
    knots = np.concatenate([knots[:1], knots, knots[-1:]])
    t = np.linspace(0, 1, pieces, endpoint=False)[:, None]
    curve = []
    for a, b, c, d in zip(knots[:-3], knots[1:-2], knots[2:-1], knots[3:], strict=True):
        curve.append(b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))))
    return np.concatenate([*curve, knots[-1:]])


def _distance(points: Points, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each grid point to the polyline."""
    start, end = points[:-1], points[1:]
    along = end - start
    length = np.maximum((along**2).sum(1), 1e-12)
    px, py = x[..., None] - start[:, 0], y[..., None] - start[:, 1]
    t = np.clip((px * along[:, 0] + py * along[:, 1]) / length, 0, 1)
    squared = (px - t * along[:, 0]) ** 2 + (py - t * along[:, 1]) ** 2
    return np.asarray(np.sqrt(squared.min(-1)))


def draw(character: str, *, form: int, seed: int, shake: float, pen: float, size: int) -> NDArray[np.uint8]:
    """Draw one handwritten character.

    Args:
        character: A key of `FORMS`.
        form: Which of its forms, counted modulo their number.
        seed: Of the hand's unsteadiness.
        shake: Largest displacement of a control point, as a fraction of the character's height (0 to 0.1).
        pen: Radius of the pen as a fraction of the character's height (0.03 to 0.12).
        size: Pixels per side of the mask.

    Returns:
        (size, size) uint8 ink, 0 to 255, the character filling about 0.8 of the height.
    """
    strokes = _parse(FORMS[character][form % len(FORMS[character])])
    u = uniform(seed, np.arange(200)).reshape(-1, 2) * 2 - 1
    width = 0.62 + 0.16 * u[-1, 0]
    lattice = (np.arange(size) + 0.5) / size * 1.25 - 0.125
    x, y = np.meshgrid(lattice, lattice)
    nearest = np.full((size, size), np.inf)
    used = 0
    for points, corners in strokes:
        shaken = points + shake * u[used : used + len(points)]
        used += len(points)
        shaken[:, 0] = 0.5 + (shaken[:, 0] - 0.5) * width
        nearest = np.minimum(nearest, _distance(_smooth(shaken, corners), x, y))
    ink = np.clip(0.5 + (pen - nearest) * size / 1.25, 0, 1)
    return np.asarray(np.round(255 * ink), dtype=np.uint8)
