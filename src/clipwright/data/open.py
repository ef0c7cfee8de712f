"""`open_data`: one way in for every kind of source."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from clipwright.core.errors import DataError, UsageError
from clipwright.data.benchmarks.opening import is_benchmark, open_benchmark
from clipwright.data.dataset import Dataset, Subset, manifest
from clipwright.data.embedded import embedded_names, open_embedded
from clipwright.data.folder import open_folder
from clipwright.data.generated import is_generated, open_generated
from clipwright.data.images import FileReader, check_max_pixels, default_max_pixels
from clipwright.data.names import Classes, ClassList, read_classes
from clipwright.data.scan import scan
from clipwright.data.table import LISTS, TABLES, open_table


def open_data(
    source: str | Path,
    classes: Classes | None = None,
    *,
    name: str | None = None,
    root: str | Path | None = None,
    classes_subset: Subset | None = None,
    labels: bool = True,
    clean_names: bool = True,
    max_pixels: int | None = None,
) -> Dataset:
    """Open images or features, with or without labels.

    Args:
        source: a folder (of class folders, of train, val and test folders, of images, or one that ``generate``
            filled), a table (``.csv``, ``.tsv``, ``.parquet``), a list of "path label" lines (``.txt``), a feature
            bundle (``.npz``), a benchmark below `root` such as ``benchmark:dtd``, or the name of an embedded data set
            such as ``digits``. A file or folder of that name comes first.
        classes: a file with one name per line in index order or ``<folder> <class name>`` per line, a sequence of
            names in index order, or a mapping from folder to name. Labels are tied to names by name or number.
        name: what reports call the data; by default the file's or folder's name.
        root: the folder that paths in a table start from, by default the table's own; or the folder that benchmarks
            lie in, by default ``CLIPWRIGHT_DATA``.
        classes_subset: keep the ``base`` or the ``new`` half of the classes (`Dataset.class_subset`).
        labels: False ignores folder names and label columns: every image is unlabeled, and `classes` is needed.
        clean_names: whether underscores in class names become spaces (`clipwright.data.names.clean_name`).
        max_pixels: images with more pixels are refused; by default ``CLIPWRIGHT_MAX_PIXELS``, else 100 million.

    Raises:
        DataError: what is wrong and what to do.
        FormatError: a bundle that is damaged or newer than this clipwright.
        UsageError: `max_pixels` isn't positive, there is no such benchmark, or `root` is given for data that has none.
    """
    listed = read_classes(classes)
    limit = default_max_pixels() if max_pixels is None else check_max_pixels(max_pixels)
    reader, path = FileReader(None, limit), Path(source).expanduser()
    if is_benchmark(source):
        data = _finish(open_benchmark(str(source), listed, root=root, reader=reader, clean=clean_names), name, labels)
    elif not os.path.lexists(path) and str(source) in embedded_names():
        _refuse_root(root, str(source))
        data = _finish(open_embedded(str(source), listed, clean=clean_names), name, labels)
    else:
        data = _open_path(path, listed, reader, root=root, name=name, clean=clean_names, labels=labels)
        if str(source) in embedded_names():
            note = f"Opened {path.absolute()}: move it away to have the embedded data set {str(source)!r}."
            data = data.with_notes(note)
    return data if classes_subset is None else data.class_subset(classes_subset)


def _refuse_root(root: str | Path | None, source: str) -> None:
    if root is not None:
        raise UsageError(f"a root is for benchmarks and tables, not for {source}: leave it out.")


def _open_path(
    path: Path,
    listed: ClassList | None,
    reader: FileReader,
    *,
    root: str | Path | None,
    name: str | None,
    clean: bool,
    labels: bool,
) -> Dataset:
    kind = _kind(path)
    if kind != "table":
        _refuse_root(root, str(path))
    if kind == "bundle":
        from clipwright.data.bundle import open_bundle

        return _finish(open_bundle(path, listed, name=name, clean=clean), name, labels)
    if kind == "folder":
        path = Path(os.path.abspath(path))  # noqa: PTH100 - links stay as the user wrote them
        reader = replace(reader, root=path)
        if is_generated(path):
            data = open_generated(path, listed, reader=reader, name=name or path.name, clean=clean)
            return _finish(data, None, labels)
        return open_folder(path, listed, reader=reader, name=name or path.name, clean=clean, labels=labels)
    start = Path(root).expanduser() if root is not None else path.parent
    reader = replace(reader, root=Path(os.path.abspath(start)))  # noqa: PTH100 - as above
    return open_table(path, listed, reader=reader, name=name or path.stem, clean=clean, labels=labels)


def open_images(paths: Iterable[str | Path], *, max_pixels: int | None = None) -> Dataset:
    """Images to be classified: files, and all images below folders, in the order given; no classes, no labels.

    Row identifiers are the paths as they were given. A path that is given twice counts once. A missing file stays in,
    and is told as unreadable when its turn comes.

    Raises:
        DataError: there is no image at all, or a folder can't be read.
    """
    limit = default_max_pixels() if max_pixels is None else check_max_pixels(max_pixels)
    rows: dict[str, tuple[int, int]] = {}
    given = [Path(path) for path in paths]
    for path in given:
        try:
            status = path.stat()
        except (OSError, ValueError):
            rows.setdefault(str(path), (0, 0))
            continue
        if stat.S_ISDIR(status.st_mode):
            found = scan(path)
            for id_, size, mtime in zip(found.ids.to_pylist(), found.sizes, found.mtimes, strict=True):
                rows.setdefault(str(path / id_), (int(size), int(mtime)))
        else:
            rows.setdefault(str(path), (status.st_size, status.st_mtime_ns))
    if not rows:
        where = ", ".join(map(str, given[:3])) or "no path"
        raise DataError(f"there are no images in {where}: give image files, or folders that hold some.")
    stats = np.array(list(rows.values()), dtype=np.int64)
    table = manifest(list(rows), np.full(len(rows), -1), sizes=stats[:, 0], mtimes=stats[:, 1])
    return Dataset("images", (), table, FileReader(None, limit))


def _kind(path: Path) -> str:
    """What a path is: ``folder``, ``bundle`` or ``table``."""
    suffix = path.suffix.lower()
    try:
        mode = path.stat().st_mode
    except PermissionError as error:
        raise DataError(f"{path} can't be read ({error.strerror}): give yourself access to it.") from error
    except (OSError, ValueError):
        mode = 0
    if stat.S_ISDIR(mode):
        return "folder"
    if not stat.S_ISREG(mode):
        names = ", ".join(embedded_names())
        raise DataError(
            f"there is no {path}: give a folder of images, a table, a .npz bundle, a benchmark such as benchmark:dtd, "
            f"or an embedded name ({names})."
        )
    if suffix == ".npz":
        return "bundle"
    if suffix in TABLES | LISTS:
        return "table"
    raise DataError(
        f"{path} is no data set: give a folder of images, a .csv, .tsv or .parquet table, "
        "a .txt list of 'path label' lines, or a .npz bundle of features."
    )


def _finish(data: Dataset, name: str | None, labels: bool) -> Dataset:
    """Apply what every kind of source shares."""
    if name is not None:
        data = replace(data, name=name)
    return data if labels else data.without_labels()
