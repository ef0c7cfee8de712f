"""The folder that captions go to, open for writing: each answer is on disk before it counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from clipwright.core.atomic import write_bytes, write_json
from clipwright.core.errors import DataError, UsageError
from clipwright.core.hashing import digest_json
from clipwright.core.journal import Journal
from clipwright.data.names import quoted
from clipwright.engine.partition import Shard, check_alone
from clipwright.synthetic.caption_groups import FILE as GROUPS
from clipwright.synthetic.caption_groups import Group
from clipwright.synthetic.captions import (
    CAPTION,
    FILE,
    FORMAT,
    GROUP,
    IDS,
    IMAGE,
    JOURNALS,
    TABLE,
    Row,
    is_captions,
    read_about,
    read_captions,
    read_ids,
    read_rows,
    table_bytes,
    take,
)
from clipwright.texts.phrases import tidy


def caption_key(contents: Sequence[str], prompt: str, view: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """What a caption is known by: SHA-256 (hex) of everything that it follows from.

    Args:
        contents: SHA-256 of the bytes of each image that is shown, in order.
        prompt: what is asked; empty where the captioner isn't asked.
        view: how the images are shown.
        settings: of the captioner: model, precision, decoding.
    """
    asked = {"format": FORMAT, "contents": list(contents), "prompt": prompt, "view": dict(view)}
    return digest_json({**asked, "settings": dict(settings)})


class CaptionFolder:
    """A folder of captions; parts that share one each keep a journal of their own.

    Args:
        root: where it lies, or will.
        class_names: C names.
        settings: JSON: what makes the captions.
        shard: (I, N).
        overwrite: remove what another run wrote there.

    Raises:
        UsageError: the folder holds captions by other settings or of other classes, and `overwrite` is false; or one
            of several parts would remove what there is.
    """

    def __init__(
        self,
        root: Path,
        class_names: Sequence[str],
        settings: Mapping[str, Any],
        *,
        shard: Shard = (1, 1),
        overwrite: bool = False,
    ) -> None:
        self.root = root
        part, parts = shard
        self._journal = Journal(root / ("journal.jsonl" if parts == 1 else f"journal-{part}of{parts}.jsonl"))
        if overwrite:
            if any(root.glob(JOURNALS)):
                check_alone(root, shard)
            self._remove()
        elif is_captions(root):
            _same(read_about(root), class_names, settings, root)
        if not is_captions(root):
            about = {"format": FORMAT, "class_names": list(class_names), "settings": dict(settings)}
            write_json(root / FILE, about)
        self.rows = read_rows(root)

    def _remove(self) -> None:
        for path in (*self.root.glob(JOURNALS), *(self.root / name for name in (TABLE, IDS, GROUPS, FILE))):
            path.unlink(missing_ok=True)

    def want(self, ids: Sequence[str]) -> None:
        """Write down which images captions are wanted of, so that what is missing can be told at any time.

        Raises:
            DataError: an id repeats.
        """
        if len(set(ids)) < len(ids):
            seen: set[str] = set()
            again = [name for name in ids if name in seen or seen.add(name)]  # type: ignore[func-returns-value] # None
            raise DataError(f"{quoted(dict.fromkeys(again))} is the id of several images: give each an id of its own.")
        if read_ids(self.root) != tuple(ids):
            write_json(self.root / IDS, {"format": FORMAT, "ids": list(ids)})

    def content(self, name: str, size: int, mtime_ns: int) -> str | None:
        """SHA-256 of an image that was read before and whose file hasn't changed since, or None."""
        row = self.rows.images.get(name, {})
        known = row.get("content")
        same = (row.get("size"), row.get("mtime_ns")) == (size, mtime_ns) and mtime_ns > 0
        return known if same and isinstance(known, str) else None

    def is_known(self, key: str) -> bool:
        """Whether there is a caption under a key."""
        return key in self.rows.captions

    def note_images(self, found: Iterable[Row]) -> None:
        """Record which content and key images have, or why they have none; rows that say nothing new are left out."""
        new = [row for row in found if not _says(self.rows.images.get(row["id"], {}), row)]
        self._append([{"event": IMAGE, **row} for row in new])

    def note_groups(self, keys: Mapping[Group, str]) -> None:
        """Record which key each group's caption has."""
        new = [(group, key) for group, key in keys.items() if self.rows.key_of(group) != key]
        rows = [{"class_index": g.class_index, "members": list(g.members), "key": key} for g, key in new]
        self._append([{"event": GROUP, **row} for row in rows])

    def keep(self, captions: Iterable[Row]) -> None:
        """Record captions; they are on disk when this returns.

        Raises:
            DiskFullError: what came before is kept.
        """
        self._append([{"event": CAPTION, **row} for row in captions])

    def _append(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        date = datetime.now(UTC).isoformat(timespec="milliseconds")
        dated = [{**row, "date": date} for row in rows]
        self._journal.extend(dated)
        for row in dated:
            take(self.rows, row)

    def compact(self) -> None:
        """Write all that there is as a table, for other programs, with what other parts have written so far."""
        self.rows = read_rows(self.root)
        write_bytes(self.root / TABLE, table_bytes(read_captions(self.root), self.rows))


def one_line(text: str) -> str:
    """A caption as it is kept: stripped, on one line, without control characters."""
    return tidy(text.encode("utf-8", "replace").decode())


def _says(before: Row, row: Row) -> bool:
    return all(before.get(name) == value for name, value in row.items()) and bool(before.get("problem")) == bool(
        row.get("problem")
    )


def _same(before: Row, class_names: Sequence[str], settings: Mapping[str, Any], root: Path) -> None:
    """Refuse to mix captions of different classes or settings."""
    what = None
    if before["class_names"] != list(class_names):
        what = "of other classes"
    else:
        old = before["settings"]
        keys = [key for key in {**settings, **old} if old.get(key) != settings.get(key)]
        if keys:
            what = f"by other settings ({keys[0]}: {old.get(keys[0])!r}, now {settings.get(keys[0])!r})"
    if what is not None:
        raise UsageError(f"{root} holds captions {what}: caption into another folder, or give --overwrite.")
