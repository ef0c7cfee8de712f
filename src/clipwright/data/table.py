"""Tables and lists of images: CSV, TSV and Parquet with named columns, and text files of "path label" lines.

A table has a column for the path and may have one for the label and one for the split, under the names of `COLUMNS`. An
empty label, -1, and the word unlabeled mean that there is no label. A list has one image per line: path and label with
a tab between them, or white space after the path; a third field after a second tab is the split. Paths start from the
table's folder (or `root`); absolute paths and ``..`` are allowed. Files that are missing are skipped and counted.
"""

from __future__ import annotations

import csv
import math
import os
import posixpath
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from clipwright.core.errors import DataError
from clipwright.data.checks import notes_of
from clipwright.data.dataset import Dataset, Split, manifest, split_array
from clipwright.data.folder import is_unlabeled
from clipwright.data.images import EXTENSIONS, FileReader
from clipwright.data.names import ClassList, counted, quoted, resolve
from clipwright.data.splits import split_of

COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img_path"),
    "label": ("label", "class", "class_name", "target", "category"),
    "split": ("split", "subset", "set"),
}
TABLES = frozenset({".csv", ".tsv", ".parquet"})
LISTS = frozenset({".txt", ".lst", ".list"})

_FLOAT = re.compile(r"(-?[0-9]+)\.0+")
_AFTER_NAME = re.compile(rf"^(.*\.(?:{'|'.join(e[1:] for e in sorted(EXTENSIONS))}))\s+(\S.*)$", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """One image as a table has it; `label` is "" where there is none."""

    path: str
    label: str = ""
    split: str = ""


@dataclass
class _Kept:
    """Rows whose files are there."""

    ids: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    splits: list[Split] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    mtimes: list[int] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    repeated: int = 0
    pathless: int = 0


def open_table(
    path: Path, classes: ClassList | None, *, reader: FileReader, name: str, clean: bool = True, labels: bool = True
) -> Dataset:
    """The data set of a table or list; relative paths start from `reader.root`.

    Raises:
        DataError: no path column, no file is there, or rows that contradict each other.
    """
    rows = read_list(path) if path.suffix.lower() in LISTS else read_table(path)
    kept = _keep(rows if labels else (Row(row.path, "", row.split) for row in rows), reader, path)
    keys = {label for label in kept.labels if label}
    if not keys and classes is None:
        raise DataError(
            f"no row of {path.name} has a label: add a label column, or name the classes with --classes names.txt."
        )
    resolved = resolve(keys, classes, what="label", clean=clean)
    index = np.array([resolved.index[label] if label else -1 for label in kept.labels], dtype=np.int32)
    table = manifest(
        kept.ids,
        index,
        split_array(kept.splits),
        sources=kept.sources,
        sizes=np.array(kept.sizes, dtype=np.int64),
        mtimes=np.array(kept.mtimes, dtype=np.int64),
    )
    data = Dataset(name, resolved.class_names, table, reader, root=path, notes=resolved.notes)
    return data.with_notes(*_notes(path, kept), *notes_of(data))


def _notes(path: Path, kept: _Kept) -> Iterator[str]:
    if kept.missing:
        yield f"Skipped {counted(len(kept.missing), 'image')} of {path.name}: no such file ({quoted(kept.missing)})."
    if kept.repeated:
        yield f"Left out {counted(kept.repeated, 'row')} of {path.name} repeated word for word."
    if kept.pathless:
        yield f"Left out {counted(kept.pathless, 'row')} of {path.name} without a path."


def _keep(rows: Iterator[Row] | Sequence[Row], reader: FileReader, path: Path) -> _Kept:
    """Look each file up; leave out what is missing or repeated."""
    kept, start = _Kept(), str(reader.path(""))
    seen: dict[str, tuple[str, Split]] = {}
    for row in _whole_numbers(list(rows)):
        if not row.path:
            kept.pathless += 1
            continue
        split = split_of(row.split, path.name)
        name = posixpath.normpath(row.path)
        if (before := seen.get(name)) is not None:
            _same(before, (row.label, split), row.path, path)
            kept.repeated += 1
            continue
        try:
            status = os.stat(os.path.join(start, row.path))  # noqa: PTH116, PTH118 - a Path for each row is slow
            found = stat.S_ISREG(status.st_mode)
        except (OSError, ValueError):
            found = False
        if not found:
            kept.missing.append(row.path)
            continue
        seen[name] = (row.label, split)
        kept.ids.append(name)
        kept.sources.append(row.path)
        kept.labels.append(row.label)
        kept.splits.append(split)
        kept.sizes.append(status.st_size)
        kept.mtimes.append(status.st_mtime_ns)
    if not kept.ids:
        raise DataError(_nothing(kept, reader, path))
    return kept


def _same(before: tuple[str, Split], now: tuple[str, Split], image: str, path: Path) -> None:
    if before[0] != now[0]:
        raise DataError(
            f"{path.name} gives {image!r} two labels, {before[0]!r} and {now[0]!r}: keep one, "
            "since an image has a single label here."
        )
    if before[1] != now[1]:
        raise DataError(f"{path.name} puts {image!r} into two splits, {before[1]!r} and {now[1]!r}: keep one.")


def _nothing(kept: _Kept, reader: FileReader, path: Path) -> str:
    if kept.missing:
        return (
            f"none of the {len(kept.missing)} images of {path.name} are there (such as {kept.missing[0]!r}): "
            f"write paths that start from {reader.root}, or absolute ones (in Python, root names another folder)."
        )
    return f"{path.name} has no rows: write one image per row."


def _whole_numbers(rows: list[Row]) -> list[Row]:
    """Labels as they were meant: numbers that a table program turned into 3.0 are 3 again; -1 is no label."""
    labels = {row.label for row in rows} - {""}
    as_written = all(not _FLOAT.fullmatch(label) for label in labels)
    if not as_written and all(_FLOAT.fullmatch(label) or label.lstrip("-").isdecimal() for label in labels):
        rows = [Row(row.path, _FLOAT.sub(r"\1", row.label), row.split) for row in rows]
    return [Row(r.path, "" if r.label == "-1" or is_unlabeled(r.label) else r.label, r.split) for r in rows]


def read_table(path: Path) -> list[Row]:
    """Rows of a CSV, TSV or Parquet table.

    Raises:
        DataError: damaged, not UTF-8, or no column with a path.
    """
    header, columns = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    known = {title.strip().casefold(): i for i, title in reversed(list(enumerate(header)))}
    place = {what: next((known[n] for n in names if n in known), None) for what, names in COLUMNS.items()}
    if (paths := place["path"]) is None:
        raise DataError(
            f"{path.name} has no column for the image's path, only {quoted(header, 6)}: "
            "call it 'path', and the others 'label' and 'split'; a first line with these titles is needed."
        )
    blank = [""] * len(columns[paths])
    labels = blank if place["label"] is None else columns[place["label"]]
    splits = blank if place["split"] is None else columns[place["split"]]
    return [Row(p, la.strip(), s.strip()) for p, la, s in zip(columns[paths], labels, splits, strict=True)]


def _csv(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            first = stream.readline()
            stream.seek(0)
            rows = list(csv.reader(stream, delimiter=_delimiter(path, first), strict=True))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: save it as UTF-8.") from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{path} can't be read as a table ({error}): save it again as CSV.") from error
    if not rows:
        raise DataError(f"{path.name} is empty: write a first line with the titles path,label and one image per row.")
    header, body = rows[0], [row for row in rows[1:] if row]
    for number, row in enumerate(body, 1):
        if len(row) != len(header):
            raise DataError(
                f"row {number} of {path.name} has {len(row)} fields but the titles are {len(header)}: "
                "put fields with commas or line breaks into double quotes."
            )
    return header, [list(column) for column in zip(*body, strict=True)] if body else [[] for _ in header]


def _delimiter(path: Path, first: str) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    return max((",", ";", "\t"), key=first.count)


def _parquet(path: Path) -> tuple[list[str], list[list[str]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = {name for names in COLUMNS.values() for name in names}
    try:
        with pq.ParquetFile(path) as file:
            header = list(file.schema_arrow.names)
            used = [title for title in header if title.strip().casefold() in wanted]
            table = file.read(columns=used)
    except (pa.ArrowException, OSError) as error:
        why = str(error).splitlines()[0].rstrip(".")
        raise DataError(f"{path} can't be read as a Parquet table ({why}): write it again.") from error
    texts = [[_cell(value) for value in column.to_pylist()] for column in table.columns]
    return (used, texts) if used else (header, [[] for _ in header])


def _cell(value: object) -> str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


def read_list(path: Path) -> list[Row]:
    """Rows of a "path label" list.

    Raises:
        DataError: missing, or not UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            text = stream.read()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: save it as UTF-8.") from error
    except OSError as error:
        raise DataError(f"{path} can't be read ({error.strerror}).") from error
    return [parse_line(line) for line in text.replace("\r\n", "\n").split("\n") if line.strip()]


def parse_line(line: str) -> Row:
    """One line of a list: tabs decide if there are any, else the last image extension, else the last white space."""
    if "\t" in line:
        path, label, *rest = [part.strip(" ") for part in line.split("\t")]
        return Row(path, label, rest[0] if rest else "")
    line = line.strip()
    if os.path.splitext(line)[1].lower() in EXTENSIONS:  # noqa: PTH122 - text, not yet a path
        return Row(line)
    if match := _AFTER_NAME.match(line):
        return Row(match[1], match[2].strip())
    path, _, label = line.rpartition(" ")
    return Row(path.strip(), label) if path else Row(line)
