"""Image features by handle: in memory, and on disk where a restarted server is to know them still."""

from __future__ import annotations

import os
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clipwright.backbones.agreement import UNKNOWN_HANDLES
from clipwright.core.atomic import disk_errors
from clipwright.serve.refused import Refused

_FIRST = 1024  # rows that there is room for at first


class Shelf:
    """Keeps one row of features per handle.

    On disk every server process appends to a file of its own, rows of handle, features and checksum; a row that a kill
    tore is passed over. Features of another model lie in another folder.

    Args:
        dim: D.
        digest: of the model.
        folder: where rows are kept, or None for memory alone.
        most: images to remember.
    """

    def __init__(self, dim: int, digest: str, folder: Path | None = None, *, most: int = 1_000_000) -> None:
        self.dim = dim
        self.most = most
        self._place: dict[str, int] = {}
        self._x = np.zeros((_FIRST, dim), np.float32)
        self._row = np.dtype([("handle", np.uint8, 32), ("x", "<f4", (dim,)), ("check", "<u4")])
        self._folder = None if folder is None else folder / f"{digest[:32]}-{dim}"
        self._file: Path | None = None
        if self._folder is not None:
            for path in sorted(self._folder.glob("rows-*.bin")):
                self._load(path)

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, handle: str) -> bool:
        return handle in self._place

    def rows(self, handles: Sequence[str]) -> torch.Tensor:
        """(n, D) raw float32 features.

        Raises:
            Refused: some are not known; the error names how many, and which.
        """
        unknown = list(dict.fromkeys(handle for handle in handles if handle not in self._place))
        if unknown:
            raise Refused(
                404,
                UNKNOWN_HANDLES,
                f"{len(unknown)} of {len(set(handles))} images are not known here: send them to /images first.",
                handles=unknown,
            )
        return torch.from_numpy(self._x[[self._place[handle] for handle in handles]])

    def add(self, handles: Sequence[str], x: torch.Tensor) -> None:
        """Remember features; they are on disk, where there is a folder, when this returns.

        Raises:
            Refused: there is no room for them.
            DiskFullError: the disk is full; nothing is remembered.
        """
        rows = {handle: row for row, handle in enumerate(handles) if handle not in self._place}
        if not rows:
            return
        self.check_room(len(rows))
        values = x.numpy().astype(np.float32)[list(rows.values())]
        if self._folder is not None:
            self._write(list(rows), values)
        for handle, value in zip(rows, values, strict=True):
            self._put(handle, value)

    def check_room(self, count: int) -> None:
        """Refuse more images than may be remembered.

        Raises:
            Refused: they are too many.
        """
        if len(self._place) + count > self.most:
            message = (
                f"this server remembers {self.most:,} images and has no room for {count} more: raise --max-images."
            )
            raise Refused(507, "full", message)

    def _put(self, handle: str, value: np.ndarray) -> None:
        place = len(self._place)
        if place == len(self._x):
            self._x = np.concatenate([self._x, np.zeros_like(self._x)])
        self._x[place] = value
        self._place[handle] = place

    def _write(self, handles: list[str], values: np.ndarray) -> None:
        assert self._folder is not None  # noqa: S101 - the caller looked
        rows: Any = np.zeros(len(handles), self._row)
        rows["handle"] = np.frombuffer(bytes.fromhex("".join(handles)), np.uint8).reshape(-1, 32)
        rows["x"] = values
        rows["check"] = [_check(row) for row in rows]
        path, self._file = self._file or self._folder / f"rows-{uuid.uuid4().hex}.bin", None  # a torn file is left
        with disk_errors(path):
            self._folder.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as stream:
                stream.write(rows.tobytes())
                stream.flush()
                os.fsync(stream.fileno())
        self._file = path

    def _load(self, path: Path) -> None:
        data = path.read_bytes()
        rows = np.frombuffer(data, self._row, count=len(data) // self._row.itemsize)
        for row in rows:
            handle = row["handle"].tobytes().hex()
            if int(row["check"]) == _check(row) and handle not in self._place and len(self._place) < self.most:
                self._put(handle, row["x"])


def _check(row: Any) -> int:
    return zlib.crc32(row["x"].tobytes(), zlib.crc32(row["handle"].tobytes()))
