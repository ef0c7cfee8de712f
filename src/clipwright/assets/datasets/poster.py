"""A style that no training image has: posters. A dark, crisp figure fills the frame, upright, on a bright ground.

It stands for what a text-to-image model makes: clean, colourful, and far from the images that count. `draw` makes any
digit, capital or shape. That figures are always dark on bright, widened and often hollow is what makes a classifier
learned from posters alone a bad one for handwriting.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipwright.assets.datasets import glyphs, raster
from clipwright.assets.datasets.raster import SIDE, Floats, Ints
from clipwright.assets.renderer.counter import mix

STRETCH = 1.0
"""How far figures are widened towards a square, from 0 (not at all) to 1: the constants that turn the difference."""
HOLLOW = 0.4
"""Share of figures whose strokes are filled with white."""

_STEEP = 40  # how sharp the edge of a split ground is


def draw(name: str, seed: int) -> NDArray[np.uint8]:
    """Draw one poster.

    Args:
        name: A digit ("7"), a capital letter ("Q"), or one of `outlines.SHAPES`.
        seed: Decides everything but that: face or proportions, colours, background, effect.

    Returns:
        (32, 32, 3) uint8.

    Raises:
        DataError: There is no such figure.
    """
    image: NDArray[np.uint8] = draw_many([name], [seed])[0]
    return image


def draw_many(names: list[str], seeds: list[int]) -> NDArray[np.uint8]:
    """Draw several posters; each is what `draw` makes of its name and seed.

    Args:
        names: n figures.
        seeds: n seeds.

    Returns:
        (n, 32, 32, 3) uint8.

    Raises:
        DataError: There is no such figure.
    """
    u = raster.parameters(seeds, 32)
    masks = np.stack([(options := glyphs.variants(name))[int(u[i, 0] * len(options))] for i, name in enumerate(names)])
    zero, size = np.zeros(len(u)), 0.84 + 0.1 * u[:, 1]
    widest = glyphs.INK * glyphs.SIZE / (masks.max(1) > 0).sum(1)  # that much until it fills the frame's width, too
    wide = 1 + STRETCH * (np.minimum(widest, 2.5) - 1) * u[:, 19]
    ink = raster.place(masks, size=size, angle=zero, x=zero, y=zero, ink=glyphs.INK, wide=wide)
    ink = ((ink - 64) * 2).clip(0, 255)  # crisp edges

    hue, saturation, tone = u[:, 3], 0.85 + 0.15 * u[:, 6], 0.1 + 0.16 * u[:, 5]
    first = raster.toned(raster.colour(hue, saturation, np.ones(len(u))), tone)
    second = raster.toned(raster.colour(hue + 0.1 + 0.12 * u[:, 7], saturation, np.ones(len(u))), tone)
    image = _effect(_ground(seeds, u, hue + 0.3 + 0.4 * u[:, 4]), ink, u)
    body = _between(first, second, _slope(u[:, 8] * 2 - 1, u[:, 9] * 2 - 1))
    image = raster.over(image, body, ink)
    inner = (255 - raster.fatten(raster.fatten(255 - ink))) * (u[:, 20] < HOLLOW)[:, None, None]
    return raster.finish(raster.over(image, np.array(255), inner))


def _between(first: Ints, second: Ints, weight: Ints) -> Ints:
    """(n, 32, 32, 3): two colours (n, 3), mixed by a weight (n, 32, 32) in [0, 255]."""
    return raster.over(first[:, None, None], second[:, None, None], weight)


def _slope(right: Floats, down: Floats, steepness: int = 1) -> Ints:
    """A ramp (n, 32, 32) in [0, 255] along a direction, 127 in the middle."""
    axis = 2 * np.arange(SIDE, dtype=np.int64) - (SIDE - 1)
    a, b = (np.round(256 * d / np.maximum(np.abs(right) + np.abs(down), 1e-9)).astype(np.int64) for d in (right, down))
    height = a[:, None, None] * axis + b[:, None, None] * axis[:, None]  # at most 31 * 256 in size
    return np.asarray((127 + height * steepness * 127 // (31 * 256)).clip(0, 255))


def _ground(seeds: list[int], u: Floats, hue: Floats) -> Ints:
    """Textured paper, light from the middle, or two halves with a sharp edge, in bright colours."""
    tone, saturation = 0.7 + 0.22 * u[:, 10], 0.35 + 0.6 * u[:, 11]
    first = raster.toned(raster.colour(hue, saturation, np.ones(len(u))), tone)
    second = raster.toned(raster.colour(hue + 0.12 * (2 * u[:, 12] - 1), saturation, np.ones(len(u))), tone * 0.76)

    axis = 2 * np.arange(SIDE, dtype=np.int64) - (SIDE - 1)
    radial = (axis**2 + axis[:, None] ** 2) * 255 // (2 * (SIDE - 1) ** 2)
    split = _slope(u[:, 13] * 2 - 1, u[:, 14] * 2 - 1, _STEEP)
    fibres = raster.clouds([mix(s, 1) for s in seeds], 17)
    kind = (u[:, 15] * 3).astype(np.int64)[:, None, None]
    image = _between(first, second, np.asarray(np.where(kind == 0, fibres, np.where(kind == 1, radial, split))))
    tooth = (raster.grain([mix(s, 2) for s in seeds]) - 128) // 10
    return np.asarray(image + np.where(kind == 0, tooth, 0)[..., None])


def _effect(image: Ints, ink: Ints, u: Floats) -> Ints:
    """A hard shadow to one side, a glow around, or a white rim."""
    side = np.where(u[:, 17] < 0.5, 1, -1)
    reach = 1 + (u[:, 16] * 2).astype(np.int64)
    shadow = raster.shift(ink, reach * side, reach) * 90 // 255
    rim = raster.fatten(ink)
    glow = raster.blur(raster.blur(raster.fatten(rim))) * 3 // 4
    kind = (u[:, 18] * 3).astype(np.int64)[:, None, None]
    weight = np.where(kind == 0, shadow, np.where(kind == 1, glow, rim))
    paint = np.where(kind == 0, 0, 255)[..., None]
    return raster.over(image, paint, np.asarray(weight))
