"""The generated images of a fit, as the page shows them: figures, classes, and a contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clipwright.classifier import Classifier
from clipwright.core.gap import Gap
from clipwright.core.metrics import softmax
from clipwright.data.dataset import Dataset
from clipwright.protocol.generated_gap import EACH, NOTHING_REAL, GeneratedGap, sheet_classes
from clipwright.report.outcomes import pictures
from clipwright.report.text import count

_SIZE = 112  # pixels of the longer side: ninety-six pictures, shown small

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class MadeImage:
    """A generated image and how far it is taken for what it was made to show.

    Attributes:
        id: where the image is.
        sure: how sure the classifier is that it shows its class, 0 to 1, or None where it can't be asked.
        names: the same from names alone, or None.
        taken_for: name of the class that the classifier takes it for, empty where that is its own.
        thumbnail: a ``data:`` address, or None where there is no picture.
        small: whether the picture is shown with hard pixels.
    """

    id: str
    sure: float | None
    names: float | None = None
    taken_for: str = ""
    thumbnail: str | None = None
    small: bool = False


@dataclass(frozen=True)
class MadeClass:
    """The generated images of a class.

    Attributes:
        name: the class.
        total: how many there are.
        seen: how many of them the other figures count.
        right: how many of these the classifier takes for their class, or None.
        sure: how sure it is that they show their class, on average, or None.
        names: the same from names alone, or None.
        before: Frechet distance to the real images of the class in the backbone's space, or None.
        after: the same by the tower that was fitted, or None.
    """

    name: str
    total: int
    seen: int
    right: int | None = None
    sure: float | None = None
    names: float | None = None
    before: float | None = None
    after: float | None = None


@dataclass(frozen=True)
class Made:
    """All there is to say of generated images.

    Attributes:
        words: sentences about all of them.
        classes: one for each class that has some, those that the classifier doubts most first.
        sheet: name of a class and some of its images.
        note: what the figures under the images are.
    """

    words: tuple[str, ...]
    classes: tuple[MadeClass, ...]
    sheet: tuple[tuple[str, tuple[MadeImage, ...]], ...] = ()
    note: str = ""


def made_images(classifier: Classifier, found: GeneratedGap | None, dataset: Dataset | None) -> Made | None:
    """Lay out what was found of a fit's generated images; None where there are none, or no pictures at all.

    Args:
        classifier: the fit.
        found: the generated images and their gap.
        dataset: where pictures are read from; a bundle has none.
    """
    if found is None or dataset is None or dataset.reader is None:
        return None
    alone = "ZeroShot" in (classifier.card.get("method"), classifier.card.get("picked"))
    return lay_out(
        found,
        [dataset.ids[i] for i in found.rows],
        dataset.labels[found.rows],
        classifier.class_names,
        sure=None if found.features is None else classifier.predict_proba(found.features),
        names=None if found.names is None or alone else softmax(found.names),
        dataset=dataset,
    )


def lay_out(
    found: GeneratedGap,
    ids: Sequence[str],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    *,
    sure: Floats | None = None,
    names: Floats | None = None,
    dataset: Dataset | None = None,
) -> Made:
    """The same from plain figures.

    Args:
        found: whose `total`, `before` and `after` are read.
        ids: n identifiers of images.
        labels: (n,) classes that they were made for.
        class_names: C names.
        sure: (n, C) the classifier's probabilities, or None.
        names: (n, C) those from names alone, or None.
        dataset: where pictures are read from.
    """
    chosen = {int(c): np.flatnonzero(labels == c)[:EACH] for c in sheet_classes(labels)}
    seen = pictures(dataset, [ids[i] for rows in chosen.values() for i in rows], _SIZE)

    def image(i: int) -> MadeImage:
        said = "" if sure is None or sure[i].argmax() == labels[i] else class_names[int(sure[i].argmax())]
        return MadeImage(ids[i], _of(sure, i, labels), _of(names, i, labels), said, *seen.get(ids[i], (None, False)))

    return Made(
        _words(found, len(ids)),
        _classes(found, labels, class_names, sure, names),
        tuple((class_names[c], tuple(image(i) for i in rows)) for c, rows in chosen.items()),
        _note(sure, names),
    )


def _of(p: Floats | None, i: int, labels: NDArray[np.int64]) -> float | None:
    return None if p is None else float(p[i, labels[i]])


def _classes(
    found: GeneratedGap,
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    sure: Floats | None,
    names: Floats | None,
) -> tuple[MadeClass, ...]:
    """A row for each class that has generated images."""
    before, after = ({} if g is None else g.by_class for g in (found.before, found.after))
    rows = []
    for c in np.unique(labels).tolist():
        mine, name = labels == c, class_names[c]
        rows.append(
            MadeClass(
                name,
                int(found.total[c]),
                int(mine.sum()),
                right=None if sure is None else int((sure[mine].argmax(1) == c).sum()),
                sure=None if sure is None else float(sure[mine, c].mean()),
                names=None if names is None else float(names[mine, c].mean()),
                before=before.get(name),
                after=after.get(name),
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.sure if row.sure is not None else row.names or 0.0, row.name)))


def _words(found: GeneratedGap, seen: int) -> tuple[str, ...]:
    total, classes = int(found.total.sum()), int((found.total > 0).sum())
    some = f" The figures count {seen:,} of them, picked by chance." if seen < total else ""
    made = f"{count(total, 'image')} of {count(classes, 'class', 'classes')}"
    words = [f"{made} {'are' if total > 1 else 'is'} generated.{some}"]
    if found.before is None:
        return (*words, NOTHING_REAL) if NOTHING_REAL in found.notes else tuple(words)
    real = count(found.before.real, "real image")
    words.append(
        f"In the backbone's space a linear classifier tells them from {real} with an AUC of {_auc(found.before)} (0.50 "
        f"is chance, 1.00 is always right){_far(found.before)}."
    )
    if found.after is not None:
        words.append(f"By the image tower that this fit changed, the AUC is {_auc(found.after)}{_far(found.after)}.")
    return tuple(words)


def _auc(gap: Gap) -> str:
    return "unknown size" if gap.auc is None else f"{gap.auc:.2f}"


def _far(gap: Gap) -> str:
    """The distance by the yardstick of two halves of the real images, where there are enough of those."""
    if gap.ratio is None:
        return f", and the Frechet distance is {gap.frechet:.3g}"
    times = f"{gap.ratio:,.0f}" if gap.ratio >= 20 else f"{gap.ratio:.1f}"
    return f", and they lie {times} times as far from the real images as two halves of those from each other"


def _note(sure: Floats | None, names: Floats | None) -> str:
    if sure is None:
        return "Under each image: the probability of its class from names alone." if names is not None else ""
    small = "; in small, the same from names alone" if names is not None else ""
    by_heart = (
        " The classifier may have learned from these very images, so it may know them by heart; names alone saw none."
        if names is not None
        else ""
    )
    return f"Under each image: how sure the classifier is that it shows its class{small}.{by_heart}"
