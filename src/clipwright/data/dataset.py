"""A data set: a manifest of rows, a way to read their images (or features in their place), and class names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from clipwright.core.errors import DataError, UsageError
from clipwright.core.hashing import digest_json

if TYPE_CHECKING:  # reading images in worker processes must not wait for torch
    from clipwright.task import Features, TextFeatures

Split = Literal["", "train", "val", "test", "generated"]
SPLITS: tuple[Split, ...] = ("", "train", "val", "test", "generated")
Subset = Literal["base", "new"]
SUBSETS: tuple[Subset, ...] = ("base", "new")
_WIDTH = f"<U{max(map(len, SPLITS))}"

SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # unique, stable: path relative to the root with "/" between parts, or a number
        ("source", pa.string()),  # what the reader reads
        ("label", pa.int32()),  # index into class_names, -1 = unlabeled
        ("split", pa.dictionary(pa.int8(), pa.string())),  # "" = not said, "generated" = made by a model, not real
        ("size", pa.int64()),  # bytes on disk, 0 where there is no file
        ("mtime_ns", pa.int64()),
    ]
)


class UnreadableImageError(DataError):
    """One image that can't be decoded: it is skipped, counted and listed, not fatal.

    Its message is the reason alone, without path or full stop, because it is listed beside the path.
    """


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
        prompt_names: C names that prompts say in place of `class_names`, where those were told apart; may repeat.
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
    prompt_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def labels(self) -> np.ndarray:
        """(n,) int64 class indices, -1 = unlabeled."""
        return numbers(self.table["label"], "<i4").astype(np.int64)

    @cached_property
    def splits(self) -> np.ndarray:
        """(n,) split of each row: ``""``, ``"train"``, ``"val"``, ``"test"`` or ``"generated"``."""
        chunks = self.table["split"].chunks
        parts = [np.array(c.dictionary.to_pylist(), _WIDTH)[numbers(c.indices, "i1")] for c in chunks]
        return np.concatenate([np.empty(0, dtype=_WIDTH), *parts])

    @cached_property
    def is_generated(self) -> np.ndarray:
        """(n,) bool, which images a text-to-image model made."""
        return np.asarray(self.splits == "generated")

    @cached_property
    def is_training(self) -> np.ndarray:
        """(n,) bool, which rows shots are drawn from: those of no split or of ``train``; all where none is real."""
        made = self.is_generated
        return made if len(made) and made.all() else np.isin(self.splits, ("train", ""))

    @property
    def ids(self) -> list[str]:
        """n unique row identifiers."""
        return list(self.table["id"].to_pylist())

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what the manifest says of the rows' contents: id, size and time of change, and the root."""
        sha = hashlib.sha256(digest_json({"name": self.name, "root": str(self.root), "rows": len(self)}).encode())
        ids = self.table["id"]
        for values in (pc.binary_length(ids), self.table["size"], self.table["mtime_ns"]):
            sha.update(numbers(values.cast(pa.int64()), "<i8").tobytes())
        for batch in self.table.select(["id"]).to_batches(max_chunksize=1 << 14):
            sha.update("".join(batch.column(0).to_pylist()).encode())
        return sha.hexdigest()

    @property
    def is_labelled(self) -> np.ndarray:
        """(n,) bool, which rows have a label."""
        return np.asarray(self.labels >= 0)

    def rows(self, *splits: Split) -> np.ndarray:
        """Row numbers of these splits, ascending; all rows without arguments."""
        if not splits:
            return np.arange(len(self))
        return np.flatnonzero(np.isin(self.splits, list(splits)))

    def counts(self, *splits: Split) -> np.ndarray:
        """(C,) labelled rows of each class within these splits; within all rows without arguments."""
        labels = self.labels[self.rows(*splits)]
        return np.bincount(labels[labels >= 0], minlength=len(self.class_names))

    def has_split(self, split: Split) -> bool:
        """Whether any row belongs to `split`."""
        return bool((self.splits == split).any())

    def take(self, rows: Sequence[int] | np.ndarray) -> Dataset:
        """The data set of these rows, in this order; class names stay."""
        index = np.asarray(rows, dtype=np.int64)
        bundle = self.bundle
        if bundle is not None:
            bundle = replace(bundle, features=bundle.features[index])
        return replace(self, table=self.table.take(column(index, pa.int64())), bundle=bundle)

    def class_subset(self, part: Subset) -> Dataset:
        """The rows of the first or the second half of the classes, relabelled from 0; unlabeled rows stay.

        ``base`` is the first half, one more where their number is odd, ``new`` the rest: the two halves of CoOp's
        base-to-new protocol (Zhou et al., Conditional Prompt Learning for Vision-Language Models, CVPR 2022).

        Raises:
            UsageError: no such part.
            DataError: there are fewer than two classes.
        """
        if part not in SUBSETS:
            raise UsageError(f"the subset of the classes must be {' or '.join(SUBSETS)}; it is {part!r}.")
        count = len(self.class_names)
        if count < 2:
            raise DataError(f"{self.name} has a single class, which has no base and new half.")
        half = (count + 1) // 2
        start, stop = (0, half) if part == "base" else (half, count)
        labels = self.labels
        kept = np.flatnonzero((labels < 0) | ((labels >= start) & (labels < stop)))
        data = self.take(kept)
        data = data._with_labels(np.where(labels[kept] < 0, -1, labels[kept] - start))
        bundle = data.bundle
        if bundle is not None and bundle.text is not None:
            bundle = replace(bundle, text=bundle.text.of_classes(range(start, stop)))
        return replace(
            data,
            class_names=self.class_names[start:stop],
            prompt_names=self.prompt_names[start:stop],
            bundle=bundle,
            notes=(*data.notes, f"These are the {part} classes: {stop - start} of {count}."),
        )

    def with_notes(self, *notes: str) -> Dataset:
        """The same data set with more to tell the user."""
        return replace(self, notes=(*self.notes, *notes))

    def without_labels(self) -> Dataset:
        """The same rows, all unlabeled."""
        return self._with_labels(np.full(len(self), -1, dtype=np.int64))

    def _with_labels(self, labels: np.ndarray) -> Dataset:
        place = self.table.schema.get_field_index("label")
        table = self.table.set_column(place, "label", column(labels, pa.int32()))
        bundle = self.bundle
        if bundle is not None:
            import torch

            bundle = replace(bundle, features=replace(bundle.features, y=torch.from_numpy(labels)))
        return replace(self, table=table, bundle=bundle)

    def align(self, class_names: Sequence[str]) -> Dataset:
        """The same rows with labels that index `class_names`, matched by name: for judging a classifier on other data.

        Underscores, case, dashes and Unicode form of the names don't matter. Texts of a bundle are dropped.

        Raises:
            DataError: a class of this data set that has labelled rows is not among `class_names`.
        """
        from clipwright.core.spelling import match_key
        from clipwright.data.names import quoted

        target = {match_key(name): i for i, name in enumerate(class_names)}
        new = np.array([target.get(match_key(name), -1) for name in self.class_names] + [-1], dtype=np.int64)
        lost = [self.class_names[c] for c in np.flatnonzero((new[:-1] < 0) & (self.counts() > 0))]
        if lost:
            raise DataError(
                f"{self.name} has images of {quoted(lost)}, which the classifier doesn't know: "
                f"its classes are {quoted(class_names, 5)}; map them with a class file (<folder> <class name>)."
            )
        data = self._with_labels(new[self.labels])  # -1 picks the last entry, which is -1
        bundle = data.bundle
        if bundle is not None:
            bundle = replace(bundle, text=None, prompts=None)
        return replace(data, class_names=tuple(class_names), prompt_names=(), bundle=bundle)


