"""Which images a user meant: files, folders, globs, or a list on standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from clipwright.core.errors import DataError
from clipwright.data.images import EXTENSIONS


def expand(sources: Iterable[str]) -> Iterator[str]:
    """Paths of images, one at a time, in a fixed order.

    Args:
        sources: a file (any name), a folder (searched for image files, subfolders too), a glob (``**`` crosses
            folders), or ``-`` for one path per line on standard input.

    Raises:
        DataError: a folder or glob without an image.
    """
    for source in sources:
        if source == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        elif os.path.isdir(source):  # noqa: PTH112 - keeps the path as it was typed
            yield from _some(_walk(source), f"the folder {source} holds no image: give another folder, or files.")
        elif not os.path.lexists(source) and glob.has_magic(source):
            found = filter(_readable, sorted(glob.iglob(source, recursive=True)))  # noqa: PTH207
            yield from _some(found, f"nothing matches {source}: check the pattern, and quote it for your shell.")
        else:
            yield source  # a missing file becomes a row with an error, so that the other rows still come


def _some(paths: Iterator[str], message: str) -> Iterator[str]:
    empty = True
    for path in paths:
        empty = False
        yield path
    if empty:
        raise DataError(message)


def _walk(folder: str) -> Iterator[str]:
    """Image files below a folder, sorted per folder; hidden files are left out, linked folders not followed."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = os.path.join(root, name)  # noqa: PTH118 - keeps the path as it was typed
            if not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS and _readable(path):
                yield path


def _readable(path: str) -> bool:
    """Whether a path that was found, not named, is a file, or a broken link to tell of: a pipe would wait for ever."""
    return os.path.isfile(path) or not os.path.exists(path)  # noqa: PTH110, PTH113 - as typed
