"""Printed digits as posters, in faces no training image shows: the source for methods that learn from made images."""

from __future__ import annotations

import numpy as np

from clipwright.assets.datasets import digits, glyphs, poster
from clipwright.assets.datasets.embedded import EmbeddedData
from clipwright.assets.renderer.counter import mix

PER_CLASS = 120
TEMPLATES = (
    "a photo of the printed digit {}.",
    "a printed digit {}.",
    "an image of the number {}.",
    "the digit {}.",
    "a poster of the digit {}.",
)

_SEED = 0x5EED0011


def load_prints() -> EmbeddedData:
    """Make the data set `digits-print`: ten classes, 60 images each to train and to test."""
    labels = np.repeat(np.arange(10, dtype=np.int64), PER_CLASS)
    seeds = [mix(_SEED, c, i) for i, c in enumerate(labels.tolist())]
    return EmbeddedData(
        name="digits-print",
        class_names=digits.NAMES,
        pixels=lambda: poster.draw_many([glyphs.CHARACTERS[c] for c in labels.tolist()], seeds),
        labels=labels,
        split=tuple("test" if i % 2 else "train" for i in range(len(labels))),
        templates=TEMPLATES,
        description="Printed digits as crisp, saturated posters: twelve faces, shadows, glows and rims, upright.",
        source="Drawn by clipwright.assets.datasets.poster from stored glyphs",
        licence=glyphs.LICENCE,
    )
