"""An append-only journal of JSON lines: what was appended survives a kill, a torn last line is ignored."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clipwright.core.atomic import disk_errors


class Journal:
    """JSON lines at `path`; `append` returns once the line is on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, row: dict[str, Any]) -> None:
        """Append one row and sync it. A line torn by an earlier kill is closed off first."""
        self.extend([row])

    def extend(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append several rows and sync them together; a kill may leave the first few of them."""
        line = b"".join(json.dumps(row, ensure_ascii=False, sort_keys=True).encode() + b"\n" for row in rows)
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as stream:
                size = stream.seek(0, os.SEEK_END)
                if size:
                    stream.seek(size - 1)
                    if stream.read(1) != b"\n":
                        line = b"\n" + line
                stream.write(line)
                stream.flush()
                os.fsync(stream.fileno())

    def rows(self) -> list[dict[str, Any]]:
        """All whole rows, oldest first; lines that aren't whole JSON objects are skipped."""
        if not self.path.exists():
            return []
        found: list[dict[str, Any]] = []
        for line in self.path.read_bytes().split(b"\n"):
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                found.append(row)
        return found
