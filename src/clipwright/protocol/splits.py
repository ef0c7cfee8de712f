"""Which rows may be learned from and which are scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipwright.core.errors import DataError
from clipwright.data.dataset import Dataset

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pools:
    """Row numbers of a data set by role.

    Attributes:
        train: labelled rows that support sets are drawn from.
        validation: labelled rows that the data set sets aside for choosing hyper-parameters; may be empty.
        test: labelled rows that are scored, or None: then each draw is scored on the rows of `train` that it leaves.
        unlabeled: rows of the training side without a label.
        note: one sentence saying how the roles were given.
    """

    train: Ints
    validation: Ints
    test: Ints | None
    unlabeled: Ints
    note: str


def pools(dataset: Dataset) -> Pools:
    """Give the rows of a data set their roles.

    A test split is what is scored. Without one, a validation split beside a training split is (ImageNet's habit).
    Without either, each draw is scored on the labelled rows that it leaves.

    Raises:
        DataError: there are no labelled rows to learn from.
    """
    splits, labelled = dataset.splits, dataset.labels >= 0
    rows = {split: np.flatnonzero((splits == split) & labelled) for split in ("", "train", "val", "test")}
    train = rows["train"] if len(rows["train"]) else rows[""]
    unlabeled = np.flatnonzero(~labelled & ((splits == "train") | (splits == "")))
    none = np.empty(0, dtype=np.int64)
    if len(rows["test"]):
        found = Pools(train, rows["val"], rows["test"], unlabeled, "The data set's own test split is scored.")
    elif len(rows["val"]) and len(train):
        note = "There is no test split, so the validation split is scored; nothing is chosen on it."
        found = Pools(train, none, rows["val"], unlabeled, note)
    else:
        train = np.sort(np.concatenate([rows[""], rows["train"], rows["val"]]))
        note = "There is no test split, so each draw is scored on the labelled images that it leaves."
        found = Pools(train, none, None, unlabeled, note)
    if not len(found.train) and found.test is None:
        raise DataError(f"{dataset.name} has no labelled images: label some, or use names alone with ZeroShot.")
    return found
