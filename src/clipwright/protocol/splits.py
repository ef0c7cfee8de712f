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
        generated: labelled rows that a text-to-image model made: they stand beside every support set, and are never
            drawn, counted as labels or scored.
        note: one sentence saying how the roles were given.
    """

    train: Ints
    validation: Ints
    test: Ints | None
    unlabeled: Ints
    generated: Ints
    note: str


def pools(dataset: Dataset) -> Pools:
    """Give the rows of a data set their roles.

    A test split is what is scored. Without one, a validation split beside a training split is (ImageNet's habit).
    Without either, each draw is scored on the labelled rows that it leaves.

    Raises:
        DataError: there are no labelled rows to learn from, or only generated images.
    """
    splits, labelled = dataset.splits, dataset.labels >= 0
    made = np.flatnonzero(labelled & dataset.is_generated)
    if len(made) and not bool((labelled & ~dataset.is_generated).any()):
        raise DataError(
            f"{dataset.name} has no labelled image that isn't generated, and accuracy on generated images says little "
            "about real ones: compare on real images, and give the folder of generated ones by --generated."
        )
    rows = {split: np.flatnonzero((splits == split) & labelled) for split in ("", "train", "val", "test")}
    train = rows["train"] if len(rows["train"]) else rows[""]
    unlabeled = np.flatnonzero(~labelled & ((splits == "train") | (splits == "")))
    none = np.empty(0, dtype=np.int64)
    if len(rows["test"]):
        found = Pools(train, rows["val"], rows["test"], unlabeled, made, "The data set's own test split is scored.")
    elif len(rows["val"]) and len(train):
        note = "There is no test split, so the validation split is scored; nothing is chosen on it."
        found = Pools(train, none, rows["val"], unlabeled, made, note)
    else:
        train = np.sort(np.concatenate([rows[""], rows["train"], rows["val"]]))
        note = "There is no test split, so each draw is scored on the labelled images that it leaves."
        found = Pools(train, none, None, unlabeled, made, note)
    if not len(found.train) and found.test is None:
        raise DataError(f"{dataset.name} has no labelled images: label some, or use names alone with ZeroShot.")
    return found
