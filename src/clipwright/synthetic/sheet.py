"""A contact sheet of generated images with their scores: what a model made, at a glance."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from clipwright.core.errors import DataError
from clipwright.data.dataset import UnreadableImageError
from clipwright.data.generated import BLOCKED, Row, read_generated, read_manifest
from clipwright.data.images import FileReader
from clipwright.data.sheets import classes_shown

COLUMNS = 8
SIDE = 72
"""Pixels per side of an image on a sheet."""

_LETTER, _GAP, _NAME = 11, 4, 24  # size of letters, space between images, letters of a name
_DROPPED, _EMPTY = (200, 30, 30), (225, 225, 225)


def score_sheet(root: Path, *, columns: int = COLUMNS) -> bytes:
    """A row for each class with its first images, and below each the confidence that it shows its class.

    Images that a filter dropped have a red frame; blocked, deleted and damaged ones are grey.

    Args:
        root: a folder that `generate` wrote.
        columns: images of a class, at most.

    Returns:
        A PNG file. Its bytes may change with Pillow's version.

    Raises:
        DataError: there is no image yet.
        FormatError: the folder is damaged.
    """
    about, rows = read_generated(root), read_manifest(root)
    if not rows:
        raise DataError(f"{root} holds no generated image yet: run 'clipwright generate' first.")
    shown = classes_shown(len(about.class_names))
    font = ImageFont.load_default(_LETTER)
    names = [_short(about.class_names[c]) for c in shown]
    margin = round(max(font.getlength(name) for name in names)) + 2 * _GAP
    own = {c: [row for row in rows if row["class_id"] == c][:columns] for c in shown}
    width = max(map(len, own.values()))
    line = SIDE + _LETTER + 2 * _GAP
    sheet = Image.new("RGB", (margin + width * (SIDE + _GAP), len(shown) * line), "white")
    pen = ImageDraw.Draw(sheet)
    reader = FileReader(root)
    for place, (number, name) in enumerate(zip(shown, names, strict=True)):
        pen.text((_GAP, place * line + SIDE // 2), name, fill="black", font=font, anchor="lm")
        _strip(sheet, font, own[number], (margin, place * line), reader)
    stream = io.BytesIO()
    sheet.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _strip(
    sheet: Image.Image,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    rows: Sequence[Row],
    start: tuple[int, int],
    reader: FileReader,
) -> None:
    pen = ImageDraw.Draw(sheet)
    for column, row in enumerate(rows):
        left, top = start[0] + column * (SIDE + _GAP), start[1]
        try:
            picture = reader.read(row["path"]).image if row["status"] != BLOCKED else None
        except UnreadableImageError:
            picture = None
        if picture is None:
            pen.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), fill=_EMPTY)
        else:
            sheet.paste(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC), (left, top))
        if not row.get("kept", True):
            pen.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), outline=_DROPPED, width=3)
        said = row["status"] if row["status"] == BLOCKED else _percent(row.get("confidence"))
        pen.text((left + SIDE // 2, top + SIDE + _GAP // 2), said, fill="black", font=font, anchor="mt")


def _percent(value: object) -> str:
    return f"{100 * value:.0f} %" if isinstance(value, float) else ""


def _short(name: str) -> str:
    return name if len(name) <= _NAME else name[: _NAME - 1] + "…"
