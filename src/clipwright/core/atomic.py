"""Files that are whole or absent: written under a temporary name, synced, then renamed."""

from __future__ import annotations

import errno
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from clipwright.core.errors import ClipwrightError


class DiskFullError(ClipwrightError):
    """The disk has no room left; everything renamed before stays valid."""


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn "no space left" and quota errors below `path` into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            message = (
                f"The disk that holds {path} is full: free some space and run the same command again; "
                "what is already finished is kept."
            )
            raise DiskFullError(message) from error
        raise


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a binary stream whose content appears at `path` only when the block ends without an error.

    Raises:
        DiskFullError: the disk is full; `path` is as it was before.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable, where the system lets a folder be synced."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with atomic_file(path) as stream:
        stream.write(data)


def create_bytes(path: Path, data: bytes) -> bool:
    """Write `data` to `path` atomically unless something is there already.

    Of several writers exactly one succeeds, where the file system knows hard links.

    Returns:
        Whether this call wrote the file.
    """
    if path.exists():
        return False
    whole = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.new.tmp")
    write_bytes(whole, data)
    try:
        with disk_errors(path):
            os.link(whole, path)
    except FileExistsError:
        return False
    except DiskFullError:
        raise
    except OSError:  # no hard links here (exFAT, some network drives)
        whole.replace(path)
    finally:
        whole.unlink(missing_ok=True)
    sync_folder(path.parent)
    return True


def write_json(path: Path, value: Any) -> None:
    """Write a JSON value to `path` atomically, indented, UTF-8."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())
