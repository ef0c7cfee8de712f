"""Masks of everything that can be drawn, made once: training composes thousands of images a second from them.

Printed characters come from the faces that matplotlib ships (DejaVu, STIX, Computer Modern), so that no font has to
be installed; handwritten ones from `strokes`, shapes from `outlines`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clipwright.assets.renderer import outlines, strokes
from clipwright.assets.renderer.counter import mix, uniform
from clipwright.core.errors import DataError

SIZE = 40
"""Pixels per side of a mask; the drawing keeps a margin, so that turning it doesn't cut it."""

DIGITS: tuple[str, ...] = tuple("0123456789")
LETTERS: tuple[str, ...] = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
NOUNS: tuple[str, ...] = DIGITS + LETTERS + outlines.SHAPES
"""Everything that can be drawn; an image's noun is an index into this."""

MEDIA: tuple[str, ...] = ("drawn", "printed", "handwritten")
"""How a mask was made: shapes are drawn, characters printed (a font) or handwritten (pen strokes)."""

FACES: tuple[str, ...] = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmr10", "cmb10", "cmss10", "cmtt10", "cmti10"),
)
"""Faces in matplotlib's data folder; their licences: Bitstream Vera (DejaVu), STIX Font License, BaKoMa (cm*)."""


@dataclass(frozen=True)
class Atlas:
    """Masks with what they show.

    Attributes:
        masks: (M, SIZE, SIZE) uint8 ink, 0 to 255.
        noun: (M,) int64 index into `NOUNS`.
        medium: (M,) int64 index into `MEDIA`.
    """

    masks: NDArray[np.uint8]
    noun: NDArray[np.int64]
    medium: NDArray[np.int64]


def _printed(face: str, character: str) -> NDArray[np.uint8]:
    """One character of a font, its ink box scaled to 0.8 of the mask's side."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face}.ttf"
    canvas = Image.new("L", (160, 160))
    ImageDraw.Draw(canvas).text((30, 20), character, fill=255, font=ImageFont.truetype(str(path), 96))
    box = canvas.getbbox()
    if box is None:
        raise DataError(f"The face {face} has no glyph for {character!r}; use matplotlib 3.10 or later.")
    ink = canvas.crop(box)
    scale = 0.8 * SIZE / max(ink.size)
    ink = ink.resize((max(1, round(ink.width * scale)), max(1, round(ink.height * scale))), Image.Resampling.BOX)
    mask = Image.new("L", (SIZE, SIZE))
    mask.paste(ink, ((SIZE - ink.width) // 2, (SIZE - ink.height) // 2))
    return np.asarray(mask, dtype=np.uint8)


def _shape(name: str, form: float) -> NDArray[np.uint8]:
    """One shape, filling 0.8 of the mask's side."""
    x, y = outlines.grid(SIZE, 4)
    counted = outlines.coverage(outlines.inside(name, x * 1.25, y * 1.25, form), 4)
    return np.asarray(counted * 255 // 16, dtype=np.uint8)


def build(seed: int, *, hands: int = 16, forms: int = 6) -> Atlas:
    """Draw every mask.

    Args:
        seed: Of the handwriting's unsteadiness.
        hands: Handwritten masks per character and form.
        forms: Masks per shape, its proportions at equal steps.

    Returns:
        An atlas of a few thousand masks, ordered by noun.
    """
    masks: list[NDArray[np.uint8]] = []
    kinds: list[tuple[int, int]] = []
    for noun, name in enumerate(NOUNS):
        if name in outlines.SHAPES:
            drawn = [_shape(name, (i + 0.5) / forms) for i in range(forms)]
            masks += drawn
            kinds += [(noun, 0)] * len(drawn)
            continue
        masks += [_printed(face, name) for face in FACES]
        kinds += [(noun, 1)] * len(FACES)
        hand_count = hands * len(strokes.FORMS[name])
        for hand in range(hand_count):
            key = mix(seed, noun, hand)
            u = uniform(key, np.arange(2))
            pen = 0.035 + 0.065 * float(u[0])
            shake = 0.02 + 0.07 * float(u[1])
            masks.append(strokes.draw(name, form=hand, seed=key, shake=shake, pen=pen, size=SIZE))
        kinds += [(noun, 2)] * hand_count
    table = np.array(kinds, dtype=np.int64)
    return Atlas(np.stack(masks), table[:, 0].copy(), table[:, 1].copy())
