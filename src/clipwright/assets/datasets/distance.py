"""How far each place is from a shape's edge: what lines along the edge, hatching and dots are drawn by."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from clipwright.assets.datasets import raster
from clipwright.assets.datasets.raster import Floats, Ints
from clipwright.assets.renderer import outlines

UNIT = 16
"""Distances are counted in 1/16 pixel."""

FORMS = 6
_CELLS, _INK = 64, 0.7


def _squared(inside: NDArray[np.bool_]) -> Ints:
    """Squared distance in cells from each cell to the nearest one inside (exact: first columns, then rows)."""
    steps = np.arange(len(inside), dtype=np.int64)
    gaps = (steps[:, None] - steps) ** 2
    far = 4 * len(inside) ** 2
    column = (gaps[:, :, None] + np.where(inside, 0, far)[None]).min(1)
    return np.asarray((gaps[None] + column[:, None, :]).min(2))


@cache
def _planes(name: str) -> Ints:
    """(FORMS, 64, 64) distance in 1/16 cell to a shape's edge, negative inside."""
    x, y = outlines.grid(_CELLS, 1)
    planes = []
    for i in range(FORMS):
        inside = outlines.inside(name, x / _INK, y / _INK, (i + 0.5) / FORMS)
        # The edge lies half a cell before the first cell on the other side.
        out, within = (np.round(UNIT * np.sqrt(_squared(side))).astype(np.int64) for side in (inside, ~inside))
        planes.append(np.where(inside, UNIT // 2 - within, out - UNIT // 2))
    return np.array(planes)


def distance(
    names: list[str],
    form: Floats,
    *,
    size: Floats,
    angle: Floats,
    x: Floats,
    y: Floats,
    warp: tuple[Ints, Ints] | None = None,
) -> Ints:
    """Distance of every pixel to the edge of a shape.

    Args:
        names: n shapes of `outlines.SHAPES`.
        form: (n,) in [0, 1), their proportions.
        size: (n,) as `raster.place` has it, and so the others.
        angle: (n,) radians.
        x: (n,) place of the middle.
        y: (n,) place of the middle.
        warp: Displacements of the pixels.

    Returns:
        (n, 32, 32) in 1/16 pixel, negative inside.
    """
    planes = np.stack([_planes(name)[int(f * FORMS)] for name, f in zip(names, form.tolist(), strict=True)])
    cells = raster.place(planes, size=size, angle=angle, x=x, y=y, ink=_INK, warp=warp)
    pixel = np.round(1024 * size * raster.SIDE / (_CELLS * _INK)).astype(np.int64)
    return np.asarray(cells * pixel[:, None, None] >> 10)
