"""The 26 capitals as scans: dark ink on paper, a little turned and blurred, lit from one side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipwright.assets.datasets import glyphs, raster
from clipwright.assets.datasets.embedded import EmbeddedData
from clipwright.assets.datasets.raster import Ints
from clipwright.assets.renderer.counter import mix

PER_CLASS = 80
NAMES: tuple[str, ...] = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
TEMPLATES = (
    "a photo of the capital letter {}.",
    "the letter {}.",
    "an image of the capital letter {}.",
    "a scan of the letter {}.",
    "a picture of the letter {} on paper.",
)

TURN = 0.2
"""Largest angle in radians. More is harder; so is a smaller `SMALLEST`."""
SMALLEST = 0.48
"""Least size of a letter, as a share of the image."""

_SEED = 0x5EED0012


def draw_many(letters: list[int], seeds: list[int]) -> NDArray[np.uint8]:
    """Draw scans.

    Args:
        letters: n numbers in [0, 26).
        seeds: n seeds, which decide everything else.

    Returns:
        (n, 32, 32, 3) uint8.
    """
    u = raster.parameters(seeds, 32)
    options = np.stack([glyphs.variants(name) for name in NAMES])
    masks = options[np.array(letters), (u[:, 0] * options.shape[1]).astype(np.int64)]
    size = SMALLEST + (0.82 - SMALLEST) * u[:, 1]
    room = 0.9 - size
    warp = tuple((raster.clouds([mix(s, k) for s in seeds], 4) - 128) * 5 for k in (1, 2))
    ink = raster.place(
        masks,
        size=size,
        angle=TURN * (2 * u[:, 2] - 1),
        x=room * (2 * u[:, 3] - 1),
        y=room * (2 * u[:, 4] - 1),
        ink=glyphs.INK,
        warp=(warp[0], warp[1]),
    )
    soft = raster.blur(ink)
    ink = np.where(
        (u[:, 5] < 0.35)[:, None, None], ink, np.where((u[:, 5] < 0.8)[:, None, None], soft, raster.blur(soft))
    )
    worn = raster.clouds([mix(s, 3) for s in seeds], 12)  # where the ink didn't take
    ink = ink * (255 - (worn - 150).clip(0, 255) * (u[:, 6] * 3).astype(np.int64)[:, None, None]).clip(120, 255) // 255

    n = len(u)
    paper = raster.colour(0.08 + 0.08 * u[:, 7], 0.02 + 0.2 * u[:, 8], 0.86 + 0.14 * u[:, 9])
    blue = u[:, 10] < 0.35
    pigment = raster.colour(0.6 + 0.06 * u[:, 11], np.where(blue, 0.7, 0.15), 0.1 + np.where(blue, 0.4, 0.2) * u[:, 12])
    image = raster.over(paper[:, None, None], pigment[:, None, None], ink)
    light = 255 - _corners(u[:, 13:17]) * 75 // 255
    tooth = (raster.grain([mix(s, 4) for s in seeds]) - 128) // 14
    return raster.finish(image * light.reshape(n, 32, 32, 1) // 255 + tooth[..., None])


def _corners(u: NDArray[np.float64]) -> Ints:
    """Shade (n, 32, 32) in [0, 255] that changes smoothly between the four corners."""
    return raster.smooth((u * 256).astype(np.int64).reshape(-1, 2, 2))


def load_letters() -> EmbeddedData:
    """Make the data set `letters`: 26 classes, 40 images each to train and to test."""
    labels = np.repeat(np.arange(len(NAMES), dtype=np.int64), PER_CLASS)
    return EmbeddedData(
        name="letters",
        class_names=NAMES,
        pixels=lambda: draw_many(labels.tolist(), [mix(_SEED, c, i) for i, c in enumerate(labels.tolist())]),
        labels=labels,
        split=tuple("test" if i % 2 else "train" for i in range(len(labels))),
        templates=TEMPLATES,
        description="Capital letters as scans of ink on paper: eleven faces, turned a little, blurred, unevenly lit.",
        source="Drawn by clipwright.assets.datasets.letters from stored glyphs",
        licence=glyphs.LICENCE,
    )
