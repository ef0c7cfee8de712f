"""From what was said of each image to galleries, class scores and the commonest mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipwright.core.folds import row_keys
from clipwright.core.intervals import wilson
from clipwright.core.metrics import confusion_matrix
from clipwright.data.dataset import Dataset, UnreadableImageError
from clipwright.report.page import ClassScore, Confusion, Example, Gallery
from clipwright.report.thumbnails import data_uri

SHOWN = 12  # examples per gallery: fills rows of two, three, four and six


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What was said of n images.

    Attributes:
        ids: n row identifiers of the data set.
        label: (n,) true classes, -1 where they aren't known.
        predicted: (n,) predicted classes.
        confidence: (n,) probabilities of the predicted classes.
        class_names: C names.
    """

    ids: Sequence[str]
    label: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]
    class_names: Sequence[str]

    def class_scores(self) -> tuple[ClassScore, ...]:
        """Accuracy of each class that has images, with Wilson's interval."""
        matrix = confusion_matrix(self.predicted, self.label, len(self.class_names))
        found = []
        for name, row, right in zip(self.class_names, matrix, matrix.diagonal(), strict=True):
            if total := int(row.sum()):
                interval = wilson(int(right), total)
                found.append(ClassScore(name, int(right), total, interval.low, interval.high))
        return tuple(found)

    def confusions(self, most: int = 6) -> tuple[Confusion, ...]:
        """The commonest mistakes, those made twice or more where any was."""
        matrix = confusion_matrix(self.predicted, self.label, len(self.class_names))
        totals = matrix.sum(axis=1)
        wrong = matrix.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        pairs = [(int(i) // len(matrix), int(i) % len(matrix)) for i in order]
        least = 2 if wrong.max(initial=0) >= 2 else 1
        names = self.class_names
        return tuple(
            Confusion(names[a], names[b], int(wrong[a, b]), int(totals[a])) for a, b in pairs if wrong[a, b] >= least
        )

    def galleries(self, dataset: Dataset | None) -> tuple[Gallery, ...]:
        """Some images that were named right, and the mistakes made with most confidence."""
        right = self._mixed(np.flatnonzero(self.predicted == self.label))
        wrong = np.flatnonzero(self.predicted != self.label)
        wrong = wrong[np.argsort(-self.confidence[wrong], kind="stable")][:SHOWN]
        found = [
            Gallery("Named right", "Picked by chance, one class after another.", self._examples(right, dataset)),
            Gallery(
                "Most confident mistakes",
                "Worth a look: some may be mislabelled, others show what it can't tell apart.",
                self._examples(wrong, dataset),
            ),
        ]
        return tuple(g for g in found if g.examples)

    def unlabeled_galleries(self, dataset: Dataset | None) -> tuple[Gallery, ...]:
        """Images whose class isn't known: some of each predicted class, and those it is least sure of."""
        some = self._mixed(np.arange(len(self.ids)))
        doubtful = np.argsort(self.confidence, kind="stable")[:SHOWN]
        found = [
            Gallery(
                "Unlabeled images",
                "Picked by chance, one predicted class after another.",
                self._examples(some, dataset),
            ),
            Gallery(
                "Least certain",
                "Label these first: they are where the classifier hesitates.",
                self._examples(doubtful, dataset),
            ),
        ]
        return tuple(g for g in found if g.examples)

    def _mixed(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """A chance sample that takes each predicted class once before any twice; the same on every run."""
        keys = row_keys([self.ids[i] for i in rows], 0, "gallery")
        order = rows[np.argsort(keys)]
        seen: dict[int, int] = {}
        turns = []
        for i in order:
            turns.append(seen.setdefault(int(self.predicted[i]), 0))
            seen[int(self.predicted[i])] += 1
        chosen = order[np.argsort(turns, kind="stable")][:SHOWN]
        return chosen[np.argsort(self.predicted[chosen], kind="stable")]

    def _examples(self, rows: NDArray[np.int64], dataset: Dataset | None) -> tuple[Example, ...]:
        pictures = _pictures(dataset, [self.ids[i] for i in rows])
        return tuple(
            Example(
                self.ids[i],
                self.class_names[self.label[i]] if self.label[i] >= 0 else None,
                self.class_names[self.predicted[i]],
                float(self.confidence[i]),
                *pictures.get(self.ids[i], (None, False)),
            )
            for i in rows
        )


def _pictures(dataset: Dataset | None, ids: Sequence[str]) -> dict[str, tuple[str, bool]]:
    """Thumbnails of rows by identifier; rows without a readable image are left out."""
    if dataset is None or dataset.reader is None or not ids:
        return {}
    wanted = set(ids)
    rows = [row for row, i in enumerate(dataset.ids) if i in wanted]
    found = {}
    for row in dataset.table.select(["id", "source"]).take(rows).to_pylist():
        try:
            found[row["id"]] = data_uri(dataset.reader.read(row["source"]).image)
        except UnreadableImageError:
            continue  # it was readable when features were made; the page does without
    return found
