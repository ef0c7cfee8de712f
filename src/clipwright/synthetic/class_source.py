"""Which classes to speak of: from a file of names, or from whatever `open_data` opens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from clipwright.core.errors import DataError
from clipwright.data import open_data
from clipwright.data.dataset import Dataset
from clipwright.data.names import read_classes, resolve

ClassSource = str | Path | Sequence[str] | Dataset


class Classes(NamedTuple):
    """Class names, and the data they come from where there are some."""

    names: tuple[str, ...]
    dataset: Dataset | None


def read_class_source(source: ClassSource, *, classes: str | Path | None = None, root: Path | None = None) -> Classes:
    """Class names of a source.

    Args:
        source: a text file with one name per line (``.txt``, or a file without a suffix), names, or a data source: a
            folder, a table, a bundle, a benchmark, an embedded name.
        classes: class names of a data source that doesn't bring them.
        root: the folder that benchmarks lie in.

    Raises:
        DataError: the names can't be read, are empty or repeat.
    """
    if isinstance(source, Dataset):
        return Classes(source.class_names, source)
    if not isinstance(source, str | Path):
        return Classes(resolve((), read_classes(tuple(source))).class_names, None)
    path = Path(source).expanduser()
    if path.suffix.lower() in {"", ".txt"} and path.is_file() and classes is None:
        return Classes(resolve((), read_classes(path)).class_names, None)
    dataset = open_data(source, classes, root=root)
    if not dataset.class_names:
        raise DataError(f"{dataset.name} has no class names: give them in a file, one per line.")
    return Classes(dataset.class_names, dataset)
