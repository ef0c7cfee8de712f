"""The names that people give to the parts of a data set."""

from __future__ import annotations

from clipwright.core.errors import DataError
from clipwright.data.dataset import Split

ALIASES: dict[str, Split] = {
    "": "",
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "generated": "generated",
}
FOLDERS = frozenset(ALIASES) - {"", "dev", "generated"}  # as folder names; the others may well be something else


def split_of(name: str, where: str) -> Split:
    """The split that a cell means.

    Raises:
        DataError: no known name.
    """
    try:
        return ALIASES[name.strip().casefold()]
    except KeyError:
        known = "train, val, test or generated"
        raise DataError(f"{where} has the split {name!r}: use {known}, or leave it empty.") from None
