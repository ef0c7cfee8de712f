"""What an embedded data set is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class EmbeddedData:
    """Images with labels, split, and provenance.

    Attributes:
        name: As in `clipwright.assets.datasets.names()`.
        class_names: C names; a label is an index into them.
        pixels: (n, 32, 32, 3) uint8 RGB, or what makes them: called when `images` is first asked for, so that all else
            there is to know about the data costs nothing.
        labels: (n,) int64 in [0, C), read-only.
        split: n words, "train" or "test".
        templates: Prompt templates with one `{}` for the class name, the plainest first.
        description: What the images show, and how they were made.
        source: Where they come from.
        licence: Under which terms.
        side: Pixels per side of an image.
    """

    name: str
    class_names: tuple[str, ...]
    pixels: NDArray[np.uint8] | Callable[[], NDArray[np.uint8]]
    labels: NDArray[np.int64]
    split: tuple[str, ...]
    templates: tuple[str, ...]
    description: str
    source: str
    licence: str
    side: int = 32

    def __post_init__(self) -> None:
        self.labels.setflags(write=False)

    @cached_property
    def images(self) -> NDArray[np.uint8]:
        """(n, 32, 32, 3) uint8 RGB, read-only."""
        images = self.pixels() if callable(self.pixels) else self.pixels
        images.setflags(write=False)
        return images

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of one part.

        Args:
            split: "train" or "test".

        Returns:
            (m,) int64, ascending.
        """
        return np.flatnonzero(np.array(self.split) == split)
