"""Captions of images and of groups: what `clipwright caption` wrote, read by `read_captions`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from clipwright.core.errors import DataError, FormatError
from clipwright.core.journal import Journal
from clipwright.core.spelling import match_key
from clipwright.data.names import quoted
from clipwright.synthetic.caption_groups import Group, read_groups

FILE, IDS, JOURNALS, TABLE = "captions.json", "images.json", "journal*.jsonl", "captions.parquet"
FORMAT = 1
IMAGE, GROUP, CAPTION = "image", "group", "caption"  # events of the journal

Flag = Literal["", "empty", "truncated"]
Row = dict[str, Any]


@dataclass(frozen=True)
class Caption:
    """What was said of an image or a group.

    Attributes:
        text: on one line; may be empty.
        finish: why it ended: ``stop``, or ``length`` where it was cut off at the limit of tokens.
        prompt: what was asked; empty where the captioner isn't asked.
        key: hash of everything that it follows from.
    """

    text: str
    finish: str = "stop"
    prompt: str = ""
    key: str = ""

    @property
    def flag(self) -> Flag:
        """Why it may be of no use, or nothing."""
        if not self.text:
            return "empty"
        return "truncated" if self.finish == "length" else ""


@dataclass(frozen=True)
class GroupCaption:
    """A group and what was said of it.

    Attributes:
        group: class, number and members.
        caption: None where it is missing.
    """

    group: Group
    caption: Caption | None


@dataclass(frozen=True)
class Captions:
    """Captions of a data set's training images and of groups of them.

    Attributes:
        class_names: C names, which the groups' classes index.
        settings: JSON: captioner, view, prompts.
        ids: all images that captions were wanted of.
        images: caption by image id, where there is one.
        problems: why an image has none, by id, where that is known.
        groups: every group of the manifest, by class and number.
    """

    class_names: tuple[str, ...]
    settings: Mapping[str, Any]
    ids: tuple[str, ...]
    images: Mapping[str, Caption]
    problems: Mapping[str, str]
    groups: tuple[GroupCaption, ...]

    def text(self, image_id: str) -> str | None:
        """The caption of an image, or None where it is missing or empty."""
        caption = self.images.get(image_id)
        return caption.text if caption is not None and caption.text else None

    def texts(self, image_ids: Iterable[str]) -> list[str | None]:
        """Captions of images in the order given, None where one is missing or empty."""
        return [self.text(name) for name in image_ids]

    def group_texts(self, class_name: str) -> list[str]:
        """Captions of a class's groups, those that are missing or empty left out; none where it has no group.

        Underscores, case, dashes and Unicode form of the name don't matter.

        Raises:
            DataError: there is no such class.
        """
        number = self._numbers.get(class_name, self._numbers.get(match_key(class_name)))
        if number is None:
            raise DataError(
                f"these captions know no class {class_name!r}: their classes are {quoted(self.class_names)}."
            )
        return self._by_class[number]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        loosely = {match_key(name): i for i, name in enumerate(self.class_names)}
        return loosely | {name: i for i, name in enumerate(self.class_names)}

    @cached_property
    def _by_class(self) -> list[list[str]]:
        found: list[list[str]] = [[] for _ in self.class_names]
        for entry in self.groups:
            if entry.caption is not None and entry.caption.text:
                found[entry.group.class_index].append(entry.caption.text)
        return found

    @property
    def missing(self) -> list[str]:
        """Ids of images without a caption."""
        return [name for name in self.ids if name not in self.images]

    @property
    def missing_groups(self) -> list[Group]:
        """Groups without a caption."""
        return [entry.group for entry in self.groups if entry.caption is None]

    @property
    def classes_without_groups(self) -> list[str]:
        """Names of classes that no image was taken for, or whose groups have no caption yet."""
        return [name for name, texts in zip(self.class_names, self._by_class, strict=True) if not texts]

    def flagged(self, flag: Flag) -> list[str]:
        """Ids of images, and ``class/number`` of groups, whose caption is ``empty`` or ``truncated``."""
        found = [name for name in self.ids if name in self.images and self.images[name].flag == flag]
        return found + [e.group.id for e in self.groups if e.caption is not None and e.caption.flag == flag]


def is_captions(folder: str | Path) -> bool:
    """Whether `clipwright caption` wrote a folder."""
    return (Path(folder) / FILE).is_file()


def read_captions(folder: str | Path) -> Captions:
    """Read what `clipwright caption` wrote, whether the run has ended or not.

    Journals count before the table, which is made of them.

    Raises:
        FormatError: no such folder, damaged, or newer than this clipwright.
    """
    root = Path(folder).expanduser()
    about = read_about(root)
    groups = (read_groups(root) or ((), {}))[0]
    names = about["class_names"]
    if any(not 0 <= group.class_index < len(names) for group in groups):
        raise FormatError(f"{root} is damaged: its groups don't fit its classes; caption again with --overwrite.")
    ids = read_ids(root)
    rows = read_rows(root)
    captions = {row["key"]: caption_of(row) for row in rows.captions.values()}
    images, problems = {}, {}
    for name in ids:
        row = rows.images.get(name, {})
        if (caption := captions.get(str(row.get("key")))) is not None:
            images[name] = caption
        elif row.get("problem"):
            problems[name] = str(row["problem"])
    found = tuple(GroupCaption(group, captions.get(rows.key_of(group))) for group in groups)
    return Captions(tuple(names), about["settings"], ids, images, problems, found)


def caption_of(row: Row) -> Caption:
    """The caption that a row holds."""
    return Caption(str(row["text"]), str(row.get("finish", "stop")), str(row.get("prompt", "")), str(row["key"]))


def read_about(root: Path) -> Row:
    """What ``captions.json`` says: ``class_names`` and ``settings``.

    Raises:
        FormatError: missing, damaged, or newer than this clipwright.
    """
    path = root / FILE
    if not path.is_file():
        raise FormatError(f"{root} holds no captions: 'clipwright caption' writes them.")
    value = _json(path)
    names, settings = value.get("class_names"), value.get("settings")
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names) or not isinstance(settings, dict):
        raise FormatError(f"{path} is damaged: caption again with --overwrite.")
    return value


def read_ids(root: Path) -> tuple[str, ...]:
    """Ids of all images that captions are wanted of; none where no run has got so far.

    Raises:
        FormatError: damaged, or newer than this clipwright.
    """
    if not (root / IDS).is_file():
        return ()
    ids = _json(root / IDS).get("ids")
    if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
        raise FormatError(f"{root / IDS} is damaged: run the same 'clipwright caption' again.")
    return tuple(ids)


def _json(path: Path) -> Row:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path} is damaged ({type(error).__name__}): caption again with --overwrite.") from error
    if not isinstance(value, dict) or not isinstance(value.get("format"), int):
        raise FormatError(f"{path} is damaged: caption again with --overwrite.")
    if value["format"] > FORMAT:
        raise FormatError(f"{path} was written by a newer clipwright (format {value['format']}): update this one.")
    return value


@dataclass(frozen=True)
class Rows:
    """What journals say, the latest row of each thing.

    Attributes:
        images: by id: content, key, or why there is none.
        groups: by members and class: key.
        captions: by key.
    """

    images: dict[str, Row]
    groups: dict[tuple[str, ...], Row]
    captions: dict[str, Row]

    def key_of(self, group: Group) -> str:
        """The key of a group's caption, or nothing."""
        return str(self.groups.get((str(group.class_index), *group.members), {}).get("key", ""))


