"""Generated images beside a data set's own: one data set, whose reader reads each from where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from clipwright.core.errors import DataError, UsageError
from clipwright.data.dataset import SPLITS, Dataset, DecodedImage, ImageReader, manifest, split_array
from clipwright.data.generated import FILE, is_generated, open_generated
from clipwright.data.images import FileReader
from clipwright.data.names import by_name, counted, quoted

PREFIX = "generated/"
"""What identifiers of generated images begin with."""


@dataclass(frozen=True)
class JoinedReader:
    """Reads images of two data sets.

    Attributes:
        own: reads the data's own images.
        made: reads the generated ones.
        prefix: what sources of generated images begin with, and no other does.
    """

    own: ImageReader
    made: ImageReader
    prefix: str

    def read(self, source: str) -> DecodedImage:
        """Decode one image.

        Raises:
            UnreadableImageError: corrupt, truncated, missing, or larger than the pixel limit.
        """
        reader, inner = self._part(source)
        return reader.read(inner)

    def content(self, source: str) -> str:
        """SHA-256 (hex) of an image's bytes, as `read` gives it, without decoding where that can be had.

        Raises:
            UnreadableImageError: it can't be read.
        """
        reader, inner = self._part(source)
        found = getattr(reader, "content", None)
        return reader.read(inner).content if found is None else str(found(inner))

    def _part(self, source: str) -> tuple[ImageReader, str]:
        if source.startswith(self.prefix):
            return self.made, source.removeprefix(self.prefix)
        return self.own, source


def read_folder(folder: str | Path, *, max_pixels: int | None = None) -> Dataset:
    """The images of a folder that ``clipwright generate`` wrote, for `join_generated`.

    Raises:
        DataError: the folder wasn't written by it, or holds no image yet.
        FormatError: it is damaged, or newer than this clipwright.
    """
    root = Path(folder).expanduser().absolute()
    if not is_generated(root):
        raise DataError(
            f"{root} was not written by 'clipwright generate' (it has no {FILE}): give the folder that was its --out."
        )
    reader = FileReader(root) if max_pixels is None else FileReader(root, max_pixels)
    return open_generated(root, None, reader=reader, name=root.name)


def join_generated(data: Dataset, generated: Dataset) -> Dataset:
    """Add generated images, of the split ``generated``, to a data set; its own name, classes and rows stay.

    Classes are matched by name. A class without generated images is told in a note, and so is one of the generated
    images' own that the data don't have.

    Args:
        data: images, labelled or not.
        generated: what `read_folder` or `open_data` gave for a folder that ``clipwright generate`` wrote.

    Raises:
        UsageError: `data` is a feature bundle, or holds generated images already.
        DataError: `generated` holds other images, or the classes don't match.
    """
    if data.bundle is not None:
        raise UsageError(
            f"{data.name} is a feature bundle, beside which images can't be put: give the images themselves, or a "
            "bundle whose rows of the split 'generated' are the features of the generated ones."
        )
    if bool(data.is_generated.any()):
        raise UsageError(f"{data.name} holds generated images already: give the real ones, or leave the others out.")
    if generated.bundle is not None or not bool(generated.is_generated.all()):
        raise DataError(f"{generated.name} holds other images than generated ones: give a folder that generate wrote.")
    kept, labels, notes = _matched(data, generated)
    part = generated.take(kept)
    assert data.reader is not None  # noqa: S101 - the two aren't bundles
    assert part.reader is not None  # noqa: S101
    prefix = _prefix(data)
    table = pa.concat_tables([data.table, _renamed(part, labels, prefix)])
    joined = Dataset(
        data.name,
        data.class_names,
        table,
        JoinedReader(data.reader, part.reader, prefix),
        templates=data.templates,
        root=data.root,
        notes=(*data.notes, *generated.notes, *notes),
        prompt_names=data.prompt_names,
    )
    counts = np.bincount(labels, minlength=len(data.class_names))
    without = [data.class_names[c] for c in np.flatnonzero(counts == 0)]
    told = [f"{counted(len(part), 'generated image')} of {generated.name} stand beside the data's own."]
    if without:
        classes = counted(len(without), "class has", "classes have")
        told.append(f"{classes} no generated image ({quoted(without, 5)}).")
    return joined.with_notes(*told)


def _matched(data: Dataset, generated: Dataset) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Which generated images are of a class of the data, the number of that class, and what to tell of the rest."""
    found = by_name(generated.class_names, data.class_names)
    unknown = [name for name in generated.class_names if name not in found]
    missing = [name for i, name in enumerate(data.class_names) if i not in set(found.values())]
    if unknown and missing:
        raise DataError(
            f"{counted(len(unknown), 'class', 'classes')} of {generated.name} ({quoted(unknown)}) can't be told among "
            f"those of {data.name}, where {quoted(missing)} {'has' if len(missing) == 1 else 'have'} no generated "
            "images: generate images of the data's own classes ('clipwright generate DATA')."
        )
    number = np.array([found.get(name, -1) for name in generated.class_names], dtype=np.int64)
    of_rows = np.where(generated.labels < 0, -1, number[generated.labels])
    kept = np.flatnonzero(of_rows >= 0)
    if not len(kept):
        raise DataError(f"{generated.name} holds no image of a class of {data.name}: generate images of its classes.")
    notes = []
    if unknown:
        left = counted(len(generated) - len(kept), "generated image")
        classes = counted(len(unknown), "class", "classes")
        notes.append(f"Left out {left} of {classes} that {data.name} doesn't have ({quoted(unknown)}).")
    return kept, of_rows[kept], notes


def _prefix(data: Dataset) -> str:
    """A prefix that no identifier or source of the data begins with."""
    prefix = PREFIX
    taken = [*data.ids, *_texts(data, "source")]
    while any(text.startswith(prefix) for text in taken):
        prefix = f"+{prefix}"
    return prefix


def _renamed(part: Dataset, labels: np.ndarray, prefix: str) -> pa.Table:
    sizes, mtimes = (np.array(part.table[name].to_pylist(), dtype=np.int64) for name in ("size", "mtime_ns"))
    return manifest(
        [prefix + name for name in part.ids],
        labels,
        split_array(np.full(len(part), SPLITS.index("generated"), dtype=np.int8)),
        sources=[prefix + source for source in _texts(part, "source")],
        sizes=sizes,
        mtimes=mtimes,
    )


def _texts(data: Dataset, name: str) -> Sequence[str]:
    return list(data.table[name].to_pylist())
