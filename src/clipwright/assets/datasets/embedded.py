"""What an embedded data set is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class EmbeddedData:
    """Images with labels, split, and provenance.

    Attributes:
        name: As in `clipwright.assets.datasets.names()`.
        class_names: C names; a label is an index into them.
        images: (n, 32, 32, 3) uint8 RGB, read-only.
        labels: (n,) int64 in [0, C), read-only.
        split: n words, "train" or "test".
        templates: Prompt templates with one `{}` for the class name, the plainest first.
        description: What the images show, and how they were made.
        source: Where they come from.
        licence: Under which terms.
    """

    name: str
    class_names: tuple[str, ...]
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    split: tuple[str, ...]
    templates: tuple[str, ...]
    description: str
    source: str
    licence: str

    def __post_init__(self) -> None:
        self.images.setflags(write=False)
        self.labels.setflags(write=False)

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of one part.

        Args:
            split: "train" or "test".

        Returns:
            (m,) int64, ascending.
        """
        return np.flatnonzero(np.array(self.split) == split)
