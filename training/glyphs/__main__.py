"""Renders the glyphs of twelve faces once: `python -m training.glyphs --fonts FOLDER --out glyphs.npz`.

FOLDER holds the unpacked Debian packages named below (`apt-get download PACKAGE`, `dpkg -x PACKAGE.deb FOLDER`), in any
arrangement. The committed file was made with FreeType 2.14.3 through Pillow 13; another version may move a few gray
levels, which is why the result is stored and pinned instead of being rendered when it is needed.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIZE = 48
INK = 0.8  # the longer side of a glyph's ink box, as a share of SIZE
CHARACTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

FONTS: tuple[tuple[str, str], ...] = (
    ("Lato-Black.ttf", "fonts-lato 2.0-2.1"),
    ("Comfortaa-Bold.ttf", "fonts-comfortaa 3.001-3"),
    ("Inconsolata.otf", "fonts-inconsolata 001.010-6"),
    ("Caladea-Bold.ttf", "fonts-crosextra-caladea 20200211-1"),
    ("BebasNeue-Bold.otf", "fonts-bebas-neue 3.0-2"),
    ("RobotoSlab-Bold.otf", "fonts-roboto-slab 1.100263+20170512-2"),
    ("DSEG14Classic-Bold.ttf", "fonts-dseg 0.46-1"),
    ("ComicNeue-Bold.otf", "fonts-comic-neue 2.51-4"),
    ("LobsterTwo-Bold.otf", "fonts-lobstertwo 2.0-2.1"),
    ("DotGothic16-Regular.ttf", "fonts-dotgothic16 1.000-20210120-2"),
    ("CherryBomb-Regular.otf", "fonts-cherrybomb 3.00+dfsg-2"),
    ("ReggaeOne-Regular.ttf", "fonts-reggae 1.000-20210120-2"),
)
"""Font file, and the Debian 12 package with version; order as in `clipwright.assets.datasets.glyphs.FACES`."""


def render(font: Path, character: str) -> NDArray[np.uint8]:
    """One glyph in sixteen gray levels, its ink box centred.

    Args:
        font: TrueType or OpenType file.
        character: One of `CHARACTERS`.

    Returns:
        (SIZE, SIZE) uint8 ink, multiples of 17.
    """
    from PIL import Image, ImageDraw, ImageFont

    canvas = Image.new("L", (640, 640))
    face = ImageFont.truetype(str(font), 320)
    ImageDraw.Draw(canvas).text((140, 100), character, fill=255, font=face)
    box = canvas.getbbox()
    if box is None:
        raise SystemExit(f"{font} has no glyph for {character!r}.")
    ink = canvas.crop(box)
    scale = INK * SIZE / max(ink.size)
    ink = ink.resize((max(1, round(ink.width * scale)), max(1, round(ink.height * scale))), Image.Resampling.BOX)
    mask = Image.new("L", (SIZE, SIZE))
    mask.paste(ink, ((SIZE - ink.width) // 2, (SIZE - ink.height) // 2))
    levels = (np.asarray(mask, dtype=np.int64) * 15 + 127) // 255
    return np.asarray(levels * 17, dtype=np.uint8)


def main() -> None:
    """Write the file and print its size and SHA-256."""
    parser = argparse.ArgumentParser(prog="python -m training.glyphs", description=__doc__)
    parser.add_argument("--fonts", type=Path, required=True, help="folder with the unpacked packages")
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write")
    options = parser.parse_args()
    masks = []
    for name, package in FONTS:
        found = sorted(options.fonts.rglob(name))
        if not found:
            raise SystemExit(f"{name} is not under {options.fonts}: unpack {package} there.")
        masks.append([render(found[0], character) for character in CHARACTERS])
    np.savez_compressed(options.out, masks=np.array(masks, dtype=np.uint8))
    content = options.out.read_bytes()
    print(len(content), "bytes, SHA-256", hashlib.sha256(content).hexdigest())


if __name__ == "__main__":
    main()
