"""Real handwritten digits: the 8x8 images that scikit-learn ships, enlarged, with a fixed split.

The split was made before anything was trained: in each class, in file order, every second image is in the test part.
Development of the embedded model looked at the other half ("train") only, and trained on neither. Neighbouring images
often come from one writer, who is then in both parts: the split measures new images, not new writers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipwright.assets.datasets.embedded import EmbeddedData

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEMPLATES = (
    "a photo of the handwritten digit {}.",
    "a handwritten digit {}.",
    "an image of the number {}.",
    "the digit {}.",
    "a picture of the digit {} written by hand.",
)

_SCALE = 3
_MARGIN = 4
# Catmull-Rom weights of the five nearest cells for sub-pixels at -1/3, 0 and 1/3 of a cell, times 27: integers, so
# enlarging is exact.
_WEIGHTS = np.array([[-1, 9, 21, -2, 0], [0, 0, 27, 0, 0], [0, -2, 21, 9, -1]], dtype=np.int64)


def is_test(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The split rule: within each class, rows 1, 3, 5, ... in file order are test rows.

    Args:
        labels: (n,) class of each row.

    Returns:
        (n,) booleans.
    """
    test = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        test[np.flatnonzero(labels == label)[1::2]] = True
    return test


def enlarge(images: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Enlarge 8x8 images threefold by cubic interpolation and put them on a black 32x32 ground.

    Args:
        images: (n, 8, 8) integers in [0, 16], 16 is ink.

    Returns:
        (n, 32, 32, 3) uint8, white ink on black.
    """
    side = images.shape[1]
    matrix = np.zeros((side * _SCALE, side + 4), dtype=np.int64)
    for cell in range(side):
        matrix[_SCALE * cell : _SCALE * (cell + 1), cell : cell + 5] = _WEIGHTS
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    total = np.einsum("ij,njk,lk->nil", matrix, padded, matrix)
    whole = 16 * 27 * 27
    gray = np.clip((2 * 255 * total + whole) // (2 * whole), 0, 255).astype(np.uint8)
    framed = np.pad(gray, ((0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN)))
    return np.repeat(framed[..., None], 3, axis=-1)


def load_digits() -> EmbeddedData:
    """Make the data set `digits`: 1,797 images, ten classes, 901 to train and 896 to test."""
    from sklearn.datasets import load_digits as scikit_learn_digits

    bunch = scikit_learn_digits()
    labels = bunch.target.astype(np.int64)
    test = is_test(labels)
    return EmbeddedData(
        name="digits",
        class_names=NAMES,
        pixels=lambda: enlarge(bunch.images.astype(np.int64)),
        labels=labels,
        split=tuple("test" if flag else "train" for flag in test),
        templates=TEMPLATES,
        description=(
            "Handwritten digits of 13 people, 8x8 pixels, enlarged threefold by cubic interpolation and framed in "
            "black; every second image of a class is a test image."
        ),
        source="Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak, UCI 1998), as in scikit-learn",
        licence="CC BY 4.0",
    )
