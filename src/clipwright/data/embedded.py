"""The data sets that come with the package."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from clipwright.core.errors import DataError
from clipwright.data.dataset import SPLITS, Dataset, DecodedImage, UnreadableImageError, manifest, split_array
from clipwright.data.names import ClassList, rename

if TYPE_CHECKING:
    from clipwright.assets.datasets import EmbeddedData


@dataclass(frozen=True)
class DatasetInfo:
    """An embedded data set, for listings.

    Attributes:
        name: what `open_data` takes.
        classes: how many there are.
        images: how many there are.
        train: how many of them are for training and development.
        test: how many are for testing.
        side: pixels per side of an image.
        bytes: size of all pixels.
        description: one line.
        source: where the images come from.
        licence: of the images.
    """

    name: str
    classes: int
    images: int
    train: int
    test: int
    side: int
    bytes: int
    description: str
    source: str
    licence: str


@dataclass(frozen=True)
class EmbeddedReader:
    """Reads images of an embedded data set by row number; each process loads the data once."""

    name: str

    def read(self, source: str) -> DecodedImage:
        """The image with this number, and the SHA-256 of its pixels.

        Raises:
            UnreadableImageError: no such number.
        """
        images = load_embedded(self.name).images
        try:
            pixels = np.ascontiguousarray(images[int(source)])
        except (ValueError, IndexError) as error:
            raise UnreadableImageError(f"the data set {self.name} has no image {source!r}") from error
        return DecodedImage(Image.fromarray(pixels), hashlib.sha256(pixels.tobytes()).hexdigest())


def load_embedded(name: str) -> EmbeddedData:
    """An embedded data set as it comes from its maker.

    Raises:
        DataError: there is no such data set.
    """
    from clipwright.assets.datasets import load

    return load(name)


def embedded_names() -> tuple[str, ...]:
    """Names of the embedded data sets."""
    from clipwright.assets.datasets import names

    return tuple(names())


def datasets() -> tuple[DatasetInfo, ...]:
    """What is embedded, in alphabetical order; nothing is drawn for it."""
    return tuple(_info(load_embedded(name)) for name in sorted(embedded_names()))


def _info(data: EmbeddedData) -> DatasetInfo:
    return DatasetInfo(
        name=data.name,
        classes=len(data.class_names),
        images=len(data.labels),
        train=len(data.rows("train")),
        test=len(data.rows("test")),
        side=data.side,
        bytes=len(data.labels) * data.side**2 * 3,
        description=data.description,
        source=data.source,
        licence=data.licence,
    )


def open_embedded(name: str, classes: ClassList | None = None, *, clean: bool = True) -> Dataset:
    """An embedded data set; rows are numbered from 0.

    Raises:
        DataError: no such name, or `classes` doesn't fit.
    """
    if name not in embedded_names():
        raise DataError(f"there is no embedded data set {name!r}: choose one of {', '.join(embedded_names())}.")
    data = load_embedded(name)
    images = np.ascontiguousarray(data.images)
    # In place of a time of change: a number that follows the content, so that another version has another digest.
    version = int.from_bytes(hashlib.sha256(images.tobytes()).digest()[:7], "big")
    width = len(str(len(images) - 1))
    splits = np.array([SPLITS.index(str(split)) for split in data.split], dtype=np.int8)
    table = manifest(
        [f"{i:0{width}d}" for i in range(len(images))],
        np.asarray(data.labels, dtype=np.int64),
        split_array(splits),
        sizes=np.full(len(images), images[0].nbytes, dtype=np.int64),
        mtimes=np.full(len(images), version, dtype=np.int64),
    )
    class_names = rename(tuple(data.class_names), classes, clean=clean)
    return Dataset(data.name, class_names, table, EmbeddedReader(name), templates=tuple(data.templates))
