"""Folders of generated images: `clipwright generate` writes them, `open_data` reads them.

Such a folder holds ``generated.json`` (which classes there are, in order), a manifest of JSON lines, one for each image
and one more whenever an image is scored, and a folder of images for each class. A label is the number that the manifest
gives, whatever folders are called and however their names sort.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clipwright.core.errors import DataError, FormatError
from clipwright.core.journal import Journal
from clipwright.data.checks import notes_of
from clipwright.data.dataset import SPLITS, Dataset, manifest, split_array
from clipwright.data.images import FileReader
from clipwright.data.names import ClassList, counted, quoted, rename

FILE, JOURNALS, TABLE = "generated.json", "manifest*.jsonl", "manifest.parquet"
FORMAT = 1
MADE, BLOCKED, SCORED = "made", "blocked", "scored"
COLUMNS = (
    "path",
    "class_id",
    "class",
    "index",
    "status",
    "prompt",
    "seed",
    "attempt",
    "model",
    "sha256",
    "bytes",
    "date",
)
"""Columns of the table that everything generated has; ``settings`` (JSON) and scores come after them."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Generated:
    """What ``generated.json`` says.

    Attributes:
        class_names: C names, by class number.
        prompt_names: C names as prompts say them; may repeat.
        folders: C names of folders.
        templates: what prompts were made from; may be empty.
        settings: JSON: what made the images.
    """

    class_names: tuple[str, ...]
    prompt_names: tuple[str, ...]
    folders: tuple[str, ...]
    templates: tuple[str, ...]
    settings: Row

    def as_json(self) -> Row:
        """The content of the file."""
        return {
            "format": FORMAT,
            "class_names": list(self.class_names),
            "prompt_names": list(self.prompt_names),
            "folders": list(self.folders),
            "templates": list(self.templates),
            "settings": self.settings,
        }


def is_generated(folder: Path) -> bool:
    """Whether `clipwright generate` wrote a folder."""
    return (folder / FILE).is_file()


