"""From sources to pixels; runs in worker processes, so nothing here may import torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clipwright.backbones.preprocess import Preprocess
from clipwright.core.rng import generator
from clipwright.data.dataset import ImageReader, UnreadableImageError


@dataclass(frozen=True, eq=False)
class Decoded:
    """Pixels of k images.

    Attributes:
        pixels: (r, 1 + V, 3, H, W) uint8 of the r readable ones, the clean view first.
        content: k SHA-256 (hex) of the bytes they were decoded from, None where unreadable.
        problems: k reasons, None where readable.
    """

    pixels: np.ndarray
    content: list[str | None]
    problems: list[str | None]


@dataclass(frozen=True)
class Decoder:
    """Decodes images and applies a backbone's preprocessing.

    Attributes:
        reader: reads images by source.
        preprocess: what the backbone wants.
        views: V, augmented views per image.
        recipe: how they are made.
        seed: what they are drawn from.
    """

    reader: ImageReader
    preprocess: Preprocess
    views: int = 0
    recipe: str = ""
    seed: int = 0

    def __call__(self, sources: Sequence[str]) -> Decoded:
        """Decode some images. A view depends on the image's bytes, its own number and the seed alone."""
        pixels: list[np.ndarray] = []
        content: list[str | None] = []
        problems: list[str | None] = []
        for source in sources:
            try:
                decoded = self.reader.read(source)
            except UnreadableImageError as error:
                content.append(None)
                problems.append(str(error) or "unreadable")
                continue
            views = [
                self.preprocess.view(decoded.image, self.recipe, generator(self.seed, "view", decoded.content, number))
                for number in range(self.views)
            ]
            pixels.append(np.stack([self.preprocess.clean(decoded.image), *views]))
            content.append(decoded.content)
            problems.append(None)
        empty = np.zeros((0, 1 + self.views, 3, *self.preprocess.size), dtype=np.uint8)
        return Decoded(np.stack(pixels) if pixels else empty, content, problems)
