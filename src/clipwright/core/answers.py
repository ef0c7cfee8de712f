"""Answers that were paid for, kept on disk by what was asked, so that nothing is asked twice."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from clipwright.core.atomic import write_bytes
from clipwright.core.errors import ClipwrightError
from clipwright.core.home import home

FOLDER = "answers"
MOST = 16 << 30
"""Bytes that are kept, at most, unless another number is given."""

_SUM = 32  # bytes of SHA-256 before the answer


def answer_key(*asked: Any) -> str:
    """SHA-256 (hex) of what was asked: of whom, by which route, with what body.

    Args:
        asked: bytes, or JSON values. Equal parts in equal order give equal keys; no two lists of parts run together.
    """
    sha = hashlib.sha256()
    for part in asked:
        is_bytes = isinstance(part, bytes | bytearray | memoryview)
        data = bytes(part) if is_bytes else json.dumps(part, sort_keys=True, allow_nan=False).encode()
        sha.update(f"{'b' if is_bytes else 'j'}{len(data)}:".encode())
        sha.update(data)
    return sha.hexdigest()


class Answers:
    """Bytes by key, one file each, whole or absent; several threads and processes may share a folder.

    A file that was damaged counts as absent. When more than `most` bytes are kept, those that were not read for the
    longest time are removed.

    Args:
        folder: by default ``answers`` below CLIPWRIGHT_HOME, where ``clipwright cache`` shows and removes it.
        most: bytes to keep.
    """

    def __init__(self, folder: Path | None = None, *, most: int = MOST) -> None:
        self.folder = home() / FOLDER if folder is None else folder
        self.most = most
        self._size: int | None = None  # found when something is first put
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """The answer kept under a key, or None."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        body = data[_SUM:]
        if hashlib.sha256(body).digest() != data[:_SUM]:
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):
            os.utime(path)  # so that what is used stays
        return body

    def put(self, key: str, body: bytes) -> None:
        """Keep an answer; it is on disk when this returns.

        Where it can't be kept (a full or read-only disk) a warning says so once: the answer itself can still be used.
        """
        data = hashlib.sha256(body).digest() + body
        try:
            write_bytes(self._path(key), data)
        except (OSError, ClipwrightError) as error:
            warnings.warn(
                f"answers can't be kept in {self.folder} ({getattr(error, 'strerror', None) or error}), so a run that "
                "is continued will ask for them again.",
                UserWarning,
                stacklevel=2,
            )
            return
        with self._lock:
            self._size = self._scan() if self._size is None else self._size + len(data)
            if self._size > self.most:
                self._size = self._make_room()

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / key

    def _files(self) -> list[os.DirEntry[str]]:
        found: list[os.DirEntry[str]] = []
        with suppress(OSError):
            for part in os.scandir(self.folder):
                if len(part.name) == 2 and part.is_dir(follow_symlinks=False):
                    with suppress(OSError):
                        found += [f for f in os.scandir(part) if f.is_file(follow_symlinks=False)]
        return found

    def _scan(self) -> int:
        total = 0
        for file in self._files():
            with suppress(OSError):
                total += file.stat().st_size
        return total

    def _make_room(self) -> int:
        """Remove the files that were unused for longest until a tenth is free; returns what is left."""
        known: list[tuple[float, int, str]] = []
        for file in self._files():
            with suppress(OSError):
                stat = file.stat()
                known.append((stat.st_mtime, stat.st_size, file.path))
        total = sum(size for _, size, _ in known)
        for _, size, path in sorted(known):
            if total <= 0.9 * self.most:
                break
            with suppress(OSError):
                Path(path).unlink()
                total -= size
        return total
