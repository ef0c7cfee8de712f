"""Stored glyphs of twelve faces that no training image shows, and the shapes as masks beside them.

The glyphs were rendered once (training/glyphs in the repository) and are pinned: no font and no imaging library is
needed to draw with them, and no version of one can change an image.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clipwright.assets.renderer import outlines
from clipwright.core.errors import DataError

SIZE = 48
"""Pixels per side of a mask; the longer side of what it shows fills `INK` of that."""

INK = 0.8
CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
FORMS = 6
"""Masks of a shape, its proportions in equal steps."""


class Face(NamedTuple):
    """A typeface: its name, what it looks like, whose it is, and under which licence."""

    name: str
    look: str
    copyright: str
    licence: str


FACES: tuple[Face, ...] = (
    Face("Lato Black", "heavy sans serif", "2010-2011 Łukasz Dziedzic", "OFL-1.1"),
    Face("Comfortaa Bold", "rounded", "2008-2017 Johan Aakerlund", "OFL-1.1"),
    Face("Inconsolata", "thin, of equal widths, slashed zero", "2006 Raph Levien", "OFL-1.0"),
    Face("Caladea Bold", "book serif", "2012 The Caladea Project Authors", "OFL-1.1"),
    Face("Bebas Neue Bold", "condensed", "2010 Ryoichi Tsunekawa", "OFL-1.1"),
    Face("Roboto Slab Bold", "slab serif", "2013-2017 Google Inc.", "Apache-2.0"),
    Face("DSEG14 Classic Bold", "fourteen segments", "2017-2020 keshikan", "OFL-1.1"),
    Face("Comic Neue Bold", "like handwriting", "2014-2016 Craig Rozynski", "OFL-1.1"),
    Face("Lobster Two Bold", "script", "2011 Pablo Impallari", "OFL-1.1"),
    Face("DotGothic16", "pixels", "2020 The DotGothic16 Project Authors", "OFL-1.1"),
    Face("Cherry Bomb", "bubbles", "2019-2020 The Cherry Bomb Project Authors", "OFL-1.1"),
    Face("Reggae One", "hand-cut display", "2020 The Reggae Project Authors", "OFL-1.1"),
)
"""None of them, nor a near relative, is among the faces the embedded model was trained with."""

_SEGMENTS = 6  # its capitals are half legible, so that it draws digits only

LICENCE = "Apache-2.0; glyphs of twelve faces: OFL-1.1, OFL-1.0, Apache-2.0 (docs/datasets.md)"


@cache
def characters() -> NDArray[np.uint8]:
    """Masks of all characters in all faces.

    Returns:
        (12, 36, 48, 48) uint8 ink in [0, 255]: face, character of `CHARACTERS`, rows, columns; read-only.
    """
    with (files(__package__) / "glyphs.npz").open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        masks: NDArray[np.uint8] = stored["masks"]
    masks.setflags(write=False)
    return masks


@cache
def shape(name: str) -> NDArray[np.uint8]:
    """Masks of a shape.

    Args:
        name: One of `outlines.SHAPES`.

    Returns:
        (6, 48, 48) uint8 ink in [0, 255], read-only.
    """
    x, y = outlines.grid(SIZE, 4)
    counted = [
        outlines.coverage(outlines.inside(name, x / INK, y / INK, (i + 0.5) / FORMS), 4) * 255 // 16
        for i in range(FORMS)
    ]
    masks = np.array(counted, dtype=np.uint8)
    masks.setflags(write=False)
    return masks


def variants(name: str) -> NDArray[np.uint8]:
    """All masks of a digit, a capital or a shape.

    Args:
        name: A character of `CHARACTERS` or one of `outlines.SHAPES`.

    Returns:
        (12, 11 or 6, 48, 48) uint8: one for each face that draws a digit or a capital well, or for each form.

    Raises:
        DataError: Neither a character nor a shape.
    """
    if name in outlines.SHAPES:
        return shape(name)
    if len(name) != 1 or name not in CHARACTERS:
        raise DataError(f"{name!r} can't be drawn; choose a digit, a capital letter or {', '.join(outlines.SHAPES)}.")
    masks = characters()[:, CHARACTERS.index(name)]
    return masks if name.isdigit() else np.delete(masks, _SEGMENTS, axis=0)
