"""From a decoded image to uint8 pixels: the clean view and seeded augmented views."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Preprocess:
    """How a backbone wants its images; picklable, so that worker processes can apply it.

    Attributes:
        size: (height, width) of the pixels.
        mean: per channel, of pixels in [0, 1].
        std: per channel, of pixels in [0, 1].
        interpolation: Pillow's filter for resizing.
        mode: ``shortest`` resizes the shorter side and crops the centre, ``squash`` stretches,
            ``longest`` fits the longer side and pads with `fill`.
        fill: grey level of the padding, 0..255.
    """

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Literal["bicubic", "bilinear", "nearest", "lanczos"] = "bicubic"
    mode: Literal["shortest", "squash", "longest"] = "shortest"
    fill: int = 0

    def as_json(self) -> dict[str, Any]:
        """The fields, for digests and saved classifiers."""
        return asdict(self)

    def clean(self, image: Image.Image) -> np.ndarray:
        """(3, H, W) uint8 pixels of an RGB image, as the model's own test transform gives them."""
        raise NotImplementedError

    def view(self, image: Image.Image, recipe: str, rng: np.random.Generator) -> np.ndarray:
        """(3, H, W) uint8 pixels of one augmented view, such as recipe ``crop(0.5,1)+flip``."""
        raise NotImplementedError
