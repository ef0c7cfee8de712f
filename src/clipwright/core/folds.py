"""Orders and folds of rows that depend on each row's identifier alone, never on where it stands."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipwright.core.errors import DataError
from clipwright.core.rng import Key, generator

Ints = NDArray[np.int64]


def row_keys(ids: Sequence[str], seed: int, *key: Key) -> NDArray[np.uint64]:
    """(n,) random 64-bit numbers, each a function of its row's identifier, the seed and the key alone.

    Sorting rows by them is a shuffle that adding, removing or reordering other rows does not disturb.

    Args:
        ids: n unique identifiers.
        seed: any integer.
        key: what the shuffle is for, such as ``("support", 3)``.
    """
    secret = generator(seed, *key).bytes(32)
    words = b"".join(
        hashlib.blake2b(i.encode("utf-8", "surrogatepass"), key=secret, digest_size=8).digest() for i in ids
    )
    return np.frombuffer(words, dtype="<u8").astype(np.uint64)


def class_order(labels: ArrayLike, keys: NDArray[np.uint64], n_classes: int) -> list[Ints]:
    """The rows of each class in the order of their keys; rows labelled -1 belong to none."""
    y = np.asarray(labels, dtype=np.int64)
    if len(y) != len(keys):
        raise DataError(f"there are {len(y)} labels but {len(keys)} identifiers.")
    order = np.lexsort((keys, y))
    borders = np.searchsorted(y[order], np.arange(n_classes + 1))
    return [order[borders[c] : borders[c + 1]] for c in range(n_classes)]


def stratified_folds(
    labels: ArrayLike, folds: int, seed: int, *key: Key, ids: Sequence[str] | None = None
) -> Ints | None:
    """Deal rows into folds, class by class, so that leaving any fold out leaves a row of every class.

    Args:
        labels: (n,) class indices, no -1.
        folds: how many folds at most, at least 2; fewer are used when no class has that many rows.
        seed: any integer.
        key: what the folds are for.
        ids: n unique row identifiers; by default the row numbers.

    Returns:
        (n,) fold of each row, or None when a class has a single row: it can't be both learned from and held out.

    Raises:
        DataError: fewer than two folds asked for, or no rows.
    """
    y = np.asarray(labels, dtype=np.int64)
    if folds < 2 or not len(y) or y.min() < 0:
        raise DataError("folds need at least two folds and one labelled row, and no row labelled -1.")
    counts = np.bincount(y)
    if counts[counts > 0].min() < 2:
        return None
    folds = min(folds, int(counts.max()))
    keys = row_keys(ids if ids is not None else [str(i) for i in range(len(y))], seed, *key)
    found = np.empty(len(y), dtype=np.int64)
    dealt = 0
    for rows in class_order(y, keys, len(counts)):
        found[rows] = (dealt + np.arange(len(rows))) % folds
        dealt += len(rows)  # the next class goes on where this one stopped, so that folds stay of equal size
    return found
