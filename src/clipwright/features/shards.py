"""One shard of a store: a safetensors file with the features of a fixed range of rows, memory-mapped when read.

Only the standard library and numpy touch the bytes. Equal features give equal bytes (the safetensors package writes its
header in random order), and a file that isn't whole, or isn't what it should be, is told by its header and its length.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from clipwright.core.atomic import atomic_file
from clipwright.core.errors import StoreError
from clipwright.features.meta import StoreMeta

FOLDER = "shards"

_MAX_HEADER = 1 << 26
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "U8": np.dtype("u1")}
_NAMES = {"float32": "F32", "float16": "F16", "uint8": "U8"}


@dataclass(frozen=True, eq=False)
class Shard:
    """Features of m rows; rows of unreadable images are zero.

    Attributes:
        x: (m, D) clean view.
        views: (m, V, D), or None.
        pre_projection: (m, D'), or None.
        content: (m, 32) uint8 SHA-256 of the bytes each image was decoded from, zero where unreadable.
        problems: why an image couldn't be read, by its position in the shard.
        batch_size: images and views that were encoded at a time.
    """

    x: np.ndarray
    views: np.ndarray | None
    pre_projection: np.ndarray | None
    content: np.ndarray
    problems: dict[int, str] = field(default_factory=dict)
    batch_size: int = 0


class BrokenShardError(StoreError):
    """A shard file that isn't whole; it counts as missing."""


def shard_path(folder: Path, number: int) -> Path:
    """Where shard `number` lies."""
    return folder / FOLDER / f"{number:06d}.safetensors"


def write_shard(folder: Path, meta: StoreMeta, number: int, shard: Shard) -> int:
    """Write one shard atomically; return its size in bytes.

    Raises:
        DiskFullError: the disk is full; the store is as it was before.
    """
    dtype = meta.numpy_dtype
    given = {"x": shard.x, "views": shard.views, "pre_projection": shard.pre_projection}
    arrays = {k: np.ascontiguousarray(v, dtype=dtype) for k, v in given.items() if v is not None}
    rows = meta.range_of(number)
    about = {
        "store": meta.key,
        "shard": str(number),
        "rows": f"{rows.start}-{rows.stop}",
        "batch_size": str(shard.batch_size),
        "problems": json.dumps(shard.problems, ensure_ascii=False),
    }
    head, ordered = _head({**arrays, "content": np.ascontiguousarray(shard.content)}, about)
    with atomic_file(shard_path(folder, number)) as stream:
        stream.write(head)
        for array in ordered:
            stream.write(array.data)
    return len(head) + sum(array.nbytes for array in ordered)


def _head(arrays: dict[str, np.ndarray], about: dict[str, str]) -> tuple[bytes, list[np.ndarray]]:
    """The first bytes of a safetensors file, and the arrays in the order in which they follow: widest first."""
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": about}
    end = 0
    for name in names:
        array = arrays[name]
        start, end = end, end + array.nbytes
        header[name] = {"dtype": _NAMES[array.dtype.name], "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, [arrays[name] for name in names]


def is_whole(folder: Path, meta: StoreMeta, number: int) -> bool:
    """Whether the shard is there and whole.

    Raises:
        StoreError: the file belongs to another store.
    """
    try:
        _header(shard_path(folder, number), meta, number)
    except BrokenShardError:
        return False
    return True


def read_shard(folder: Path, meta: StoreMeta, number: int) -> Shard:
    """Map one shard into memory. Arrays are copy-on-write: changing them never changes the file.

    Raises:
        BrokenShardError: the shard is missing or not whole.
        StoreError: the file belongs to another store.
    """
    path = shard_path(folder, number)
    header, start = _header(path, meta, number)
    arrays = {
        name: np.memmap(
            path, dtype=_DTYPES[info["dtype"]], mode="c", offset=start + info["data_offsets"][0], shape=shape
        )
        for name, info in header.items()
        if name != "__metadata__" and (shape := tuple(info["shape"]))
    }
    about = header["__metadata__"]
    return Shard(
        arrays["x"],
        arrays.get("views"),
        arrays.get("pre_projection"),
        arrays["content"],
        about["problems"],
        about["batch_size"],
    )


def _header(path: Path, meta: StoreMeta, number: int) -> tuple[dict[str, Any], int]:
    """The header of a shard that is whole and belongs to the store, and where its data begin."""
    try:
        with path.open("rb") as stream:
            size = path.stat().st_size
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(size, _MAX_HEADER):
                raise ValueError("the header is cut off")
            header = json.loads(stream.read(length))
        about = header["__metadata__"]
        about["problems"] = {int(k): str(v) for k, v in json.loads(about["problems"]).items()}
        about["batch_size"] = int(about["batch_size"])
        _check_extent(header, size - 8 - length)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, struct.error) as error:
        raise BrokenShardError(f"{path} isn't whole ({error}): run the extraction again.") from error
    if about.get("store") != meta.key or about.get("shard") != str(number):
        raise StoreError(
            f"{path} holds features of another model, other images or other views than its store: "
            "features of different stores can't be mixed; remove that file and run the extraction again."
        )
    _check_shapes(path, header, meta, number)
    return header, 8 + length


def _check_extent(header: dict[str, Any], size: int) -> None:
    end = 0
    for name, info in header.items():
        if name == "__metadata__":
            continue
        first, last = info["data_offsets"]
        if first < 0 or last - first != math.prod(info["shape"]) * _DTYPES[info["dtype"]].itemsize:
            raise ValueError(f"the extent of {name} is wrong")
        end = max(end, last)
    if end != size:
        raise ValueError(f"it has {size} bytes of data where {end} are expected")


def _check_shapes(path: Path, header: dict[str, Any], meta: StoreMeta, number: int) -> None:
    m = len(meta.range_of(number))
    wanted = {"x": [m, meta.dim], "content": [m, 32]}
    if meta.views:
        wanted["views"] = [m, meta.views, meta.dim]
    if meta.pre_projection_dim:
        wanted["pre_projection"] = [m, meta.pre_projection_dim]
    found = {name: info["shape"] for name, info in header.items() if name != "__metadata__"}
    if found != wanted:
        raise BrokenShardError(f"{path} holds {found} where {wanted} is expected: run the extraction again.")
