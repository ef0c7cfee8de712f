"""What the drawing styles share: many small images at once, in integers, so that every machine makes equal bytes.

Numbers with a fraction appear only in parameters (a size, an angle), and are rounded to fixed point before they touch
a pixel. Images are int64 arrays (n, 32, 32, ...); ink and opacity go from 0 to 255, colours too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipwright.assets.renderer.counter import uniform

SIDE = 32
"""Pixels per side of an image."""

_OVER = 2  # samples per pixel and side
_ONE = 1024  # fixed point: a pixel
_CHUNK = 128  # images at a time, so that they stay in the cache

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def parameters(seeds: list[int], count: int) -> Floats:
    """Uniform numbers for each image.

    Args:
        seeds: One for each of n images.
        count: How many numbers an image needs.

    Returns:
        (n, count) in [0, 1); an image's depend on its seed alone.
    """
    counters = np.arange(count)
    return np.stack([uniform(seed, counters) for seed in seeds])


def grain(seeds: list[int], side: int = SIDE) -> Ints:
    """Independent noise in every cell.

    Args:
        seeds: One for each of n images.
        side: Cells per side.

    Returns:
        (n, side, side) in [0, 255].
    """
    return (parameters(seeds, side * side) * 256).astype(np.int64).reshape(-1, side, side)


def _steps(cells: int, side: int) -> tuple[Ints, Ints]:
    """For each of `side` pixels: the lattice point before it, and 1/256 steps past that."""
    place = np.arange(side, dtype=np.int64) * (cells - 1) * 256 // max(side - 1, 1)
    before = np.minimum(place >> 8, cells - 2)
    return before, place - before * 256


def smooth(lattice: Ints, side: int = SIDE) -> Ints:
    """Enlarge a coarse lattice by straight lines between its points.

    Args:
        lattice: (n, k, k) integers below 2**31 in size, k at least 2.
        side: Pixels per side of the result.

    Returns:
        (n, side, side).
    """
    before, part = _steps(lattice.shape[1], side)
    rows: Ints = lattice[:, before] * (256 - part)[:, None] + lattice[:, before + 1] * part[:, None]
    mixed: Ints = rows[:, :, before] * (256 - part) + rows[:, :, before + 1] * part
    return mixed >> 16


def clouds(seeds: list[int], cells: int) -> Ints:
    """Smooth noise.

    Args:
        seeds: One for each of n images.
        cells: Lattice points per side: more make smaller clouds.

    Returns:
        (n, 32, 32) in [0, 255].
    """
    return smooth(grain(seeds, cells))


def place(
    planes: NDArray[np.integer],
    *,
    size: Floats,
    angle: Floats,
    x: Floats,
    y: Floats,
    ink: float,
    wide: Floats | None = None,
    warp: tuple[Ints, Ints] | None = None,
) -> Ints:
    """Turn, scale and move one plane for each image, sampled at 2 x 2 points a pixel and linearly between its cells.

    Args:
        planes: (n, S, S) ink or distance, any integers below 2**15 in size; beyond the edge the edge goes on.
        size: (n,) the drawing's longer side as a share of the image's.
        angle: (n,) radians, clockwise.
        x: (n,) where the middle goes, in [-1, 1] from left to right.
        y: (n,) the same from top to bottom.
        ink: Share of S that the drawing fills.
        wide: (n,) how much wider than its planes a drawing is made; 1 when left out.
        warp: Two (n, 32, 32) arrays, displacements to the right and down in 1/1024 pixel.

    Returns:
        (n, 32, 32), the mean of each pixel's samples.
    """
    parts = [slice(i, i + _CHUNK) for i in range(0, len(planes), _CHUNK)]
    scale = planes.shape[1] * ink / (size * SIDE)  # cells per pixel
    narrow = np.ones(len(planes)) if wide is None else 1 / wide
    # From a pixel to a cell: turn back, then scale each axis.
    cos, sin = np.cos(angle) * scale * _ONE, np.sin(angle) * scale * _ONE
    turn = np.round(np.stack([cos * narrow, sin * narrow, -sin, cos])).astype(np.int32)
    middle = np.round((np.stack([x, y]) + 1) * (SIDE * _ONE / 2)).astype(np.int32)
    out = np.empty((len(planes), SIDE, SIDE), dtype=np.int64)
    for part in parts:
        moved = None if warp is None else (warp[0][part], warp[1][part])
        out[part] = _sample(planes[part], turn[:, part], middle[:, part], moved)
    return out


def _sample(
    planes: NDArray[np.integer],
    turn: NDArray[np.int32],
    middle: NDArray[np.int32],
    warp: tuple[Ints, Ints] | None,
) -> Ints:
    n, cells = len(planes), planes.shape[1]
    axis = (2 * np.arange(SIDE * _OVER, dtype=np.int32) + 1) * (_ONE // (2 * _OVER))
    dx = axis[None, None, :] - middle[0][:, None, None]
    dy = axis[None, :, None] - middle[1][:, None, None]
    if warp is not None:
        dx, dy = (
            d - w.astype(np.int32).repeat(_OVER, axis=1).repeat(_OVER, axis=2)
            for d, w in zip((dx, dy), warp, strict=True)
        )
    a, b, c, d = turn[:, :, None, None]
    half = np.int32(cells * _ONE // 2 - _ONE // 2)
    u, v = ((a * dx + b * dy) >> 10) + half, ((c * dx + d * dy) >> 10) + half
    i, j = v >> 10, u >> 10
    fv, fu = (v & (_ONE - 1)) >> 2, (u & (_ONE - 1)) >> 2
    flat = planes.astype(np.int32).ravel()
    first = (np.arange(n, dtype=np.int32) * cells * cells)[:, None, None]
    top, bottom = (first + row.clip(0, cells - 1) * cells for row in (i, i + 1))
    left, right = j.clip(0, cells - 1), (j + 1).clip(0, cells - 1)
    upper = flat[top + left] * (256 - fu) + flat[top + right] * fu
    lower = flat[bottom + left] * (256 - fu) + flat[bottom + right] * fu
    value = ((upper >> 4) * (256 - fv) + (lower >> 4) * fv) >> 12
    blocks = value.reshape(n, SIDE, _OVER, SIDE, _OVER)
    return np.asarray(blocks.sum(axis=(2, 4), dtype=np.int64) // _OVER**2)


def over(below: Ints, above: Ints, opacity: Ints) -> Ints:
    """Paint over an image.

    Args:
        below: (n, 32, 32, 3), or what broadcasts to it.
        above: The same.
        opacity: (n, 32, 32) in [0, 255].

    Returns:
        (n, 32, 32, 3).
    """
    return np.asarray(below + (above - below) * opacity[..., None] // 255)


def shift(ink: Ints, right: Ints, down: Ints) -> Ints:
    """Move each image by whole pixels, ground coming in.

    Args:
        ink: (n, 32, 32).
        right: (n,) pixels.
        down: (n,) pixels.

    Returns:
        (n, 32, 32).
    """
    axis = np.arange(SIDE)
    rows, columns = axis - down[:, None], axis - right[:, None]
    seen = ((rows >= 0) & (rows < SIDE))[:, :, None] & ((columns >= 0) & (columns < SIDE))[:, None, :]
    n = np.arange(len(ink))[:, None, None]
    moved = ink[n, rows.clip(0, SIDE - 1)[:, :, None], columns.clip(0, SIDE - 1)[:, None, :]]
    return np.asarray(moved * seen)


def _neighbours(ink: Ints, axis: int) -> tuple[Ints, Ints]:
    padded = np.pad(ink, [(1, 1) if k == axis else (0, 0) for k in range(ink.ndim)], mode="edge")
    first, last = [slice(None)] * ink.ndim, [slice(None)] * ink.ndim
    first[axis], last[axis] = slice(0, -2), slice(2, None)
    return padded[tuple(first)], padded[tuple(last)]


def fatten(ink: Ints) -> Ints:
    """Grow ink by one pixel to each of the four sides (a maximum over a cross)."""
    grown = ink
    for axis in (1, 2):
        before, after = _neighbours(ink, axis)
        grown = np.maximum(grown, np.maximum(before, after))
    return grown


def blur(image: Ints) -> Ints:
    """Blur by the weights 1, 2, 1 along both axes; works on ink and on colours."""
    for axis in (1, 2):
        before, after = _neighbours(image, axis)
        image = (before + 2 * image + after + 2) // 4
    return image


def colour(hue: Floats, saturation: Floats, value: Floats) -> Ints:
    """Colours from hue, saturation and value.

    Args:
        hue: (n,) any number; 1 is a full turn, 0 red.
        saturation: (n,) in [0, 1].
        value: (n,) in [0, 1].

    Returns:
        (n, 3) in [0, 255].
    """
    turned = (hue[:, None] + np.array([0.0, 2 / 3, 1 / 3])) % 1.0
    pure = np.clip(np.abs(turned * 6 - 3) - 1, 0, 1)
    rgb = value[:, None] * (1 - saturation[:, None] * (1 - pure))
    return np.asarray(np.round(255 * rgb).astype(np.int64))


def toned(rgb: Ints, brightness: Floats) -> Ints:
    """Make colours darker, or mix white into them, until they are as bright as asked.

    Args:
        rgb: (n, 3) in [0, 255].
        brightness: (n,) wanted, in [0, 1]; white is 1, pure green about 0.6, pure blue about 0.1.

    Returns:
        (n, 3).
    """
    want = np.round(255 * brightness).astype(np.int64)[:, None]
    have = (rgb @ np.array([5, 9, 2]))[:, None] // 16
    darker = rgb * want // np.maximum(have, 1)
    lighter = rgb + (255 - rgb) * (want - have) // np.maximum(255 - have, 1)
    return np.asarray(np.where(have > want, darker, lighter).clip(0, 255))


def finish(image: Ints) -> NDArray[np.uint8]:
    """Clip to pixels.

    Args:
        image: (n, 32, 32, 3).

    Returns:
        The same as uint8.
    """
    return image.clip(0, 255).astype(np.uint8)
