"""A data set: a manifest of rows, a way to read their images (or features in their place), and class names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import pyarrow as pa
from PIL import Image

from clipwright.core.errors import DataError
from clipwright.core.hashing import digest_json
from clipwright.task import Features, TextFeatures

Split = Literal["", "train", "val", "test"]
SPLITS: tuple[Split, ...] = ("", "train", "val", "test")

SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # unique, stable: path relative to the root with "/" between parts, or a number
        ("source", pa.string()),  # what the reader reads
        ("label", pa.int32()),  # index into class_names, -1 = unlabeled
        ("split", pa.dictionary(pa.int8(), pa.string())),  # "" = not said
        ("size", pa.int64()),  # bytes on disk, 0 where there is no file
        ("mtime_ns", pa.int64()),
    ]
)


class UnreadableImageError(DataError):
    """One image that can't be decoded: it is skipped, counted and listed, not fatal."""


@dataclass(frozen=True)
class DecodedImage:
    """An image in RGB, upright, and the SHA-256 (hex) of the bytes it was decoded from."""

    image: Image.Image
    content: str


class ImageReader(Protocol):
    """Reads images by source; must survive being sent to a worker process."""

    def read(self, source: str) -> DecodedImage:
        """Decode one image.

        Raises:
            UnreadableImageError: corrupt, truncated, missing, or larger than the pixel limit.
        """


@dataclass(frozen=True, eq=False)
class Bundle:
    """Features in place of images, row by row those of the manifest.

    Attributes:
        features: (n, ...) image features.
        text: text features of the classes, or None.
        prompts: the P prompts of a (P, C, D) text array, or None.
        logit_scale: what multiplies cosines.
        projection: (D', D), or None.
    """

    features: Features
    text: TextFeatures | None = None
    prompts: tuple[str, ...] | None = None
    logit_scale: float = 100.0
    projection: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows of `SCHEMA`, class names, and images or a bundle.

    Attributes:
        name: what reports call it.
        class_names: C names; labels index them.
        table: the manifest.
        reader: reads images, or None for a bundle.
        bundle: features in place of images, or None.
        templates: prompt templates that the data set brings, each with one ``{}``; may be empty.
        root: the folder or file it was opened from, or None for embedded data.
        notes: what the user should know, one sentence each.
    """

    name: str
    class_names: tuple[str, ...]
    table: pa.Table
    reader: ImageReader | None = None
    bundle: Bundle | None = None
    templates: tuple[str, ...] = ()
    root: Path | None = None
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def labels(self) -> np.ndarray:
        """(n,) int64 class indices, -1 = unlabeled."""
        return np.asarray(self.table["label"].to_numpy(), dtype=np.int64)

    @cached_property
    def splits(self) -> np.ndarray:
        """(n,) split of each row: ``""``, ``"train"``, ``"val"`` or ``"test"``."""
        return np.asarray(self.table["split"].cast(pa.string()).to_numpy(zero_copy_only=False), dtype="<U5")

    @property
    def ids(self) -> list[str]:
        """n unique row identifiers."""
        return list(self.table["id"].to_pylist())

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what the manifest says of the rows' contents: id, size and time of change, and the root."""
        columns = {c: self.table[c].to_pylist() for c in ("id", "size", "mtime_ns")}
        return digest_json({"name": self.name, "root": str(self.root), **columns})

    def has_split(self, split: Split) -> bool:
        """Whether any row belongs to `split`."""
        return bool((self.splits == split).any())

    def take(self, rows: Sequence[int] | np.ndarray) -> Dataset:
        """The data set of these rows, in this order; class names stay."""
        index = np.asarray(rows, dtype=np.int64)
        bundle = self.bundle
        if bundle is not None:
            bundle = replace(bundle, features=bundle.features[index])
        return replace(self, table=self.table.take(pa.array(index)), bundle=bundle)
