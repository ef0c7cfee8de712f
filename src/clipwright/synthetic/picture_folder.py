"""The folder that generated images go to: one file and one row of the manifest for each, nothing made twice."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from clipwright.core.atomic import write_bytes, write_json
from clipwright.core.errors import DataError, UsageError
from clipwright.core.hashing import digest_file, digest_json
from clipwright.core.journal import Journal
from clipwright.data.generated import (
    BLOCKED,
    FILE,
    JOURNALS,
    MADE,
    SCORED,
    TABLE,
    Generated,
    Row,
    is_generated,
    read_generated,
    read_manifest,
    table_bytes,
)
from clipwright.data.images import decode
from clipwright.engine.partition import Shard, check_alone

_KEY = "clipwright"  # the text of a PNG file that says which image it is
_SLUG = 40  # letters of a class name that a folder's name has
_NO_LETTERS = re.compile(r"[^a-z0-9]+")


def slug(name: str) -> str:
    """A class name as part of a folder's name on any system: lower-case ASCII letters, digits and dashes.

    Accents are left out; a name without a Latin letter or digit is ``class``.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return _NO_LETTERS.sub("-", plain).strip("-")[:_SLUG].rstrip("-") or "class"


def folder_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """Folders of the classes: number and slug, such as ``003-great-grey-owl``; unique whatever the names are."""
    width = max(3, len(str(len(class_names) - 1)))
    return tuple(f"{number:0{width}d}-{slug(name)}" for number, name in enumerate(class_names))


class PictureFolder:
    """A folder of generated images, open for writing.

    Args:
        root: where it lies, or will.
        about: classes and settings of this run.
        shard: (I, N); each part keeps a journal of its own, so that several may write at a time.
        overwrite: remove what another run made there.

    Raises:
        UsageError: the folder holds images of other classes or settings, and `overwrite` is false; or one of several
            parts would remove what there is.
    """

    def __init__(self, root: Path, about: Generated, *, shard: Shard = (1, 1), overwrite: bool = False) -> None:
        self.root, self.about = root, about
        part, parts = shard
        self._journal = Journal(root / ("manifest.jsonl" if parts == 1 else f"manifest-{part}of{parts}.jsonl"))
        if overwrite and is_generated(root):
            check_alone(root, shard)
            self._remove()
        elif is_generated(root):
            _same(read_generated(root), about, root)
        if not is_generated(root):
            write_json(root / FILE, about.as_json())
        self._rows = {row["path"]: row for row in read_manifest(root)}

    @property
    def rows(self) -> list[Row]:
        """The manifest, by class and number."""
        return sorted(self._rows.values(), key=lambda row: (row["class_id"], row["index"]))

    def _remove(self) -> None:
        rows = read_manifest(self.root)
        for row in rows:
            (self.root / row["path"]).unlink(missing_ok=True)
        for folder in {self.root / row["path"].split("/")[0] for row in rows}:
            with suppress(OSError):  # something else is in it
                folder.rmdir()
        for path in (*self.root.glob(JOURNALS), self.root / TABLE, self.root / FILE):
            path.unlink(missing_ok=True)

    def path(self, class_index: int, index: int) -> str:
        """Where an image goes, below the root."""
        return f"{self.about.folders[class_index]}/{index:06d}.png"

    def has(self, path: str, identity: Row, *, adopt: bool = True) -> bool:
        """Whether an image was made as `identity` says, or blocked, or dropped and deleted, and its file is whole.

        A whole file that a killed run left without a row gets its row, if `adopt`.
        """
        row = self._rows.get(path)
        if row is not None and all(row.get(key) == value for key, value in identity.items()):
            if row["status"] == BLOCKED or row.get("deleted"):
                return True
            with suppress(OSError):
                if digest_file(self.root / path) == row.get("sha256"):
                    return True
        return row is None and adopt and self._adopt(path, identity)

    def _adopt(self, path: str, identity: Row) -> bool:
        """Write the row of a file that a killed run finished, if it is the image that is meant."""
        try:
            data = (self.root / path).read_bytes()
            with Image.open(io.BytesIO(data)) as image:
                said = image.info.get(_KEY, "")
            decode(data)
        except (OSError, ValueError, SyntaxError, DataError):
            return False
        attempt = said.removeprefix(_name(identity) + " ") if isinstance(said, str) else ""
        seed, _, number = attempt.partition(" ")
        if not (seed.isdecimal() and number.isdecimal()):
            return False
        self._append(path, identity, {"status": MADE, "seed": int(seed), "attempt": int(number), **_content(data)})
        return True

    def write(self, path: str, identity: Row, image: Image.Image, *, seed: int, attempt: int, size: int) -> None:
        """Save an image, then its row; both are on disk when this returns.

        Raises:
            DiskFullError: what is finished is kept.
        """
        data = png_bytes(image, size, f"{_name(identity)} {seed} {attempt}")
        write_bytes(self.root / path, data)
        self._append(path, identity, {"status": MADE, "seed": seed, "attempt": attempt, **_content(data)})

    def block(self, path: str, identity: Row, reason: str, *, seed: int, attempt: int) -> None:
        """Record that a safety filter held an image back."""
        (self.root / path).unlink(missing_ok=True)
        self._append(path, identity, {"status": BLOCKED, "reason": reason, "seed": seed, "attempt": attempt})

    def _append(self, path: str, identity: Row, outcome: Row) -> None:
        date = datetime.now(UTC).isoformat(timespec="seconds")
        row = {"event": outcome["status"], "path": path, **identity, **outcome, "date": date}
        self._journal.append(row)
        self._rows[path] = row

    def score(self, scored: Iterable[Row]) -> None:
        """Record scores and verdicts; each names its image by ``path`` and ``sha256``."""
        rows = [{"event": SCORED, **row} for row in scored]
        if rows:
            self._journal.extend(rows)
            self.reread()

    def compact(self) -> None:
        """Write the manifest as a table, for other programs, with the rows that other parts have written so far."""
        self.reread()
        write_bytes(self.root / TABLE, table_bytes(self.rows))

    def reread(self) -> None:
        """Look again at what there is: other parts may write at the same time."""
        self._rows = {row["path"]: row for row in read_manifest(self.root)}


