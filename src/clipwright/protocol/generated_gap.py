"""How far the generated images of a fit are from its real ones, before the fit and by the tower that it changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from clipwright.core.errors import ClipwrightError
from clipwright.core.folds import class_order, row_keys
from clipwright.core.gap import MOST, Gap, gap
from clipwright.fitted import Fitted
from clipwright.protocol.names_alone import names_alone
from clipwright.protocol.prepare import Prepared
from clipwright.task import Features

Ints = NDArray[np.int64]

CLASSES, EACH = 12, 8
"""Classes of a contact sheet, and images of each, at most."""

NOTHING_REAL = (
    "There is nothing real to compare the generated images with: give unlabeled photos "
    "('clipwright fit PHOTOS --generated DIR')."
)


@dataclass(frozen=True, eq=False)
class GeneratedGap:
    """Generated images that a fit was given, beside the real ones of its training side.

    Attributes:
        rows: (n,) row numbers of the generated images looked at, ascending.
        total: how many there are of each class, looked at or not, (C,).
        before: the gap in the backbone's space, or None where it can't be measured.
        after: the same by the image tower that the fit changed; None where it changed none.
        features: of `rows`, as the fit's head takes them; None where they can't be had any more.
        names: (n, C) logits from names alone, or None where there are no texts.
        notes: what the user should know, one sentence each.
    """

    rows: Ints
    total: Ints
    before: Gap | None
    after: Gap | None
    features: Features | None
    names: NDArray[np.float64] | None
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The figures, for a classifier's card."""
        return {
            name: None if g is None else g.as_json() for name, g in (("before", self.before), ("after", self.after))
        }


def generated_gap(
    prepared: Prepared, fitted: Fitted, support: Ints, real: Ints, *, seed: int = 0, quiet: bool = True
) -> GeneratedGap | None:
    """Measure the gap of one fit, or return None where its support set holds no generated image.

    At most `MOST` images of each kind are compared, the same before and after. Labels of real images tell distances by
    class, and nothing else. A figure that can't be had leaves a note and doesn't end the fit.

    Args:
        prepared: features of the whole data set.
        fitted: the fit.
        support: row numbers of its support set, generated ones among them.
        real: row numbers of other images of the training side, labelled or not; no scored one.
        seed: of samples and folds.
        quiet: show no progress where images are embedded anew.
    """
    dataset = prepared.dataset
    made = support[dataset.is_generated[support]]
    if not len(made):
        return None
    known = np.concatenate([support, real])
    known = np.unique(known[~dataset.is_generated[known]])
    ids = dataset.ids
    one, other = _some(made, ids, seed), _some(known, ids, seed)
    rows = np.union1d(one, _sheet(made, dataset.labels[made], ids, seed))
    before = after = None
    notes = [] if len(known) >= 2 else [NOTHING_REAL]
    features: Features | None = prepared.rows(rows)
    try:
        if len(known) >= 2 and len(made) >= 2 and prepared.features.dim:
            before = _gap(prepared, prepared.rows(one), prepared.rows(other), seed)
        if fitted.tower is not None and prepared.ref is not None:
            found = prepared.answering(fitted, np.concatenate([rows, other]), quiet=quiet)
            features = found[: len(rows)]
            if before is not None:
                after = _gap(prepared, features[np.searchsorted(rows, one)], found[len(rows) :], seed)
    except (ClipwrightError, torch.OutOfMemoryError) as error:  # a fit that is done must not be lost
        notes.append(f"Generated and real images could not be compared by the tower that was fitted: {error}")
        features = None
    warnings = [found.warning for found in (before, after) if found is not None and found.warning]
    notes += [text[0].upper() + text[1:] for text in warnings[:1]]
    total = np.bincount(dataset.labels[made], minlength=len(dataset.class_names))
    return GeneratedGap(rows, total, before, after, features, names_alone(prepared, rows, seed=seed), tuple(notes))


def sheet_classes(labels: Ints) -> Ints:
    """Which classes a contact sheet shows: of those that have images, at most `CLASSES`, spread evenly."""
    found = np.unique(labels)
    return found[np.unique(np.linspace(0, len(found) - 1, min(CLASSES, len(found))).round().astype(np.int64))]


def _sheet(rows: Ints, labels: Ints, ids: Sequence[str], seed: int) -> Ints:
    """Rows of a contact sheet, picked by chance as `_some` does, so that a class's are among those or contain them."""
    order = class_order(labels, row_keys([ids[i] for i in rows], seed, "generated gap"), int(labels.max()) + 1)
    return np.concatenate([rows[order[c][:EACH]] for c in sheet_classes(labels)])


def _some(rows: Ints, ids: Sequence[str], seed: int) -> Ints:
    """At most `MOST` of the rows, picked by chance, ascending."""
    keys = row_keys([ids[i] for i in rows], seed, "generated gap")
    return np.sort(rows[np.argsort(keys)[:MOST]])


def _gap(prepared: Prepared, made: Features, real: Features, seed: int) -> Gap:
    return gap(
        made.x.float().cpu().numpy(),
        real.x.float().cpu().numpy(),
        generated_labels=made.labels.numpy(),
        real_labels=real.labels.numpy(),
        class_names=prepared.dataset.class_names,
        seed=seed,
    )
