"""From a decoded image to uint8 pixels: the clean view and seeded augmented views."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from clipwright.backbones.jitter import jitter
from clipwright.core.errors import UsageError

Interpolation = Literal["bicubic", "bilinear", "nearest", "lanczos"]
Mode = Literal["shortest", "squash", "longest"]

_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
}
_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_RECIPE = re.compile(rf"(?:crop\({_NUMBER},{_NUMBER}\))?(\+?jitter)?(\+?flip)?")
_ASPECT = (3 / 4, 4 / 3)  # range of width / height of a random crop, as torchvision has it
_TRIES = 10
_MOST_PIXELS = 1 << 26  # that an image is blown up to before the centre is cropped: 256 MiB, as Pillow holds them
_LONGEST = 64  # longer side, in shorter sides, of what is left of an image that would need more


@dataclass(frozen=True)
class Preprocess:
    """How a backbone wants its images; plain fields, so that worker processes can be sent it.

    Attributes:
        size: (height, width) of the pixels.
        mean: per channel, of pixels in [0, 1].
        std: per channel, of pixels in [0, 1].
        interpolation: Pillow's filter for resizing.
        mode: ``shortest`` resizes the shorter side and crops the centre, ``squash`` stretches,
            ``longest`` fits the longer side and pads with `fill`.
        fill: grey level of the padding, 0..255.
        resize_to: length that the shorter side is resized to before the crop; None means the size of the crop.
        centre: how the crop's corner is rounded where the margin is odd: torchvision (and so open_clip) rounds
            half to even, transformers rounds down.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation = "bicubic"
    mode: Mode = "shortest"
    fill: int = 0
    resize_to: int | None = None
    centre: Literal["round", "floor"] = "round"

    def as_json(self) -> dict[str, Any]:
        """The fields, for digests and saved classifiers."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Preprocess:
        """The inverse of `as_json`."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**fields)

    def clean(self, image: Image.Image) -> np.ndarray:
        """(3, H, W) uint8 pixels of an RGB image, as the model's own test transform gives them.

        Equal to the library's Pillow transform up to, but without, scaling to [0, 1] and normalising.
        """
        image = _rgb(image)
        height, width = self.size
        if self.mode == "squash":
            return _pixels(self._resize(image, width, height))
        if self.mode == "longest":
            scale = max(image.height / height, image.width / width)
            image = self._resize(image, max(1, round(image.width / scale)), max(1, round(image.height / scale)))
            return _pixels(self._crop(_pad(image, height, width, self.fill)))
        if math.prod(self._shortest(image)) > _MOST_PIXELS:
            image = _middle(image)
        return _pixels(self._crop(self._resize(image, *self._shortest(image))))

    def view(self, image: Image.Image, recipe: str, rng: np.random.Generator) -> np.ndarray:
        """(3, H, W) uint8 pixels of one augmented view.

        A crop covers a share of the image's area drawn from the recipe's range, with an aspect ratio between 3/4 and
        4/3, and is resized bicubically to `size`; ``jitter`` changes colours, see `clipwright.backbones.jitter`;
        ``flip`` mirrors half of the views. It is the distribution of torchvision's RandomResizedCrop, ColorJitter and
        RandomGrayscale, and RandomHorizontalFlip, drawn from `rng` alone.

        Args:
            image: an RGB image.
            recipe: such as ``crop(0.5,1)+flip``, ``crop(0.9,1)+jitter`` or ``flip``.
            rng: all randomness comes from here.

        Raises:
            UsageError: the recipe can't be read.
        """
        scale, recolour, flip = parse_recipe(recipe)
        image = _rgb(image)
        height, width = self.size
        if scale is None:
            pixels = self.clean(image)
        else:
            box = _random_box(image.width, image.height, scale, rng)
            pixels = _pixels(image.crop(box).resize((width, height), Image.Resampling.BICUBIC))
        if recolour:
            pixels = _pixels(jitter(Image.fromarray(pixels.transpose(1, 2, 0)), rng))
        if flip and rng.random() < 0.5:
            pixels = np.ascontiguousarray(pixels[:, :, ::-1])
        return pixels

    def _resize(self, image: Image.Image, width: int, height: int) -> Image.Image:
        if image.size == (width, height):
            return image
        return image.resize((width, height), _FILTERS[self.interpolation])

    def _shortest(self, image: Image.Image) -> tuple[int, int]:
        """(width, height) that the image is resized to before the crop."""
        height, width = self.size
        if self.resize_to is None and height != width:
            scale = min(image.height / height, image.width / width)
            return round(image.width / scale), round(image.height / scale)
        short = self.resize_to or height
        if image.width <= image.height:
            return short, int(short * image.height / image.width)
        return int(short * image.width / image.height), short

    def _crop(self, image: Image.Image) -> Image.Image:
        height, width = self.size
        if image.height < height or image.width < width:
            image = _pad(image, height, width, self.fill)
        nearest = round if self.centre == "round" else math.floor
        top, left = nearest((image.height - height) / 2), nearest((image.width - width) / 2)
        return image.crop((left, top, left + width, top + height))


