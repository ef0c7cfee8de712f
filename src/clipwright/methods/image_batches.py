"""Images of a task as batches of pixels for a tower: decoded once as far as memory allows, augmented by a seed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import numpy as np
import torch

from clipwright.core.errors import NeedsError
from clipwright.core.rng import generator
from clipwright.methods.base import SUPPLY
from clipwright.task import Features, Need, Tower

KEPT = 1 << 30
"""Bytes of decoded images that are kept; others are decoded each time."""

_THREADS = 4


class ImageBatches:
    """Pixels of rows that have images.

    What a view looks like depends on the seed, the epoch and the row's identifier alone, not on its batch.

    Args:
        rows: n rows with a `source`.
        tower: says what pixels it takes.
        seed: the task's seed.
        kept: bytes of decoded images that are kept.

    Raises:
        NeedsError: the rows have no images.
    """

    def __init__(self, rows: Features, tower: Tower, *, seed: int, kept: int = KEPT) -> None:
        if rows.source is None:
            raise NeedsError(f"this needs {SUPPLY[Need.IMAGES]}.")
        self._source, self._tower, self._seed, self._room = rows.source, tower, seed, kept
        self._names: tuple[Any, ...] = rows.ids or tuple(range(len(rows)))
        self._images: dict[int, Any] = {}
        self._threads: ThreadPoolExecutor | None = None

    def _image(self, row: int) -> Any:
        image = self._images.get(row)
        if image is None:
            image = self._source(row)
            size = image.width * image.height * 3
            if size <= self._room:
                self._room -= size
                self._images[row] = image
        return image

    def view(self, row: int, epoch: int, recipe: str | None) -> np.ndarray:
        """(3, H, W) uint8 pixels of one image: the clean view, or the one that a recipe gives in an epoch."""
        rng = None if recipe is None else generator(self._seed, "image view", epoch, self._names[row])
        return self._tower.pixels(self._image(row), recipe, rng)

    def __call__(self, rows: torch.Tensor, *, epoch: int = 0, recipe: str | None = None) -> torch.Tensor:
        """(b, 3, H, W) uint8 pixels of some rows.

        Args:
            rows: (b,) int64, b at least 1.
            epoch: another one gives other views.
            recipe: how views are made, as extraction has it; None = the clean view.

        Raises:
            DataError: an image can't be read any more.
        """
        if not len(rows):  # a process that has no share of a batch
            return torch.zeros(0, dtype=torch.uint8)
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="decode")
        views = list(self._threads.map(lambda row: self.view(row, epoch, recipe), rows.tolist()))
        return torch.from_numpy(np.stack(views))

    def close(self) -> None:
        """Stop the threads and forget the images."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
        self._threads = None
        self._images.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
