"""From ``benchmark:NAME`` and a root folder to a data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from clipwright.core.spelling import clean_name
from clipwright.data.benchmarks.catalogue import PREFIX, Benchmark, find_benchmark
from clipwright.data.benchmarks.places import data_root, found_file, found_folder, own_folder
from clipwright.data.benchmarks.rows import read_split, read_variants
from clipwright.data.benchmarks.synsets import image_folder, listed_classes, read_synsets, scanned_rows
from clipwright.data.checks import notes_of
from clipwright.data.dataset import Dataset
from clipwright.data.images import FileReader
from clipwright.data.names import ClassList, named, rename, told_apart


def is_benchmark(source: object) -> bool:
    """Whether a source is the name of a benchmark, such as ``benchmark:dtd``."""
    return isinstance(source, str) and source.startswith(PREFIX)


def open_benchmark(
    name: str,
    classes: ClassList | None = None,
    *,
    root: str | Path | None = None,
    reader: FileReader | None = None,
    clean: bool = True,
) -> Dataset:
    """A benchmark whose files lie below `root` in CoOp's layout.

    Rows stand in the order of the benchmark's own lists, train before val before test, so that CoOp's few-shot draws
    come out of them (`clipwright.protocol.coop`); ImageNet's stand sorted by path.

    Args:
        name: as `find_benchmark` takes it.
        classes: other class names, in index order.
        root: the folder that holds the benchmarks' folders; ``CLIPWRIGHT_DATA`` when left out.
        reader: reads image files; its root is set here.
        clean: whether underscores in class names become spaces.

    Raises:
        UsageError: no such benchmark, or no root.
        DataError: a missing file is named with its place; damaged lists say what to do.
    """
    benchmark = find_benchmark(name)
    top = data_root(benchmark, root)
    folder = own_folder(benchmark, top)
    if benchmark.reader in {"split", "variants"}:
        data = _listed(benchmark, folder, clean)
    else:
        data = _scanned(benchmark, folder, top, clean)
    assert data.root is not None  # noqa: S101 - set by both
    data = replace(data, reader=replace(reader or FileReader(), root=data.root), templates=(benchmark.template,))
    if classes is not None:
        data = replace(data, class_names=rename(data.class_names, classes, clean=clean), prompt_names=())
    return data.with_notes(*notes_of(data))


def _listed(benchmark: Benchmark, folder: Path, clean: bool) -> Dataset:
    if benchmark.reader == "variants":
        rows, where = read_variants(benchmark, folder), "variants.txt"
    else:
        names = (*benchmark.split, *(f"{name}.gz" for name in benchmark.split))
        path = found_file(benchmark, folder, names)
        rows, where = read_split(path, benchmark.edits), path.name
    images = found_folder(benchmark, folder, benchmark.within)
    called = named(rows.class_names, {}, where, clean).class_names
    return Dataset(benchmark.name, called, rows.table(benchmark, images), root=images)


def _scanned(benchmark: Benchmark, folder: Path, root: Path, clean: bool) -> Dataset:
    whole = read_synsets(benchmark, folder, root)
    numbers = listed_classes(benchmark) or range(len(whole.ids))
    part = whole.take(numbers)
    images = image_folder(benchmark, folder)
    # Two names of the whole list stand for two classes each, also where a variant has only one of the two.
    apart, _ = told_apart(whole.ids, whole.names, clean)
    names = named([apart[number] for number in numbers], {}, "classnames.txt", clean).class_names
    said = tuple(clean_name(name) if clean else name for name in part.names)
    table = scanned_rows(benchmark, images, part)
    return Dataset(benchmark.name, names, table, root=images, prompt_names=said if said != names else ())
