"""The manifest of a store: which row is which image, what its bytes hashed to, and what was wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clipwright.core.atomic import write_bytes
from clipwright.core.errors import FormatError
from clipwright.core.hashing import digest_json
from clipwright.data.dataset import Dataset

ROWS_FILE = "rows.parquet"

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("label", pa.int32()),  # -1 = unlabeled
        ("split", pa.string()),  # "" = not said
        ("size", pa.int64()),  # with mtime_ns: what the file looked like when the store was made
        ("mtime_ns", pa.int64()),
        ("content", pa.string()),  # SHA-256 of the bytes that were decoded; "" = unreadable or not yet decoded
        ("problem", pa.string()),  # why the image couldn't be read; "" = nothing
    ]
)
_FINAL = b"complete"
_CLASSES = b"class_names"


def ids_digest(ids: list[str]) -> str:
    """Hash of row identifiers in order."""
    return digest_json(ids)


def manifest_of(dataset: Dataset) -> pa.Table:
    """The manifest of a data set of which nothing has been decoded."""
    empty = pa.repeat(pa.scalar("", pa.string()), len(dataset))
    columns = [dataset.table[name].cast(SCHEMA.field(name).type) for name in SCHEMA.names[:5]]
    table = pa.table([*columns, empty, empty], schema=SCHEMA)
    return table.replace_schema_metadata({_CLASSES: json.dumps(list(dataset.class_names)).encode()})


def write_rows(folder: Path, table: pa.Table, *, final: bool) -> None:
    """Write the manifest atomically; `final` says that content and problems are filled in for all rows."""
    about = {**(table.schema.metadata or {}), _FINAL: b"1" if final else b"0"}
    stream = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(about), stream, compression="zstd")
    write_bytes(folder / ROWS_FILE, stream.getvalue().to_pybytes())


def read_rows(folder: Path) -> pa.Table:
    """Read the manifest.

    Raises:
        FormatError: it is missing or damaged.
    """
    path = folder / ROWS_FILE
    try:
        with pq.ParquetFile(path) as file:  # read_table would import pyarrow.dataset, and that pandas
            table = file.read()
        return table.select(SCHEMA.names).cast(SCHEMA.with_metadata(table.schema.metadata))
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise FormatError(f"{path} can't be read ({error}): run the extraction again.") from error


def is_final(table: pa.Table) -> bool:
    """Whether content and problems of all rows are filled in."""
    return bool((table.schema.metadata or {}).get(_FINAL) == b"1")


def class_names(table: pa.Table) -> tuple[str, ...]:
    """The class names that labels index."""
    text = (table.schema.metadata or {}).get(_CLASSES, b"[]")
    return tuple(json.loads(text))


def row_numbers(rows: np.ndarray) -> pa.Array:
    """Row numbers as Arrow takes them, without a copy; `pyarrow.array` would import pandas, where it is installed."""
    numbers = np.ascontiguousarray(rows, dtype=np.int64)
    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])


def same_files(table: pa.Table, other: pa.Table) -> np.ndarray:
    """(n,) bool: whether two manifests of the same length describe the same file in each row."""
    same = np.ones(table.num_rows, dtype=bool)
    names = ["id", "size", "mtime_ns"]
    if all(table[name].equals(other[name]) for name in names):
        return same
    for name in names:
        mine, others = (t[name].to_numpy(zero_copy_only=False) for t in (table, other))
        same &= np.asarray(mine == others, dtype=bool)
    return same


def with_labels(table: pa.Table, fresh: pa.Table) -> pa.Table:
    """The same manifest with labels, splits and class names of `fresh`."""
    for name in ("label", "split"):
        table = table.set_column(table.schema.get_field_index(name), SCHEMA.field(name), fresh[name])
    about: dict[bytes, Any] = {**(table.schema.metadata or {}), _CLASSES: fresh.schema.metadata[_CLASSES]}
    return table.replace_schema_metadata(about)