def read_rows(root: Path) -> Rows:
    """The rows of the table and of all journals, which may hold only what came later; what isn't whole is passed over.

    Raises:
        FormatError: there are no journals and the table is damaged.
    """
    found = Rows({}, {}, {})
    journals = sorted(root.glob(JOURNALS))
    try:
        table = _from_table(root / TABLE)
    except FormatError:
        if not journals:
            raise
        table = []
    for row in table:
        take(found, row)
    for journal in journals:
        for row in Journal(journal).rows():
            take(found, row)
    return found


def take(found: Rows, row: Row) -> None:
    """Let a row of a journal count, unless a later one of the same thing does."""
    event = row.get("event")
    if event == CAPTION and isinstance(row.get("key"), str) and isinstance(row.get("text"), str):
        _later(found.captions, row["key"], row)
    elif event == IMAGE and isinstance(row.get("id"), str):
        _later(found.images, row["id"], row)
    elif event == GROUP and isinstance(row.get("members"), list):
        _later(found.groups, (str(row.get("class_index")), *map(str, row["members"])), row)


def _later(table: dict[Any, Row], key: Any, row: Row) -> None:
    if str(row.get("date", "")) >= str(table.get(key, {}).get("date", "")):
        table[key] = row


def _from_table(path: Path) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        return []
    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{path} is damaged: copy the journals beside it, or caption again.") from error
    found: list[Row] = []
    for row in rows:
        said = {name: value for name, value in row.items() if value is not None}
        event = GROUP if said.get("kind") == GROUP else IMAGE
        found.append({**said, "event": event})
        if "text" in said:
            found.append({**said, "event": CAPTION})
    return found


COLUMNS: Mapping[str, str] = {
    **dict.fromkeys(("kind", "id", "class"), "string"),
    "class_index": "int32",
    "number": "int32",
    "members": "strings",
    **dict.fromkeys(("text", "finish", "flag", "problem", "prompt", "answered_by", "key", "content"), "string"),
    **dict.fromkeys(("size", "mtime_ns"), "int64"),
    "date": "string",
}
"""Columns of the table; ``strings`` is a list of texts."""


def table_bytes(captions: Captions, rows: Rows) -> bytes:
    """A Parquet file with a row for each image and group, captioned or not."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    flat = [_flat({"kind": IMAGE, **rows.images.get(name, {}), "id": name}, rows) for name in captions.ids]
    for entry in captions.groups:
        group = entry.group
        row = {"kind": GROUP, "id": group.id, "key": rows.key_of(group), "number": group.number}
        row |= {"class_index": group.class_index, "class": captions.class_names[group.class_index]}
        flat.append(_flat({**row, "members": list(group.members)}, rows))
    kinds: dict[str, Any] = {"string": pa.string(), "int32": pa.int32(), "int64": pa.int64()}
    kinds["strings"] = pa.list_(pa.string())
    columns = {name: pa.array([row.get(name) for row in flat], kinds[kind]) for name, kind in COLUMNS.items()}
    stream = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), stream)
    return bytes(stream.getvalue())


def _flat(row: Row, rows: Rows) -> Row:
    said = rows.captions.get(str(row.get("key")))
    if said is None:
        return row
    row = {name: value for name, value in row.items() if name != "problem"}
    return {**row, **{k: v for k, v in said.items() if k in COLUMNS and k != "kind"}, "flag": caption_of(said).flag}
