"""From what was said of each image to galleries, class scores, the commonest mistakes and reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipwright.core.folds import row_keys
from clipwright.core.intervals import wilson
from clipwright.core.metrics import confusion_matrix, score_rows
from clipwright.data.dataset import Dataset, UnreadableImageError
from clipwright.report.elements import Bin, ClassScore, Confusion, Example, Gallery, Matrix
from clipwright.report.matrix import matrix
from clipwright.report.reliability import bins
from clipwright.report.thumbnails import SIZE, data_uri

SHOWN = 12  # examples per gallery: fills rows of two, three, four and six


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What was said of n images.

    Attributes:
        ids: n row identifiers of the data set.
        label: (n,) true classes, -1 where they aren't known.
        predicted: (n,) predicted classes.
        confidence: (n,) probabilities of the predicted classes, after the temperature where one was fitted.
        class_names: C names.
        before: (n,) the same before the temperature, or None where none was fitted.
        figures_before: ece, nll and brier before the temperature, where they are known.
    """

    ids: Sequence[str]
    label: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]
    class_names: Sequence[str]
    before: NDArray[np.float64] | None = None
    figures_before: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of_logits(
        cls,
        ids: Sequence[str],
        label: NDArray[np.int64],
        logits: ArrayLike,
        class_names: Sequence[str],
        temperature: float | None = None,
    ) -> Self:
        """What (n, C) logits of labelled rows say; `temperature`, where one was fitted, has been applied to them."""
        after = score_rows(logits, label)
        found = cls(ids, label, after.predicted, after.confidence, class_names)
        if temperature is None:
            return found
        raw = score_rows(np.asarray(logits) * temperature, label)
        return replace(found, before=raw.confidence, figures_before=raw.summary())

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(C, C) how often each class (row) was named each class (column)."""
        return confusion_matrix(self.predicted, self.label, len(self.class_names))

    def matrix(self) -> Matrix | None:
        """The confusion matrix as it is shown, or None where there is nothing to count."""
        return matrix(self.counts, self.class_names)

    def reliability(self) -> tuple[tuple[Bin, ...], tuple[Bin, ...]]:
        """Bins of confidence before and after the temperature; the second is empty where there is none."""
        right = self.predicted == self.label
        if self.before is None:
            return bins(self.confidence, right), ()
        return bins(self.before, right), bins(self.confidence, right)

    def class_scores(self) -> tuple[ClassScore, ...]:
        """Accuracy of each class that has images, with Wilson's interval."""
        found = []
        for name, row, right in zip(self.class_names, self.counts, self.counts.diagonal(), strict=True):
            if total := int(row.sum()):
                interval = wilson(int(right), total)
                found.append(ClassScore(name, int(right), total, interval.low, interval.high))
        return tuple(found)

    def confusions(self, most: int = 6) -> tuple[Confusion, ...]:
        """The commonest mistakes, those made twice or more where any was."""
        totals = self.counts.sum(axis=1)
        wrong = self.counts.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        pairs = [divmod(int(i), len(wrong)) for i in order]
        least = 2 if wrong.max(initial=0) >= 2 else 1
        names = self.class_names
        return tuple(
            Confusion(names[a], names[b], int(wrong[a, b]), int(totals[a])) for a, b in pairs if wrong[a, b] >= least
        )

    def galleries(self, dataset: Dataset | None, shown: int = SHOWN) -> tuple[Gallery, ...]:
        """Some images that were named right, the mistakes made with most confidence, and the least certain answers."""
        right = self._mixed(np.flatnonzero(self.predicted == self.label), shown)
        wrong = np.flatnonzero(self.predicted != self.label)
        wrong = wrong[np.argsort(-self.confidence[wrong], kind="stable")][:shown]
        return self._galleries(
            dataset,
            ("Named right", "Picked by chance, one class after another.", right),
            (
                "Most confident mistakes",
                "Worth a look: some may be mislabelled, others show what it can't tell apart.",
                wrong,
            ),
            ("Least certain", "Where it hesitates most, right or wrong.", self._doubtful(shown)),
        )

    def unlabeled_galleries(self, dataset: Dataset | None, shown: int = SHOWN) -> tuple[Gallery, ...]:
        """Images whose class isn't known: some of each predicted class, and those it is least sure of."""
        return self._galleries(
            dataset,
            (
                "Unlabeled images",
                "Picked by chance, one predicted class after another.",
                self._mixed(np.arange(len(self.ids)), shown),
            ),
            (
                "Least certain of the unlabeled",
                "Label these first: they are where the classifier hesitates.",
                self._doubtful(shown),
            ),
        )

    def _galleries(self, dataset: Dataset | None, *wanted: tuple[str, str, NDArray[np.int64]]) -> tuple[Gallery, ...]:
        """Galleries of rows, those without any left out; each picture is read once."""
        found = pictures(dataset, [self.ids[i] for _, _, rows in wanted for i in rows])
        return tuple(Gallery(title, lead, self._examples(rows, found)) for title, lead, rows in wanted if len(rows))

    def _doubtful(self, shown: int) -> NDArray[np.int64]:
        return np.argsort(self.confidence, kind="stable")[:shown]

    def _mixed(self, rows: NDArray[np.int64], shown: int) -> NDArray[np.int64]:
        """A chance sample that takes each predicted class once before any twice; the same on every run."""
        keys = row_keys([self.ids[i] for i in rows], 0, "gallery")
        order = rows[np.argsort(keys)]
        seen: dict[int, int] = {}
        turns = []
        for i in order:
            turns.append(seen.setdefault(int(self.predicted[i]), 0))
            seen[int(self.predicted[i])] += 1
        chosen = order[np.argsort(turns, kind="stable")][:shown]
        return chosen[np.argsort(self.predicted[chosen], kind="stable")]

    def _examples(self, rows: NDArray[np.int64], seen: Mapping[str, tuple[str, bool]]) -> tuple[Example, ...]:
        return tuple(
            Example(
                self.ids[i],
                self.class_names[self.label[i]] if self.label[i] >= 0 else None,
                self.class_names[self.predicted[i]],
                float(self.confidence[i]),
                *seen.get(self.ids[i], (None, False)),
            )
            for i in rows
        )


def pictures(dataset: Dataset | None, ids: Sequence[str], size: int = SIZE) -> dict[str, tuple[str, bool]]:
    """Thumbnails of rows by identifier, and whether they want hard pixels; unreadable images are left out."""
    if dataset is None or dataset.reader is None or not ids:
        return {}
    wanted = set(ids)
    rows = [row for row, i in enumerate(dataset.ids) if i in wanted]
    found = {}
    for row in dataset.table.select(["id", "source"]).take(rows).to_pylist():
        try:
            found[row["id"]] = data_uri(dataset.reader.read(row["source"]).image, size)
        except UnreadableImageError:
            continue  # it was readable when features were made; the page does without
    return found