def read_generated(folder: Path) -> Generated:
    """The classes and settings of a folder of generated images.

    Raises:
        FormatError: damaged, or newer than this clipwright.
    """
    path = folder / FILE
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(value, dict) and isinstance(value.get("format"), int) and value["format"] > FORMAT:
            raise FormatError(f"{path} was written by a newer clipwright (format {value['format']}): update this one.")
        names, spoken, folders, templates = (
            _texts(value[key]) for key in ("class_names", "prompt_names", "folders", "templates")
        )
        settings = dict(value["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path} is damaged ({type(error).__name__}): generate into another folder.") from error
    if not len(names) == len(spoken) == len(folders) or not names or len(set(names)) < len(names):
        raise FormatError(f"{path} is damaged: its classes don't fit together; generate into another folder.")
    return Generated(names, spoken, folders, templates, settings)


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise TypeError("no list of texts")
    return tuple(value)


def read_manifest(folder: Path) -> list[Row]:
    """One row for each image that was made or blocked, by class and number, scores and verdicts included.

    Journals count before the table, which is made of them. A row that isn't whole, or whose path leads out of the
    folder, is passed over.

    Raises:
        FormatError: there are no journals and the table is damaged.
    """
    journals = sorted(folder.glob(JOURNALS))
    if not journals and (folder / TABLE).is_file():
        return _from_table(folder / TABLE)
    rows: dict[str, Row] = {}
    scores: dict[tuple[str, str], Row] = {}
    for journal in journals:
        for row in Journal(journal).rows():
            if row.get("event") == SCORED:
                key = (str(row.get("path")), str(row.get("sha256")))
                scores[key] = {**scores.get(key, {}), **{k: v for k, v in row.items() if k != "event"}}
            elif _is_whole(row) and str(row.get("date", "")) >= str(rows.get(row["path"], {}).get("date", "")):
                rows[row["path"]] = row
    for row in rows.values():
        row.update(scores.get((row["path"], str(row.get("sha256"))), {}))
    return sorted(rows.values(), key=lambda row: (row["class_id"], row["index"]))


def _is_whole(row: Row) -> bool:
    path = row.get("path")
    parts = path.split("/") if isinstance(path, str) else []
    numbers = all(type(row.get(key)) is int and row[key] >= 0 for key in ("class_id", "index"))
    return len(parts) == 2 and not {"", ".", ".."} & set(parts) and numbers and row.get("status") in {MADE, BLOCKED}


def _from_table(path: Path) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{path} is damaged: copy the manifest's .jsonl files, or generate again.") from error
    found = [{k: v for k, v in row.items() if v is not None} for row in rows]
    return [{**row, "settings": json.loads(row.get("settings", "{}"))} for row in found if _is_whole(row)]


def table_bytes(rows: Sequence[Row]) -> bytes:
    """A Parquet file of manifest rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    more = [key for row in rows for key in row if key not in {*COLUMNS, "settings"}]
    names = [*COLUMNS, "settings", *dict.fromkeys(more)]
    flat = [{**row, "settings": json.dumps(row.get("settings", {}), sort_keys=True)} for row in rows]
    table = pa.table({name: [row.get(name) for row in flat] for name in names})
    stream = pa.BufferOutputStream()
    pq.write_table(table, stream)
    return bytes(stream.getvalue())


def open_generated(
    root: Path, classes: ClassList | None, *, reader: FileReader, name: str, clean: bool = True, dropped: bool = False
) -> Dataset:
    """The data set of a folder of generated images: those that are there and weren't dropped by a filter.

    All rows are of the split ``generated``.

    Args:
        root: the folder.
        classes: other names for the classes, in the same order, or None.
        reader: reads images below `root`.
        name: what reports call the data.
        clean: whether the names in `classes` are cleaned.
        dropped: whether images that a filter dropped are among them.

    Raises:
        DataError: there is no image.
        FormatError: the folder is damaged, or newer than this clipwright.
    """
    about = read_generated(root)
    rows = read_manifest(root)
    made = [row for row in rows if row["status"] == MADE and row["class_id"] < len(about.class_names)]
    kept = [row for row in made if dropped or row.get("kept", True)]
    there = [(row, status) for row in kept if (status := _status(root / row["path"])) is not None]
    if not there:
        raise DataError(f"{root} holds no generated image yet: run the same 'clipwright generate' again.")
    table = manifest(
        [row["path"] for row, _ in there],
        np.array([row["class_id"] for row, _ in there], dtype=np.int32),
        split_array(np.full(len(there), SPLITS.index("generated"), dtype=np.int8)),
        sizes=np.array([status.st_size for _, status in there], dtype=np.int64),
        mtimes=np.array([status.st_mtime_ns for _, status in there], dtype=np.int64),
    )
    names = rename(about.class_names, classes, clean=clean)
    spoken = about.prompt_names if classes is None and about.prompt_names != about.class_names else ()
    data = Dataset(name, names, table, reader, root=root, templates=about.templates, prompt_names=spoken)
    return data.with_notes(*_notes(rows, made, kept, len(there)), *notes_of(data))


def _status(path: Path) -> os.stat_result | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _notes(rows: Sequence[Row], made: Sequence[Row], kept: Sequence[Row], there: int) -> list[str]:
    notes = []
    if blocked := [row for row in rows if row["status"] == BLOCKED]:
        names = list(dict.fromkeys(str(row.get("class")) for row in blocked))
        notes.append(f"A safety filter blocked {counted(len(blocked), 'generated image')} ({quoted(names)}).")
    if dropped := len(made) - len(kept):
        notes.append(f"Left out {counted(dropped, 'generated image')} that a filter dropped.")
    if lost := len(kept) - there:
        notes.append(f"Skipped {counted(lost, 'generated image')}: no such file.")
    return notes
