"""Fourteen shapes, drawn anew each time in a style of their own: paper cut-outs with a rim and a shadow.

Shares the outlines with the training renderer, but neither its colours, textures, backgrounds, warps nor its random
numbers. numpy alone, integers from the coverage on, so the bytes don't depend on an imaging library.
"""

from __future__ import annotations

import colorsys
import math

import numpy as np
from numpy.typing import NDArray

from clipwright.assets.datasets.embedded import EmbeddedData
from clipwright.assets.renderer import outlines
from clipwright.assets.renderer.counter import mix, uniform

PER_CLASS = 120
TEMPLATES = (
    "a photo of a {}.",
    "a {} shape.",
    "a picture of a {}.",
    "a drawing of a {}.",
    "a colored {}.",
)

_SEED = 0x5EED0005
_SIDE, _OVERSAMPLE = 32, 4
_FULL = _OVERSAMPLE**2
_STEPS = 256  # colours are interpolated in 1/256 steps


def _colour(hue: float, saturation: float, value: float) -> NDArray[np.int64]:
    return np.array([round(256 * c) for c in colorsys.hsv_to_rgb(hue % 1.0, saturation, value)], dtype=np.int64).clip(
        0, 255
    )


def _mask(name: str, u: NDArray[np.float64], *, grow: float = 1.0, shift: float = 0.0) -> NDArray[np.int64]:
    """Coverage (32, 32, 1) in [0, 16] of the shape, turned, scaled and moved as `u` says."""
    scale = (0.42 + 0.36 * float(u[0])) * grow
    angle = 0.5 * (float(u[1]) - 0.5)
    room = 0.94 - min(scale, 0.9)
    x, y = outlines.grid(_SIDE, _OVERSAMPLE)
    x, y = x - shift - room * (2 * float(u[2]) - 1), y - shift - room * (2 * float(u[3]) - 1)
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    covered = outlines.inside(name, cos * x + sin * y, cos * y - sin * x, float(u[4]))
    return outlines.coverage(covered, _OVERSAMPLE)[..., None]


def _over(
    below: NDArray[np.int64], above: NDArray[np.int64], weight: NDArray[np.int64], full: int
) -> NDArray[np.int64]:
    """Paint one colour over another; weight / full is the opacity."""
    return below + (above - below) * weight // full


def draw(name: str, seed: int) -> NDArray[np.uint8]:
    """Draw one image.

    Args:
        name: One of `outlines.SHAPES`.
        seed: Decides everything but the shape.

    Returns:
        (32, 32, 3) uint8.
    """
    u = uniform(seed, np.arange(32))
    dark = u[5] < 0.5  # dark object on light ground, or the reverse
    hue = float(u[6])
    ground_hue = hue + 0.25 + 0.5 * float(u[7])
    object_value = 0.35 + 0.3 * float(u[8]) if dark else 0.88 + 0.12 * float(u[8])
    ground_value = 0.86 + 0.14 * float(u[9]) if dark else 0.15 + 0.3 * float(u[9])
    paint = _colour(hue, 0.55 + 0.45 * float(u[10]), object_value)
    ground = _colour(ground_hue, 0.05 + 0.5 * float(u[11]), ground_value)
    second = _colour(ground_hue + 0.08, 0.05 + 0.5 * float(u[11]), ground_value * (0.72 + 0.28 * float(u[12])))

    ramp = np.arange(_SIDE, dtype=np.int64) * (_STEPS // _SIDE)
    slope = np.broadcast_to(ramp[:, None, None] if u[13] < 0.5 else ramp[None, :, None], (_SIDE, _SIDE, 1))
    image = _over(ground, second, slope, _STEPS)
    if u[14] < 0.5:
        image = _over(image, image * 5 // 8, _mask(name, u, shift=0.07), _FULL)
    rim = paint * 5 // 8 if u[15] < 0.5 else (paint + 255) // 2
    image = _over(image, rim, _mask(name, u), _FULL)
    image = _over(image, paint, _mask(name, u, grow=0.88), _FULL)
    grain = (uniform(mix(seed, 1), np.arange(_SIDE * _SIDE)) * 17).astype(np.int64).reshape(_SIDE, _SIDE, 1) - 8
    return (image + grain).clip(0, 255).astype(np.uint8)


def load_shapes() -> EmbeddedData:
    """Make the data set `shapes`: 14 classes, 60 images each to train and to test."""
    labels = np.repeat(np.arange(len(outlines.SHAPES), dtype=np.int64), PER_CLASS)
    return EmbeddedData(
        name="shapes",
        class_names=outlines.SHAPES,
        pixels=lambda: np.stack([draw(outlines.SHAPES[c], mix(_SEED, c, i)) for i, c in enumerate(labels.tolist())]),
        labels=labels,
        split=tuple("test" if i % 2 else "train" for i in range(len(labels))),
        templates=TEMPLATES,
        description="Fourteen shapes as paper cut-outs with a rim, some with a shadow; colour, size and place vary.",
        source="Drawn by clipwright.assets.datasets.shapes",
        licence="Apache-2.0",
    )