def png_bytes(image: Image.Image, size: int, note: str = "") -> bytes:
    """A PNG file of an image's middle square, with a note that tells it from others."""
    said = PngInfo()
    said.add_text(_KEY, note)
    stream = io.BytesIO()
    square(image, size).save(stream, "PNG", pnginfo=said)
    return stream.getvalue()


def square(image: Image.Image, size: int) -> Image.Image:
    """An image as it is saved: its middle square, bicubic to `size` pixels a side."""
    width, height = image.size
    side = min(width, height)
    if width != height:
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    return image if image.width == size else image.resize((size, size), Image.Resampling.BICUBIC)


def _name(identity: Row) -> str:
    return digest_json(identity)[:32]


def _content(data: bytes) -> dict[str, Any]:
    return {"sha256": sha256(data).hexdigest(), "bytes": len(data)}


def _same(before: Generated, now: Generated, root: Path) -> None:
    """Refuse to mix images of different classes or settings."""
    what = None
    if before.class_names != now.class_names:
        what = "classes"
    elif before.settings != now.settings:
        keys = [key for key in {**now.settings, **before.settings} if before.settings.get(key) != now.settings.get(key)]
        what = f"settings ({keys[0]}: {before.settings.get(keys[0])!r}, now {now.settings.get(keys[0])!r})"
    elif (before.prompt_names, before.templates) != (now.prompt_names, now.templates):
        what = "prompts"
    if what is not None:
        raise UsageError(
            f"{root} holds images of other {what}: generate into another folder, or give --overwrite to remove them."
        )
