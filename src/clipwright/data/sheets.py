"""Contact sheets: what a data set looks like, at a glance."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from clipwright.data.embedded import load_embedded

ROWS, COLUMNS = 28, 16
"""At most so many classes, and so many images of each."""

_IMAGES = 168  # at most, in all: keeps a file near 100 kB
_LETTER, _GAP = 11, 4  # pixels: size of a name's letters, and between rows


def classes_shown(count: int) -> tuple[int, ...]:
    """Which classes are on a sheet: all, or as many as there is room for, at equal steps.

    Args:
        count: how many the data set has.
    """
    return tuple(range(count)) if count <= ROWS else tuple(i * count // ROWS for i in range(ROWS))


def contact_sheet(name: str) -> bytes:
    """A contact sheet of an embedded data set: a row for each class, its name, and images of the train part.

    Test images aren't shown, so that whoever looks at a sheet has still not seen them.

    Args:
        name: of an embedded data set.

    Returns:
        A PNG file of 256 colours. Its bytes may change with Pillow's version; the data set's images don't.

    Raises:
        DataError: there is no such data set.
    """
    data = load_embedded(name)
    rows = data.rows("train")
    shown = classes_shown(len(data.class_names))
    side, columns = data.side, min(COLUMNS, _IMAGES // len(shown))
    font = ImageFont.load_default(_LETTER)
    margin = round(max(font.getlength(data.class_names[c]) for c in shown)) + 2 * _GAP
    sheet = Image.new("RGB", (margin + columns * side, len(shown) * (side + _GAP) - _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for place, label in enumerate(shown):
        top = place * (side + _GAP)
        pen.text((_GAP, top + side // 2), data.class_names[label], fill="black", font=font, anchor="lm")
        strip: NDArray[np.uint8] = np.concatenate(list(data.images[rows[data.labels[rows] == label][:columns]]), axis=1)
        sheet.paste(Image.fromarray(strip), (margin, top))
    stream = io.BytesIO()
    sheet.quantize(256, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
    return stream.getvalue()
