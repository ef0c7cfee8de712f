"""Data sets inside the package: real handwritten digits and rendered shapes, 32x32, no download.

Both are computed, not stored, in exact integer arithmetic: equal bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from clipwright.assets.datasets.digits import load_digits
from clipwright.assets.datasets.embedded import EmbeddedData
from clipwright.assets.datasets.shapes import load_shapes
from clipwright.core.errors import DataError

__all__ = ["EmbeddedData", "load", "names"]

_LOADERS: dict[str, Callable[[], EmbeddedData]] = {"digits": load_digits, "shapes": load_shapes}


def names() -> tuple[str, ...]:
    """Names of the embedded data sets."""
    return tuple(_LOADERS)


@cache
def load(name: str) -> EmbeddedData:
    """Make an embedded data set; takes about a second, and nothing the second time in a process.

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
