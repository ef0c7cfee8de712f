"""The fourteen shapes in pencil: shaky double outlines, hatching on or behind them, toned paper."""

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
BEHIND = 0.8
"""Share of the hatchings that lie behind the shape instead of on it: the constant that turns the difficulty."""
SHAKE = 1.5
"""How far a line strays from the shape's edge, in pixels at most; more is harder, too."""

TEMPLATES = (
    "a photo of a {}.",
    "a sketch of a {}.",
    "a pencil drawing of a {}.",
    "a drawing of a {}.",
    "a {} drawn by hand.",
)

_SEED = 0x5EED0013
_STROKES = 2


def draw_many(names: list[str], seeds: list[int]) -> NDArray[np.uint8]:
    """Draw sketches.

    Args:
        names: n shapes of `outlines.SHAPES`.
        seeds: n seeds, which decide everything else.

    Returns:
        (n, 32, 32, 3) uint8.
    """
    u = raster.parameters(seeds, 32)
    size = 0.55 + 0.27 * u[:, 0]
    room = 0.9 - size
    x, y = room * (2 * u[:, 1] - 1), room * (2 * u[:, 2] - 1)
    angle = 0.4 * (u[:, 3] - 0.5)
    lead = np.zeros((len(u), SIDE, SIDE), dtype=np.int64)
    edge = lead
    for stroke in range(_STROKES):
        warp = (_shake(seeds, 2 * stroke), _shake(seeds, 2 * stroke + 1))
        edge = distance(names, u[:, 4], size=size, angle=angle + 0.06 * stroke, x=x, y=y, warp=warp)
        half = (8 + 5 * u[:, 5]).astype(np.int64)[:, None, None]  # of a line's width, in 1/16 pixel
        line = ((half - np.abs(edge)) * 255 // UNIT + 128).clip(0, 255)
        pressure = 130 + raster.clouds([mix(s, 20 + stroke) for s in seeds], 5) // 2
        lead = np.maximum(lead, line * pressure.clip(0, 255) // 255)
    side = np.where(u[:, 15] < BEHIND, -1, 1)[:, None, None]  # hatched behind the shape, or on it
    within = ((UNIT // 2 - edge * side) * 255 // UNIT).clip(0, 255)
    hatching = _hatching(seeds, u) * within // 255
    lead = np.maximum(lead, hatching * (60 + 140 * u[:, 6]).astype(np.int64)[:, None, None] // 255)
    tooth = raster.grain([mix(s, 30) for s in seeds])
    lead = lead * (150 + tooth * 105 // 255) // 255

    paper = raster.colour(0.06 + 0.1 * u[:, 7], 0.03 + 0.25 * u[:, 8], 0.72 + 0.26 * u[:, 9])
    pencil = raster.colour(0.55 + 0.2 * u[:, 10], 0.1 + 0.2 * u[:, 10], 0.16 + 0.16 * u[:, 11])
    ground = paper[:, None, None] - ((raster.clouds([mix(s, 31) for s in seeds], 9) + tooth) // 24)[..., None]
    return raster.finish(raster.over(ground, pencil[:, None, None], lead))


def _shake(seeds: list[int], key: int) -> Ints:
    """Displacement in 1/1024 pixel: slow along the line, with a faster tremor on top."""
    slow = raster.clouds([mix(s, 2 * key) for s in seeds], 4) - 128
    fast = raster.clouds([mix(s, 2 * key + 1) for s in seeds], 9) - 128
    return np.asarray((slow * 3 + fast) * round(SHAKE * 1024) // (4 * 128))


def _hatching(seeds: list[int], u: Floats) -> Ints:
    """Parallel strokes (n, 32, 32) in [0, 255]; a third of the sketches has none."""
    axis = np.arange(SIDE, dtype=np.int64) * 256
    turn = np.pi * u[:, 12]
    across = np.stack([np.cos(turn), np.sin(turn)])
    a, b = np.round(256 * across).astype(np.int64)[:, :, None, None]
    gap = (256 * (3.2 + 2.3 * u[:, 13])).astype(np.int64)[:, None, None]
    unsteady = raster.clouds([mix(s, 40) for s in seeds], 6) * 2
    height = (a * axis + b * axis[:, None]) // 256 + unsteady
    off = np.abs(height % gap - gap // 2)  # distance to the nearest stroke, in 1/256 pixel
    strokes = (255 - off * 255 // 230).clip(0, 255)
    return np.asarray(strokes * (u[:, 14] > 1 / 3)[:, None, None])


def load_sketch() -> EmbeddedData:
    """Make the data set `shapes-sketch`: 14 classes, 60 images each to train and to test."""
    labels = np.repeat(np.arange(len(outlines.SHAPES), dtype=np.int64), PER_CLASS)
    seeds = [mix(_SEED, c, i) for i, c in enumerate(labels.tolist())]
    return EmbeddedData(
        name="shapes-sketch",
        class_names=outlines.SHAPES,
        pixels=lambda: draw_many([outlines.SHAPES[c] for c in labels.tolist()], seeds),
        labels=labels,
        split=tuple("test" if i % 2 else "train" for i in range(len(labels))),
        templates=TEMPLATES,
        description="The classes of shapes in pencil: shaky double outlines, hatching on or behind them, toned paper.",
        source="Drawn by clipwright.assets.datasets.sketch",
        licence="Apache-2.0",
    )
