"""Images, labels and splits as a benchmark's own lists give them."""

from __future__ import annotations

import gzip
import json
import os
import posixpath
import stat
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from clipwright.core.errors import DataError
from clipwright.data.benchmarks.catalogue import Benchmark
from clipwright.data.benchmarks.edits import Edits
from clipwright.data.benchmarks.places import found_file, missing, read_text
from clipwright.data.dataset import Split, manifest, split_array

PARTS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class ListedRows:
    """What a list of images says, in its order: train, then val, then test.

    Attributes:
        paths: n paths, relative to the folder of images.
        labels: (n,) int64 classes.
        splits: n splits.
        class_names: C names as the list has them, edited, not cleaned.
    """

    paths: list[str]
    labels: np.ndarray
    splits: list[Split]
    class_names: tuple[str, ...]

    def table(self, benchmark: Benchmark, folder: Path) -> pa.Table:
        """The manifest, with each file looked up below `folder`.

        Raises:
            DataError: a file isn't there.
        """
        sizes, mtimes = np.zeros((2, len(self.paths)), dtype=np.int64)
        lost: list[str] = []
        start = str(folder)
        for i, path in enumerate(self.paths):
            try:
                status = os.stat(f"{start}/{path}")  # noqa: PTH116 - a Path for each row is slow
            except OSError:
                lost.append(path)
                continue
            if not stat.S_ISREG(status.st_mode):
                lost.append(path)
            sizes[i], mtimes[i] = status.st_size, status.st_mtime_ns
        if len(lost) == 1:
            raise missing(benchmark, folder / lost[0])
        if lost:
            raise DataError(
                f"{benchmark.described} lacks {len(lost):,} of {len(self.paths):,} images, such as {folder / lost[0]}: "
                "put them there, or give another --root."
            )
        return manifest(self.paths, self.labels, split_array(self.splits), sizes=sizes, mtimes=mtimes)


def read_split(path: Path, edits: Edits | None = None) -> ListedRows:
    """Read a split file of CoOp's format: ``{"train": [[path, label, class name], ...], "val": ..., "test": ...}``.

    Args:
        path: a ``.json`` file, or ``.json.gz``.
        edits: what to make of the class names; they stay as they are when left out.

    Raises:
        DataError: unreadable, no such format, or rows that contradict each other.
    """
    found = _json(path)
    names: dict[int, str] = {}
    rows: list[tuple[str, int, Split]] = []
    for part in PARTS:
        for image, label, name in _entries(found, part, path):
            edited = name if edits is None else edits(name)
            if edited is None:
                continue
            if names.setdefault(label, edited) != edited:
                raise DataError(
                    f"{path} calls the class {label} both {names[label]!r} and {edited!r}: download it again."
                )
            rows.append((_inside(image, path), label, part))
    return _listed(rows, names, path)


def read_variants(benchmark: Benchmark, folder: Path) -> ListedRows:
    """Read FGVC-Aircraft's lists: ``variants.txt`` and ``images_variant_{train,val,test}.txt``.

    Raises:
        DataError: a list is missing, or names a variant that ``variants.txt`` lacks.
    """
    place = found_file(benchmark, folder, ("variants.txt",))
    names = [line.strip() for line in read_text(place).splitlines() if line.strip()]
    index = {name: i for i, name in enumerate(names)}
    rows: list[tuple[str, int, Split]] = []
    for part in PARTS:
        path = found_file(benchmark, folder, (f"images_variant_{part}.txt",))
        for line in filter(None, map(str.strip, read_text(path).splitlines())):
            image, _, name = line.partition(" ")
            if name.strip() not in index:
                raise DataError(f"{path} names the variant {name.strip()!r}, which {place} lacks: download both again.")
            rows.append((_inside(f"{image}.jpg", path), index[name.strip()], part))
    return _listed(rows, dict(enumerate(names)), place)


def _listed(rows: list[tuple[str, int, Split]], names: dict[int, str], path: Path) -> ListedRows:
    if not rows:
        raise DataError(f"{path} lists no images: download it again.")
    seen: set[str] = set()
    for image, _, _ in rows:
        if image in seen:
            raise DataError(f"{path} lists {image!r} twice: download it again.")
        seen.add(image)
    place = {label: i for i, label in enumerate(sorted(names))}
    labels = np.array([place[label] for _, label, _ in rows], dtype=np.int64)
    return ListedRows(
        [r[0] for r in rows], labels, [r[2] for r in rows], tuple(names[label] for label in sorted(names))
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else read_text(path)
        found = json.loads(text)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} can't be read ({error}): download it again.") from error
    except ValueError as error:
        raise DataError(f"{path} is no JSON ({error}): download it again.") from error
    if not isinstance(found, dict) or not all(isinstance(found.get(part), list) for part in PARTS):
        raise DataError(f"{path} is no split file: it must hold lists called train, val and test; download it again.")
    return found


def _entries(found: dict[str, Any], part: str, path: Path) -> Iterator[tuple[str, int, str]]:
    for number, entry in enumerate(found[part]):
        kinds = [type(value) for value in entry] if isinstance(entry, Sequence) else []
        if kinds != [str, int, str] or entry[1] < 0:
            raise DataError(
                f"{path} has {entry!r} as entry {number} of {part}, not [path, label, class name]: download it again."
            )
        yield entry[0], entry[1], entry[2]


def _inside(image: str, path: Path) -> str:
    """A path that can't leave the folder of images."""
    normal = posixpath.normpath(image)
    if not image or normal.startswith(("/", "../")) or normal in {".", ".."} or "\0" in image:
        raise DataError(f"{path} has the path {image!r}, which leads out of the data set: don't use it.")
    return normal
