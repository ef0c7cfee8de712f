"""What lies in a folder: one row per image file, found without opening any.

A scan keeps Arrow columns, not Python objects, so 200,000 files take seconds and tens of megabytes. Files are
recognised by their extension; names that begin with a dot are skipped, as are system folders. Symbolic links are
followed; a folder is read once below each pair of top folders, so a link that leads back up ends there.
"""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clipwright.core.errors import DataError
from clipwright.data.dataset import numbers, strings
from clipwright.data.images import EXTENSIONS

Group = tuple[str, ...]  # the first folders of a row's path below the root, at most `DEPTH`

DEPTH = 2
_BATCH = 1 << 14
_SYSTEM = frozenset({"lost+found", "__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "__pycache__"})


@dataclass
class Scan:
    """Image files below a folder, sorted by path.

    Attributes:
        ids: (n,) paths relative to the root, with ``/`` between parts.
        sizes: (n,) int64 bytes.
        mtimes: (n,) int64 nanoseconds.
        group: (n,) int32 indices into `groups`.
        groups: the top folders of each row; folders without images are listed too.
        others: files that aren't images by their extension.
        broken: links that lead nowhere, and what is neither file nor folder.
        undecodable: names that aren't valid UTF-8.
        example: one of `others`.
    """

    ids: pa.ChunkedArray
    sizes: np.ndarray
    mtimes: np.ndarray
    group: np.ndarray
    groups: list[Group]
    others: int = 0
    broken: int = 0
    undecodable: int = 0
    example: str = ""


@dataclass
class _Columns:
    """Rows so far: names packed into Arrow arrays batch by batch, numbers in flat arrays."""

    ids: list[str] = field(default_factory=list)
    packed: list[pa.Array] = field(default_factory=list)
    sizes: array[int] = field(default_factory=lambda: array("q"))
    mtimes: array[int] = field(default_factory=lambda: array("q"))
    group: array[int] = field(default_factory=lambda: array("i"))

    def pack(self) -> None:
        self.packed.append(strings(self.ids))
        self.ids = []


def scan(root: Path) -> Scan:
    """Find the image files below `root`.

    Raises:
        DataError: `root` or a folder below it can't be read.
    """
    none = np.empty(0, dtype=np.int64)
    columns, found = _Columns(), Scan(pa.chunked_array([], pa.string()), none, none, none, [])
    known: dict[Group, int] = {}
    for folder, prefix, group in _folders(root, found):
        number = known.setdefault(group, len(known))
        for entry in folder:
            _add(entry, prefix, number, columns, found)
    columns.pack()
    ids = pa.chunked_array(columns.packed, pa.string())
    order = pc.sort_indices(ids)
    found.ids, found.groups = ids.take(order), list(known)
    rows = numbers(order, "<u8")
    found.sizes, found.mtimes = (np.array(column)[rows] for column in (columns.sizes, columns.mtimes))
    found.group = np.array(columns.group)[rows]
    return found


def _add(entry: os.DirEntry[str], prefix: str, group: int, columns: _Columns, found: Scan) -> None:
    name = entry.name
    if name[name.rfind(".") :].lower() not in EXTENSIONS:
        found.others += 1
        found.example = found.example or name
        return
    try:
        status = entry.stat()
    except OSError:
        found.broken += 1
        return
    if not stat.S_ISREG(status.st_mode):  # a pipe or device would block or never end
        found.broken += 1
        return
    columns.ids.append(prefix + name)
    columns.sizes.append(status.st_size)
    columns.mtimes.append(status.st_mtime_ns)
    columns.group.append(group)
    if len(columns.ids) >= _BATCH:
        columns.pack()


def _folders(root: Path, found: Scan) -> Iterator[tuple[Iterator[os.DirEntry[str]], str, Group]]:
    """Each folder once per branch: its files as they come, its path below the root, its group; depth first, sorted."""
    seen: set[tuple[Group, int, int]] = set()
    waiting: list[tuple[str, str, Group]] = [(str(root), "", ())]
    while waiting:
        path, prefix, group = waiting.pop()
        try:
            status = os.stat(path)  # noqa: PTH116 - plain strings, as below
            key = (group, status.st_dev, status.st_ino)
            if key in seen or (prefix and any((group[:n], *key[1:]) in seen for n in range(len(group)))):
                continue
            seen.add(key)
            below: list[str] = []
            with os.scandir(path) as entries:
                yield _files(entries, path, below, found), prefix, group
        except OSError as error:
            raise _unreadable(path, error) from error
        for name in sorted(below, reverse=True):
            here = (*group, name) if len(group) < DEPTH else group
            waiting.append((f"{path}/{name}", f"{prefix}{name}/", here))


def _files(entries: Iterator[os.DirEntry[str]], path: str, below: list[str], found: Scan) -> Iterator[os.DirEntry[str]]:
    """The entries that aren't folders; the names of folders are added to `below`."""
    try:
        for entry in entries:
            name = entry.name
            if name.startswith("."):
                continue
            if not name.isascii() and not _utf8(name):
                found.undecodable += 1
            elif not _is_folder(entry):
                yield entry
            elif name not in _SYSTEM:
                below.append(name)
    except OSError as error:
        raise _unreadable(path, error) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _unreadable(path: str, error: OSError) -> DataError:
    return DataError(
        f"the folder {path} can't be read ({error.strerror}): give yourself access to it, or move it away."
    )


def _utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
