"""The fourteen shapes in dots: many inside, few outside, and no line between."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipwright.assets.datasets import raster
from clipwright.assets.datasets.distance import UNIT, distance
from clipwright.assets.datasets.embedded import EmbeddedData
from clipwright.assets.datasets.raster import SIDE, Floats, Ints
from clipwright.assets.renderer import outlines
from clipwright.assets.renderer.counter import mix

PER_CLASS = 120
STRAY = 0.018
"""Share of the places outside that hold a dot all the same: the constant that turns the difficulty."""

TEMPLATES = (
    "a photo of a {}.",
    "a {} made of dots.",
    "a dotted picture of a {}.",
    "a drawing of a {}.",
    "a stippled {}.",
)

_SEED = 0x5EED0014
_CELLS = 16  # places for a dot per side
_STEP = SIDE * 256 // _CELLS  # between them, in 1/256 pixel


def draw_many(names: list[str], seeds: list[int]) -> NDArray[np.uint8]:
    """Draw stippled shapes.

    Args:
        names: n shapes of `outlines.SHAPES`.
        seeds: n seeds, which decide everything else.

    Returns:
        (n, 32, 32, 3) uint8.
    """
    u = raster.parameters(seeds, 32)
    size = 0.72 + 0.18 * u[:, 0]
    room = 0.95 - size
    x, y = room * (2 * u[:, 1] - 1), room * (2 * u[:, 2] - 1)
    edge = distance(names, u[:, 3], size=size, angle=0.4 * (u[:, 4] - 0.5), x=x, y=y)
    ink = _dots(seeds, edge, u)

    n = len(u)
    dark = u[:, 5] < 0.5
    hue = u[:, 6]
    ground = raster.toned(
        raster.colour(hue, 0.1 + 0.5 * u[:, 7], np.ones(n)),
        np.where(dark, 0.82 + 0.15 * u[:, 8], 0.06 + 0.14 * u[:, 8]),
    )
    dot = raster.toned(
        raster.colour(hue + 0.2 + 0.6 * u[:, 9], 0.2 + 0.7 * u[:, 10], np.ones(n)),
        np.where(dark, 0.05 + 0.25 * u[:, 11], 0.7 + 0.28 * u[:, 11]),
    )
    return raster.finish(raster.over(ground[:, None, None], dot[:, None, None], ink))


def _dots(seeds: list[int], edge: Ints, u: Floats) -> Ints:
    """Round dots (n, 32, 32) in [0, 255], each somewhere in its own cell, if it is there at all."""
    n = len(seeds)
    corner = np.arange(_CELLS, dtype=np.int64) * _STEP
    down = corner[:, None] + (raster.grain([mix(s, 1) for s in seeds], _CELLS) * _STEP >> 8)
    right = corner + (raster.grain([mix(s, 2) for s in seeds], _CELLS) * _STEP >> 8)
    row = np.arange(n)[:, None, None]
    depth = -edge[row, down >> 8, right >> 8]  # in 1/16 pixel, how far inside
    # Dense at the edge, thinner towards the middle in some images, as an engraver shades a ball.
    thin = (u[:, 12] * 0.35)[:, None, None] * (depth.clip(0, 6 * UNIT) / (6 * UNIT))
    chance = np.where(depth > 0, 0.92 - thin, STRAY)
    there = raster.grain([mix(s, 3) for s in seeds], _CELLS) < np.round(256 * chance)
    radius = (
        180
        + (raster.grain([mix(s, 4) for s in seeds], _CELLS) * 110 >> 8)
        + (60 * u[:, 13, None, None]).astype(np.int64)
    )
    radius = np.where(there, radius, -1000)

    ink = np.zeros((n, SIDE, SIDE), dtype=np.int64)
    centre = np.arange(SIDE) * 256 + 128
    cell = np.arange(SIDE) * _CELLS // SIDE
    for dr in (-1, 0, 1):
        for dc in (-1, 0, 1):
            i, j = (cell + dr).clip(0, _CELLS - 1)[:, None], (cell + dc).clip(0, _CELLS - 1)[None, :]
            away = (down[:, i, j] - centre[:, None]) ** 2 + (right[:, i, j] - centre) ** 2
            reach = radius[:, i, j]
            # Distance to the rim without a root: (r^2 - d^2) / 2r is r - d near it.
            rim = (reach * reach - away) // (2 * np.abs(reach))
            ink = np.maximum(ink, np.where(reach > 0, (rim + 128).clip(0, 255), 0))
    return ink


def load_stipple() -> EmbeddedData:
    """Make the data set `shapes-stipple`: 14 classes, 60 images each to train and to test."""
    labels = np.repeat(np.arange(len(outlines.SHAPES), dtype=np.int64), PER_CLASS)
    seeds = [mix(_SEED, c, i) for i, c in enumerate(labels.tolist())]
    return EmbeddedData(
        name="shapes-stipple",
        class_names=outlines.SHAPES,
        pixels=lambda: draw_many([outlines.SHAPES[c] for c in labels.tolist()], seeds),
        labels=labels,
        split=tuple("test" if i % 2 else "train" for i in range(len(labels))),
        templates=TEMPLATES,
        description="The classes of shapes drawn by dots of varying density, with stray dots around.",
        source="Drawn by clipwright.assets.datasets.stipple",
        licence="Apache-2.0",
    )
