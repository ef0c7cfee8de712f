"""Where the files of a benchmark lie, and one sentence for what is missing."""

from __future__ import annotations

import os
from pathlib import Path

from clipwright.core.errors import DataError, UsageError
from clipwright.data.benchmarks.catalogue import Benchmark

VARIABLE = "CLIPWRIGHT_DATA"


def data_root(benchmark: Benchmark, root: str | Path | None) -> Path:
    """The folder that the benchmarks lie in: `root`, else ``CLIPWRIGHT_DATA``.

    Raises:
        UsageError: neither is given.
        DataError: there is no such folder.
    """
    chosen = root or os.environ.get(VARIABLE)
    if not chosen:
        raise UsageError(
            f"{benchmark.described} needs to know where the data lie: give --root DIR or set {VARIABLE}, "
            f"the folder that holds {benchmark.folders[0]}/."
        )
    folder = Path(os.path.abspath(Path(chosen).expanduser()))  # noqa: PTH100 - links stay as the user wrote them
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}, where the benchmarks should lie: correct --root or {VARIABLE}.")
    return folder


def own_folder(benchmark: Benchmark, root: Path) -> Path:
    """The benchmark's folder below the root.

    Raises:
        DataError: it isn't there.
    """
    return found_folder(benchmark, root, benchmark.folders)


def found_folder(benchmark: Benchmark, parent: Path, names: tuple[str, ...]) -> Path:
    """The first of the folders `names` inside `parent` that is there.

    Raises:
        DataError: none is.
    """
    for name in names:
        if (parent / name).is_dir():
            return parent / name
    raise missing(benchmark, parent / names[0], folder=True)


def found_file(benchmark: Benchmark, parent: Path, names: tuple[str, ...]) -> Path:
    """The first of the files `names` inside `parent` that is there.

    Raises:
        DataError: none is.
    """
    for name in names:
        if (parent / name).is_file():
            return parent / name
    raise missing(benchmark, parent / names[0])


def missing(benchmark: Benchmark, place: Path, *, folder: bool = False) -> DataError:
    """The error for what isn't in its place."""
    what = "folder" if folder else "file"
    return DataError(
        f"{benchmark.described} lacks the {what} {place}: put it there as CoOp's layout has it (docs/benchmarks.md), "
        "or give another --root."
    )


def read_text(path: Path) -> str:
    """The text of a file that a benchmark brings.

    Raises:
        DataError: unreadable, or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: download it again.") from error
    except OSError as error:
        raise DataError(f"{path} can't be read ({error.strerror or error}): give yourself access to it.") from error
