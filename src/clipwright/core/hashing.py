"""Digests of values and files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

_BLOCK = 1 << 20


def digest_json(value: Any) -> str:
    """SHA-256 (hex) of a JSON value written canonically: sorted keys, no spaces, no NaN."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes, read in blocks of 1 MiB."""
    sha = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            sha.update(block)
    return sha.hexdigest()


def sampled_digest(path: Path, pieces: int = 16) -> str:
    """SHA-256 (hex) of a file's size and of some of its blocks: whole where it is small.

    It tells two trainings of one model apart, which differ everywhere, without reading gigabytes; it is no proof that
    a file is untouched.

    Args:
        path: the file.
        pieces: blocks of 1 MiB that are read of a large file, at least 1.
    """
    size = path.stat().st_size
    sha = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        for place in range(0, max(size, 1), max(_BLOCK, size // pieces)):
            stream.seek(place)
            sha.update(stream.read(_BLOCK))
    return sha.hexdigest()