class Recipe(NamedTuple):
    """How an augmented view is made.

    Attributes:
        crop: range of the crop's share of the area, or None without a crop.
        jitter: whether colours change.
        flip: whether half of the views are mirrored.
    """

    crop: tuple[float, float] | None
    jitter: bool
    flip: bool


@lru_cache(maxsize=64)
def parse_recipe(recipe: str) -> Recipe:
    """Read a view recipe.

    Raises:
        UsageError: the recipe can't be read.
    """
    match = _RECIPE.fullmatch(recipe.replace(" ", ""))
    if match and recipe.strip() and not match[0].startswith("+"):
        low, high, colours, flip = match.groups()
        parted = all(part is None or part.startswith("+") or match[0].startswith(part) for part in (colours, flip))
        if parted and (low is None or 0 < float(low) <= float(high) <= 1):
            crop = None if low is None else (float(low), float(high))
            return Recipe(crop, colours is not None, flip is not None)
    raise UsageError(
        f"the view recipe {recipe!r} can't be read: write crop(LOW,HIGH)+jitter+flip, or some of these, with "
        "0 < LOW <= HIGH <= 1, such as crop(0.5,1)+flip."
    )


def _rgb(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGB" else image.convert("RGB")


def _pixels(image: Image.Image) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(image, dtype=np.uint8).transpose(2, 0, 1))


def _pad(image: Image.Image, height: int, width: int, fill: int) -> Image.Image:
    """Pad the sides that are too short, the odd pixel right and below."""
    missing_x, missing_y = max(width - image.width, 0), max(height - image.height, 0)
    if not missing_x and not missing_y:
        return image
    padded = Image.new("RGB", (image.width + missing_x, image.height + missing_y), (fill,) * 3)
    padded.paste(image, (missing_x // 2, missing_y // 2))
    return padded


def _middle(image: Image.Image) -> Image.Image:
    """The middle of a strip: the crop drops the rest, and resizing that first would cost gigabytes."""
    most = _LONGEST * min(image.size)
    left, top = (max(0, (side - most) // 2) for side in image.size)  # as much on either side: the centre stays
    return image.crop((left, top, image.width - left, image.height - top)) if left or top else image


def _random_box(
    width: int, height: int, scale: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a random crop; after ten misfits the largest centred one of allowed aspect."""
    for _ in range(_TRIES):
        area = width * height * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(_ASPECT[0]), math.log(_ASPECT[1])))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            return left, top, left + w, top + h
    w, h = width, height
    if width / height < _ASPECT[0]:
        h = max(1, round(w / _ASPECT[0]))
    elif width / height > _ASPECT[1]:
        w = max(1, round(h * _ASPECT[1]))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h
