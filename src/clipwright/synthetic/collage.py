"""What a captioner is shown: one image, or several on one canvas, squashed to a thumbnail or left as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from clipwright.core.errors import UsageError

ViewName = Literal["thumbnail", "anyres"]
VIEWS: tuple[ViewName, ...] = ("thumbnail", "anyres")
CANVAS, GAP = 672, 20  # pixels
THUMBNAIL = 336  # pixels a side: what CLIP's ViT-L/14-336 inside LLaVA takes
LONGEST = 1008  # pixels: the longest side of LLaVA 1.6's tilings


@dataclass(frozen=True)
class View:
    """How images are shown.

    ``thumbnail`` squashes the whole picture to a square, whatever its shape: all that LatteCLIP's captioner saw of it,
    and about a fifth of the work. ``anyres`` keeps the shape and leaves the tiling to the model.

    Attributes:
        name: ``thumbnail`` or ``anyres``.
        side: pixels per side of the square, or of the longest side at most.

    Raises:
        UsageError: no such view, or no such size.
    """

    name: ViewName = "thumbnail"
    side: int = THUMBNAIL

    def __post_init__(self) -> None:
        if self.name not in VIEWS or self.side < 1:
            raise UsageError(f"the view must be {' or '.join(VIEWS)} of at least one pixel; it is {self.name!r}.")

    def show(self, images: Sequence[Image.Image]) -> Image.Image:
        """One image, or the collage of several, as this view has it; RGB."""
        picture = images[0] if len(images) == 1 else collage(images)
        picture = picture.convert("RGB")
        if self.name == "thumbnail":
            return squash(picture, self.side)
        if max(picture.size) > self.side:
            picture = picture.copy()
            picture.thumbnail((self.side, self.side), Image.Resampling.BICUBIC)
        return picture


def squash(image: Image.Image, side: int) -> Image.Image:
    """The whole image on a square of `side` pixels, bicubic, its aspect ratio given up."""
    size = (side, side)
    return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)


def cells(count: int) -> list[tuple[int, int, int]]:
    """(left, top, side) in pixels of the first `count` cells of the canvas, row by row.

    There are ``max(2, ceil(sqrt(count)))`` cells a side, `GAP` pixels apart; four images have cells of 326 pixels.
    """
    per_side = max(2, math.isqrt(count - 1) + 1)
    side = (CANVAS - GAP * (per_side - 1)) // per_side
    if side < 1:
        raise UsageError(f"{count} images don't fit on one canvas: take fewer.")
    step = side + GAP
    return [(column * step, row * step, side) for row, column in (divmod(i, per_side) for i in range(count))]


def collage(images: Sequence[Image.Image]) -> Image.Image:
    """Images on a black canvas of 672 pixels a side (LatteCLIP), each fitted into its cell and centred there.

    Raises:
        UsageError: there are none, or too many.
    """
    if not images:
        raise UsageError("a collage needs at least one image.")
    canvas = Image.new("RGB", (CANVAS, CANVAS))
    for image, (left, top, side) in zip(images, cells(len(images)), strict=True):
        width, height = (max(1, length * side // max(image.size)) for length in image.size)
        fitted = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        canvas.paste(fitted, (left + (side - width) // 2, top + (side - height) // 2))
    return canvas
