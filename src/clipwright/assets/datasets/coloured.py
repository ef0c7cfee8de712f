"""Twelve colours times fourteen shapes as paper cut-outs: 168 classes that differ in one word."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipwright.assets.datasets import glyphs, raster
from clipwright.assets.datasets.embedded import EmbeddedData
from clipwright.assets.datasets.raster import Floats, Ints
from clipwright.assets.renderer import outlines
from clipwright.assets.renderer.counter import mix

COLOURS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((-0.02, 0.015), (0.82, 1.0), (0.72, 0.95)),
    "green": ((0.30, 0.38), (0.6, 0.95), (0.4, 0.7)),
    "blue": ((0.60, 0.66), (0.7, 0.95), (0.6, 0.92)),
    "yellow": ((0.145, 0.165), (0.72, 0.98), (0.92, 1.0)),
    "orange": ((0.07, 0.095), (0.82, 1.0), (0.93, 1.0)),
    "purple": ((0.755, 0.80), (0.6, 0.85), (0.45, 0.68)),
    "pink": ((0.90, 0.955), (0.3, 0.5), (0.94, 1.0)),
    "brown": ((0.055, 0.085), (0.6, 0.8), (0.34, 0.5)),
    "cyan": ((0.485, 0.52), (0.6, 0.9), (0.8, 0.95)),
    "white": ((0.0, 1.0), (0.0, 0.03), (0.95, 1.0)),
    "black": ((0.0, 1.0), (0.0, 0.3), (0.02, 0.1)),
    "gray": ((0.0, 1.0), (0.0, 0.06), (0.42, 0.6)),
}
"""Ranges of hue (1 is a full turn), saturation and value that a colour's name stands for here."""

TRAIN, TEST = 16, 10
NAMES: tuple[str, ...] = tuple(f"{colour} {shape}" for colour in COLOURS for shape in outlines.SHAPES)
TEMPLATES = (
    "a photo of a {}.",
    "a {}.",
    "a picture of a {}.",
    "a drawing of a {}.",
    "a {} cut out of paper.",
)

_SEED = 0x5EED0015
_APART = 0.3  # least difference of brightness between a cut-out and its ground


def draw_many(colours: list[str], shapes: list[str], seeds: list[int]) -> NDArray[np.uint8]:
    """Draw cut-outs.

    Args:
        colours: n keys of `COLOURS`.
        shapes: n shapes of `outlines.SHAPES`.
        seeds: n seeds, which decide everything else.

    Returns:
        (n, 32, 32, 3) uint8.
    """
    u = raster.parameters(seeds, 32)
    masks = np.stack(
        [glyphs.shape(shape)[int(f * glyphs.FORMS)] for shape, f in zip(shapes, u[:, 0].tolist(), strict=True)]
    )
    size = 0.5 + 0.3 * u[:, 1]
    room = 0.92 - size
    ink = raster.place(
        masks,
        size=size,
        angle=0.5 * (u[:, 2] - 0.5),
        x=room * (2 * u[:, 3] - 1),
        y=room * (2 * u[:, 4] - 1),
        ink=glyphs.INK,
    )
    ink = ((ink - 40) * 3 // 2).clip(0, 255)
    ranges = np.array([COLOURS[colour] for colour in colours])
    hue, saturation, value = (ranges[:, k, 0] + (ranges[:, k, 1] - ranges[:, k, 0]) * u[:, 5 + k] for k in range(3))
    paint = raster.colour(hue, saturation, value)
    image = _ground(paint, u)
    shadow = raster.shift(ink, np.ones(len(u), dtype=np.int64), np.ones(len(u), dtype=np.int64))
    image = raster.over(image, image * 5 // 8, shadow * (u[:, 13] < 0.5)[:, None, None])
    # The rim stays within the colour: a shade darker, for black a shade lighter.
    rim = np.where(paint.max(1)[:, None] < 60, paint + 28, paint * 7 // 8)
    image = raster.over(image, rim[:, None, None], ink)
    inner = 255 - raster.fatten(255 - ink)
    image = raster.over(image, paint[:, None, None], inner)
    tooth = (raster.grain([mix(s, 1) for s in seeds]) - 128) // 18
    return raster.finish(image + tooth[..., None])


def _ground(paint: Ints, u: Floats) -> Ints:
    """A ramp between two pale or dim tints (n, 32, 32, 3), well apart from the paint in brightness."""
    brightness = (paint @ np.array([5, 9, 2])) / (16 * 255)
    low, high = brightness - _APART, brightness + _APART
    # Where there is room on both sides, either; the share of it that u picks keeps clear of the ends.
    dim = np.where(low < 0.08, False, np.where(high > 0.92, True, u[:, 8] < 0.5))
    tone = np.where(dim, 0.06 + (low - 0.06).clip(0) * u[:, 9], high + (0.95 - high).clip(0) * u[:, 9]).clip(0.05, 0.96)
    tint = raster.colour(u[:, 10], 0.25 * u[:, 11], np.ones(len(u)))
    first = raster.toned(tint, tone)
    second = raster.toned(tint, np.where(dim, tone * 0.7, tone + (1 - tone) * 0.4))
    ramp = np.arange(raster.SIDE, dtype=np.int64) * 255 // (raster.SIDE - 1)
    weight = np.where((u[:, 12] < 0.5)[:, None, None], ramp[:, None], ramp)
    return raster.over(first[:, None, None], second[:, None, None], weight)


def load_coloured() -> EmbeddedData:
    """Make the data set `shapes-colour`: 168 classes, 16 images each to train and 10 to test."""
    per_class = TRAIN + TEST
    labels = np.repeat(np.arange(len(NAMES), dtype=np.int64), per_class)
    words = [NAMES[c].split(" ", 1) for c in labels.tolist()]
    seeds = [mix(_SEED, c, i) for i, c in enumerate(labels.tolist())]
    # Test images are spread evenly over a class.
    test = [(i % per_class + 1) * TEST // per_class > i % per_class * TEST // per_class for i in range(len(labels))]
    return EmbeddedData(
        name="shapes-colour",
        class_names=NAMES,
        pixels=lambda: draw_many([w[0] for w in words], [w[1] for w in words], seeds),
        labels=labels,
        split=tuple("test" if flag else "train" for flag in test),
        templates=TEMPLATES,
        description="Twelve colours times fourteen shapes as paper cut-outs; size, place and background vary.",
        source="Drawn by clipwright.assets.datasets.coloured",
        licence="Apache-2.0",
    )
