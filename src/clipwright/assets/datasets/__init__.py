"""Data sets inside the package: real handwritten digits, and rendered characters and shapes, 32x32, no download.

All are computed, not stored, in exact integer arithmetic, printed characters from stored glyphs: equal bytes on every
machine.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from clipwright.assets.datasets.coloured import load_coloured
from clipwright.assets.datasets.digits import load_digits
from clipwright.assets.datasets.embedded import EmbeddedData
from clipwright.assets.datasets.knowledge import Knowledge, knowledge
from clipwright.assets.datasets.letters import load_letters
from clipwright.assets.datasets.prints import load_prints
from clipwright.assets.datasets.shapes import load_shapes
from clipwright.assets.datasets.sketch import load_sketch
from clipwright.assets.datasets.stipple import load_stipple
from clipwright.core.errors import DataError

__all__ = ["EmbeddedData", "Knowledge", "knowledge", "load", "names"]

_LOADERS: dict[str, Callable[[], EmbeddedData]] = {
    "digits": load_digits,
    "shapes": load_shapes,
    "digits-print": load_prints,
    "letters": load_letters,
    "shapes-sketch": load_sketch,
    "shapes-stipple": load_stipple,
    "shapes-colour": load_coloured,
}


def names() -> tuple[str, ...]:
    """Names of the embedded data sets."""
    return tuple(_LOADERS)


@cache
def load(name: str) -> EmbeddedData:
    """Find an embedded data set; its images are made when first asked for, in a second or two, and kept.

    Args:
        name: One of `names()`.

    Returns:
        Images, labels, split, class names, and where they come from.

    Raises:
        DataError: There is no such data set.
    """
    if name not in _LOADERS:
        raise DataError(f"There is no embedded data set {name!r}; choose from {', '.join(names())}.")
    return _LOADERS[name]()