# Arrow's own conversions import pandas wherever that is installed, which takes longer than many a scan.


def column(values: np.ndarray, type_: pa.DataType) -> pa.Array:
    """(n,) whole numbers as an Arrow column of an integer type."""
    packed = np.ascontiguousarray(values, dtype=f"i{type_.bit_width // 8}")
    return pa.Array.from_buffers(type_, len(packed), [None, pa.py_buffer(packed)])


def numbers(values: pa.Array | pa.ChunkedArray, dtype: str) -> np.ndarray:
    """(n,) an Arrow column without nulls, as numbers of the width it has."""
    chunks = values.chunks if isinstance(values, pa.ChunkedArray) else [values]
    width = np.dtype(dtype).itemsize
    parts = [np.frombuffer(c.buffers()[1], dtype, len(c), c.offset * width) for c in chunks if len(c)]
    return np.concatenate([np.empty(0, dtype), *parts])


def strings(texts: Sequence[str]) -> pa.Array:
    """An Arrow column of texts."""
    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    if ends[-1] > np.iinfo(np.int32).max:
        return pa.array(texts, pa.string())
    return pa.StringArray.from_buffers(
        len(encoded), pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(b"".join(encoded))
    )


def split_array(splits: Sequence[Split] | np.ndarray) -> pa.DictionaryArray:
    """The split column of a manifest, from names or from int8 indices into `SPLITS`."""
    if not isinstance(splits, np.ndarray):
        splits = np.array([SPLITS.index(split) for split in splits], dtype=np.int8)
    return pa.DictionaryArray.from_arrays(column(splits, pa.int8()), strings(SPLITS))


def manifest(
    ids: pa.Array | pa.ChunkedArray | Sequence[str],
    labels: np.ndarray,
    splits: pa.DictionaryArray | None = None,
    *,
    sources: Sequence[str] | None = None,
    sizes: np.ndarray | None = None,
    mtimes: np.ndarray | None = None,
) -> pa.Table:
    """Make a table of `SCHEMA`; sources are the ids unless given, missing numbers are 0, missing splits ``""``."""
    ids = ids if isinstance(ids, pa.Array | pa.ChunkedArray) else strings(ids)
    zeros = np.zeros(len(ids), dtype=np.int64)
    if splits is None:
        splits = split_array(zeros.astype(np.int8))
    columns = [
        ids,
        ids if sources is None else strings(sources),
        column(labels, pa.int32()),
        splits,
        column(zeros if sizes is None else sizes, pa.int64()),
        column(zeros if mtimes is None else mtimes, pa.int64()),
    ]
    return pa.table(columns, schema=SCHEMA)
