"""What may be wrong with a data set: refused with one sentence, or told in its notes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clipwright.core.errors import DataError, UsageError
from clipwright.data.dataset import Dataset, Split
from clipwright.data.names import counted, quoted


def check_shots(labels: np.ndarray, class_names: Sequence[str], shots: int) -> None:
    """Refuse more shots than a class has labelled images.

    Args:
        labels: (n,) class indices of the images that may be drawn, -1 = unlabeled.
        class_names: C names.
        shots: labelled images per class that are asked for, validation images included.

    Raises:
        UsageError: `shots` isn't positive.
        DataError: a class has fewer images.
    """
    if not isinstance(shots, int | np.integer) or isinstance(shots, bool) or shots < 1:
        raise UsageError(f"shots must be a positive whole number; it is {shots!r}.")
    counts = np.bincount(labels[labels >= 0], minlength=len(class_names))
    short = np.flatnonzero(counts < shots)
    if len(short):
        worst = int(short[counts[short].argmin()])
        more = f" ({len(short) - 1} more classes also have too few)" if len(short) > 1 else ""
        cure = (
            f"ask for at most {counts[worst]} shots, or label more images"
            if counts[worst]
            else "label some of its images"
        )
        raise DataError(
            f"{shots} labelled images per class are needed, but the class {class_names[worst]!r} "
            f"has {counts[worst]}{more}: {cure}."
        )


def notes_of(data: Dataset) -> tuple[str, ...]:
    """What is odd about classes and labels, one sentence each."""
    return (*_class_notes(data), *_label_notes(data))


def _class_notes(data: Dataset) -> list[str]:
    names = data.class_names
    if len(names) == 1:
        return [f"There is only one class, {names[0]!r}: a classifier has nothing to tell apart until there are two."]
    counts = data.counts()
    notes = []
    empty = [names[c] for c in np.flatnonzero(counts == 0)] if counts.any() else []
    if empty:
        notes.append(
            f"There is no labelled image of {counted(len(empty), 'class', 'classes')} ({quoted(empty)}): "
            "add some, or take the class out if it can't occur."
        )
    if data.has_split("train") and data.has_split("test"):
        train, test = data.counts("train", ""), data.counts("test")
        only = [names[c] for c in np.flatnonzero((train == 0) & (test > 0))]
        if only and train.any():
            notes.append(
                f"Only the test split has labels of {counted(len(only), 'class', 'classes')} ({quoted(only)}): "
                "methods can know them by name alone."
            )
    return notes


def _label_notes(data: Dataset) -> list[str]:
    splits: tuple[Split, ...] = ("test", "val")
    notes = []
    for split in splits:
        rows = data.rows(split)
        bare = int((data.labels[rows] < 0).sum())
        if len(rows) and 0 < bare < len(rows):
            notes.append(f"There is no label, and so no score, for {bare} of {counted(len(rows), f'{split} image')}.")
    return notes
