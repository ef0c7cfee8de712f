"""The geometry of LatteCLIP's collage, and views."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from clipwright.core.errors import UsageError
from clipwright.synthetic.collage import CANVAS, View, cells, collage, squash


def plain(width: int, height: int, value: int = 255) -> Image.Image:
    return Image.new("RGB", (width, height), (value, value, value))


def boxes(canvas: Image.Image) -> np.ndarray:
    return np.asarray(canvas)[..., 0] > 0


def test_four_cells_of_326_pixels_with_a_gap_of_20() -> None:
    assert cells(4) == [(0, 0, 326), (346, 0, 326), (0, 346, 326), (346, 346, 326)]
    assert cells(1) == [(0, 0, 326)]
    assert [side for _, _, side in cells(5)] == [210] * 5  # three a side: (672 - 2 x 20) // 3
    assert cells(9)[-1] == (460, 460, 210)
    lit = boxes(collage([plain(10, 10)] * 4))
    assert lit.shape == (CANVAS, CANVAS)
    gap = slice(326, 346)
    assert not lit[gap].any()
    assert not lit[:, gap].any()
    assert lit.sum() == 4 * 326**2


@pytest.mark.parametrize(
    ("size", "left", "top", "width", "height"),
    [
        ((100, 50), 0, 81, 326, 163),  # truncated to whole pixels, centred
        ((50, 100), 81, 0, 163, 326),
        ((1000, 3), 0, 162, 326, 1),  # never thinner than a pixel
        ((7, 5), 0, 47, 326, 232),
        ((49, 49), 0, 0, 326, 326),
    ],
)
def test_an_image_keeps_its_shape_and_is_centred(
    size: tuple[int, int], left: int, top: int, width: int, height: int
) -> None:
    lit = boxes(collage([plain(*size)]))
    rows, columns = np.flatnonzero(lit.any(1)), np.flatnonzero(lit.any(0))
    assert (columns[0], rows[0]) == (left, top)
    assert (len(columns), len(rows)) == (width, height)


def test_cells_are_filled_row_by_row() -> None:
    pixels = np.asarray(collage([plain(4, 4, value) for value in (10, 20, 30, 40)]))[..., 0]
    assert [pixels[y, x] for y in (160, 500) for x in (160, 500)] == [10, 20, 30, 40]
    three = np.asarray(collage([plain(4, 4, value) for value in (10, 20, 30)]))[..., 0]
    assert three[500, 500] == 0


def test_no_image_and_too_many_are_refused() -> None:
    with pytest.raises(UsageError, match="at least one"):
        collage([])
    with pytest.raises(UsageError, match="take fewer"):
        cells(40_000)


def test_views() -> None:
    wide = plain(300, 60)
    assert View("thumbnail", 28).show([wide]).size == (28, 28)
    assert View("anyres", 100).show([wide]).size == (100, 20)
    assert View("anyres", 1000).show([wide]).size == (300, 60)
    assert View().show([wide] * 4).size == (336, 336)
    assert View("anyres", 1008).show([wide] * 4).size == (672, 672)
    assert wide.size == (300, 60)
    assert squash(wide, 28).tobytes() == wide.resize((28, 28), Image.Resampling.BICUBIC).tobytes()
    with pytest.raises(UsageError, match="thumbnail or anyres"):
        View("squint")  # type: ignore[arg-type] # what a user may type
