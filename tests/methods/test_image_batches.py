"""Images as batches of pixels: seeded by row, decoded once as far as memory allows."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clipwright.core.errors import NeedsError
from clipwright.methods.example import ExampleTower
from clipwright.methods.image_batches import ImageBatches
from clipwright.task import Features

RECIPE = "crop(0.9,1)"


class Photos:
    """Counts how often each image is decoded."""

    def __init__(self, n: int) -> None:
        self.pixels = np.random.default_rng(0).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
        self.decoded = [0] * n

    def __call__(self, row: int) -> Any:
        self.decoded[row] += 1
        return Image.fromarray(self.pixels[row])


def rows(photos: Photos) -> Features:
    n = len(photos.pixels)
    return Features(torch.randn(n, 4), ids=tuple(f"i{i}" for i in range(n)), source=photos)


def test_clean_views_are_the_towers() -> None:
    photos = Photos(5)
    with ImageBatches(rows(photos), ExampleTower(4), seed=0) as images:
        found = images(torch.tensor([3, 1, 3]))
    assert found.shape == (3, 3, 8, 8)
    assert torch.equal(found[0], torch.from_numpy(photos.pixels[3].transpose(2, 0, 1)))
    assert torch.equal(found[0], found[2])


def test_a_view_depends_on_seed_epoch_and_identifier_alone() -> None:
    photos = Photos(6)
    given = rows(photos)
    all_rows = torch.arange(6)

    def views(features: Features, index: torch.Tensor, seed: int = 1, epoch: int = 2) -> torch.Tensor:
        with ImageBatches(features, ExampleTower(4), seed=seed) as images:
            return images(index, epoch=epoch, recipe=RECIPE)

    whole = views(given, all_rows)
    assert torch.equal(views(given, torch.tensor([4, 0])), whole[[4, 0]])
    assert torch.equal(views(given[[5, 2]], torch.tensor([1])), whole[[2]])
    assert not torch.equal(views(given, all_rows, epoch=3), whole)
    assert not torch.equal(views(given, all_rows, seed=2), whole)


def test_images_are_decoded_once_where_there_is_room() -> None:
    photos = Photos(4)
    with ImageBatches(rows(photos), ExampleTower(4), seed=0, kept=2 * 8 * 8 * 3) as images:
        images(torch.tensor([0, 1]))
        for _ in range(3):
            images(torch.tensor([0, 1, 2, 3]))
    assert photos.decoded == [1, 1, 3, 3]


def test_rows_without_images_are_refused() -> None:
    given = dataclasses.replace(rows(Photos(2)), source=None)
    with pytest.raises(NeedsError, match="images themselves"):
        ImageBatches(given, ExampleTower(4), seed=0)


def test_what_cannot_be_read_is_told() -> None:
    def broken(row: int) -> Any:
        raise NeedsError(f"row {row} is gone: look.")

    given = Features(torch.randn(2, 4), source=broken)
    with ImageBatches(given, ExampleTower(4), seed=0) as images, pytest.raises(NeedsError, match="row 1 is gone"):
        images(torch.tensor([1]))
