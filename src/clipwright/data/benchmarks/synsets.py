"""ImageNet and its variants: folders named by WordNet id or by class number, and the list of its class names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import pyarrow as pa

from clipwright.core.errors import DataError
from clipwright.data.benchmarks.catalogue import Benchmark, find_benchmark
from clipwright.data.benchmarks.places import found_folder, missing, read_text
from clipwright.data.dataset import SPLITS, column, manifest, split_array
from clipwright.data.names import counted, is_number, quoted
from clipwright.data.scan import Scan, scan

CLASS_NAMES = "classnames.txt"

_LINE = re.compile(r"(n[0-9]{8})\s+(\S.*)")


@dataclass(frozen=True)
class Synsets:
    """ImageNet's classes in the order of their WordNet ids, or a part of them.

    Attributes:
        ids: WordNet ids.
        names: what the list calls them; two of ImageNet's names stand for two classes each.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]

    def take(self, numbers: Sequence[int]) -> Synsets:
        """These of the classes."""
        return Synsets(tuple(self.ids[i] for i in numbers), tuple(self.names[i] for i in numbers))


def read_indices(text: str, where: str) -> tuple[int, ...]:
    """Class numbers from text: whole numbers from 0 between commas or white space; ``#`` begins a comment.

    Raises:
        DataError: anything else, a repeated number, or none.
    """
    words = [word for line in text.splitlines() for word in line.partition("#")[0].replace(",", " ").split()]
    strange = [word for word in words if not is_number(word)]
    if strange or not words:
        what = f"holds {strange[0]!r}" if strange else "holds no number"
        raise DataError(f"{where} {what}: write the number of each class, from 0, in the order of the data's classes.")
    found = tuple(int(word) for word in words)
    if len(set(found)) < len(found):
        twice = next(number for number in found if found.count(number) > 1)
        raise DataError(f"{where} gives the class number {twice} twice: keep one.")
    return found


def listed_classes(benchmark: Benchmark) -> tuple[int, ...]:
    """The classes of ImageNet-A or -R as numbers of ImageNet's; empty for a benchmark that has all of them."""
    if not benchmark.index:
        return ()
    return read_indices((files(__package__) / benchmark.index).read_text(encoding="utf-8"), benchmark.index)


def read_synsets(benchmark: Benchmark, folder: Path, root: Path) -> Synsets:
    """All of ImageNet's classes, from ``classnames.txt`` beside the benchmark's images or beside ImageNet's own.

    Raises:
        DataError: the list is missing, damaged, or too short for the variant.
    """
    elsewhere = [root / name / CLASS_NAMES for name in find_benchmark("imagenet").folders]
    path = next((p for p in (folder / CLASS_NAMES, *elsewhere) if p.is_file()), None)
    if path is None:
        raise missing(benchmark, folder / CLASS_NAMES)
    found: dict[str, str] = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        fit = _LINE.fullmatch(line.strip())
        if fit is None or fit[1] in found:
            raise DataError(f"line {number} of {path} must be a new WordNet id and a name; it is {line.strip()!r}.")
        found[fit[1]] = fit[2].strip()
    needed = max(listed_classes(benchmark), default=0)
    if len(found) <= needed:
        raise DataError(
            f"{path} names {counted(len(found), 'class', 'classes')}, not ImageNet's 1,000: download it again."
        )
    ids = tuple(sorted(found))
    return Synsets(ids, tuple(found[i] for i in ids))


def image_folder(benchmark: Benchmark, folder: Path) -> Path:
    """The folder that the parts, or the class folders, lie in.

    Raises:
        DataError: it, or the folder of test images in it, isn't there.
    """
    if not benchmark.parts:
        return found_folder(benchmark, folder, benchmark.within)
    test = next(name for name, split in benchmark.parts.items() if split == "test")
    return found_folder(benchmark, folder, tuple(f"{name}/{test}" for name in benchmark.within)).parent


def scanned_rows(benchmark: Benchmark, folder: Path, synsets: Synsets) -> pa.Table:
    """The manifest of class folders, sorted by path.

    Raises:
        DataError: no images, or a folder of images that is no class.
    """
    found = scan(folder)
    labels, splits = _groups(benchmark, found, synsets, folder)
    kept = np.flatnonzero(labels[found.group] >= 0)
    if not len(kept):
        raise missing(benchmark, folder / _example(benchmark, synsets), folder=True)
    rows = column(kept, pa.int64())
    group = found.group[kept]
    return manifest(
        found.ids.take(rows),
        labels[group],
        split_array(splits[group]),
        sizes=found.sizes[kept],
        mtimes=found.mtimes[kept],
    )


def _groups(benchmark: Benchmark, found: Scan, synsets: Synsets, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Class and split of each group of rows; class -1 where the images are none of the benchmark's."""
    index = {name: i for i, name in enumerate(synsets.ids)}
    if benchmark.reader == "numbers":
        index = {str(i): i for i in range(len(synsets.ids))}
    counts = np.bincount(found.group, minlength=len(found.groups))
    labels = np.full(len(found.groups), -1, dtype=np.int64)
    splits = np.full(len(found.groups), SPLITS.index("test"), dtype=np.int8)
    strangers = []
    for i, group in enumerate(found.groups):
        parts = group
        if benchmark.parts:
            if not group or group[0] not in benchmark.parts:
                continue
            splits[i] = SPLITS.index(benchmark.parts[group[0]])
            parts = group[1:]
        if not parts or not counts[i]:
            continue
        labels[i] = index.get(parts[0], -1)
        if labels[i] < 0:
            strangers.append("/".join(group[: len(group) - len(parts) + 1]))
    if strangers:
        raise DataError(
            f"{benchmark.described} has folders of images in {folder} that are none of its "
            f"{counted(len(synsets.ids), 'class', 'classes')} ({quoted(strangers)}): move them away, "
            f"or correct {CLASS_NAMES}."
        )
    return labels, splits


def _example(benchmark: Benchmark, synsets: Synsets) -> str:
    name = "0" if benchmark.reader == "numbers" else synsets.ids[0]
    return "/".join([*list(benchmark.parts)[-1:], name])
