"""Images on their way to an endpoint: named by their pixels, sent once, kept in case the server forgets them."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Iterable, Sequence

import numpy as np

from clipwright.core.answers import FOLDER
from clipwright.core.atomic import disk_errors
from clipwright.core.home import home
from clipwright.core.journal import Journal


class Outbox:
    """Pixels by handle, and which of them a server was sent.

    Both lie below CLIPWRIGHT_HOME: pixels in a file without a name, which ends with the process; what was sent in a
    journal, so that a later run needn't send it again.

    Args:
        server: the address and the digest of its model.
        shape: (3, H, W) of an image.
    """

    def __init__(self, server: str, shape: tuple[int, int, int]) -> None:
        name = hashlib.sha256(server.encode()).hexdigest()
        folder = home() / FOLDER / "sent"
        folder.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(folder / f"{name}.jsonl")
        self._sent: set[str] | None = None
        self._shape = shape
        self._size = int(np.prod(shape))
        self._place: dict[str, int] = {}
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as this object
        self._lock = threading.Lock()

    def keep(self, handles: Sequence[str], pixels: np.ndarray) -> None:
        """Keep (b, 3, H, W) uint8 pixels under b handles.

        Raises:
            DiskFullError: there is no room for them.
        """
        with self._lock, disk_errors(self._journal.path):
            for handle, image in zip(handles, pixels, strict=True):
                if handle not in self._place:
                    self._file.seek(len(self._place) * self._size)
                    self._file.write(image.tobytes())
                    self._place[handle] = len(self._place)

    def has(self, handle: str) -> bool:
        """Whether the pixels of an image are here."""
        return handle in self._place

    def pixels(self, handles: Sequence[str]) -> np.ndarray:
        """(n, 3, H, W) uint8 of images that are here."""
        found = np.empty((len(handles), *self._shape), np.uint8)
        with self._lock:
            for row, handle in enumerate(handles):
                self._file.seek(self._place[handle] * self._size)
                found[row] = np.frombuffer(self._file.read(self._size), np.uint8).reshape(self._shape)
        return found

    def unsent(self, handles: Iterable[str]) -> list[str]:
        """Those that the server was not sent, each once, in order."""
        with self._lock:
            sent = self._read()
            return [handle for handle in dict.fromkeys(handles) if handle not in sent]

    def mark(self, handles: Sequence[str]) -> None:
        """Remember on disk that the server has these."""
        with self._lock:
            sent = self._read()
            fresh = [handle for handle in handles if handle not in sent]
            if fresh:
                sent.update(fresh)
                self._journal.append({"handles": fresh})

    def _read(self) -> set[str]:
        if self._sent is None:
            rows = [row.get("handles") for row in self._journal.rows()]
            self._sent = {handle for row in rows if isinstance(row, list) for handle in row if isinstance(handle, str)}
        return self._sent
