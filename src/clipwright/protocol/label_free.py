"""Class names and unlabeled images, and no label to check anything: what to trust, and whether the images fit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from clipwright.core.rng import generator
from clipwright.core.tensors import unit_rows
from clipwright.data.names import counted, quoted
from clipwright.fitted import Fitted
from clipwright.methods import make
from clipwright.methods.base import class_texts
from clipwright.methods.unlabeled_checks import open_set_share
from clipwright.protocol.candidates import NAMES, PILED
from clipwright.task import Features, Task

LEAST = 2
"""Unlabeled images per class on average below which names decide."""

SPARSE = 8
"""Below this many images per class on average the texts hold the classes less: they would else outweigh the images."""

MOST = 16_000
"""More unlabeled images than these are not looked at: the graph of neighbours grows with their square."""

ABSENT = 0.1
"""A class is absent where fewer images are given to it than this share of what an even pile would have."""

UNEVEN, SEEN = 0.75, 4
"""Below this share of the classes, by the exponential of the entropy, a pile of so many images per class is uneven."""

STRANGE, ENOUGH = 0.05, 30
"""From this share of images that look unlike all classes on, it is told, where there are so many images in all."""

OFFSET = 3
"""Images' worth of the mean of all that the mean cosine of a class starts from."""

CHANGED = 0.4
"""More changed answers than on any task that the rule was tried on."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """What unlabeled images say.

    Attributes:
        fitted: Transductive, where it is to be trusted; None = names are.
        reason: why, one or two sentences.
        notes: what the user should know, one sentence each.
    """

    fitted: Fitted | None
    reason: str
    notes: list[str] = field(default_factory=list)


def judge(task: Task) -> Judgement:
    """Decide between Transductive and names alone by what the unlabeled images of a task look like.

    Transductive scores images of a class that it has seen no image of worse than names do, since the other classes
    grow into its place. So it is taken where every class has images by its own count, and names alone otherwise.

    Args:
        task: texts and at least one unlabeled image; its labels are not looked at.

    Source: this project; the evidence is on the page about automatic choice.
    """
    pile = sample(task)
    n, classes = len(pile), task.n_classes
    asked = replace(task, support=None, validation=None, unlabeled=pile, query=None)
    names = make(NAMES).fit(asked)
    notes = strangers(pile, task)
    images = counted(n, "unlabeled image")
    if n < LEAST * classes:
        return Judgement(None, f"There are {images}, too few for {classes} classes, so names alone decide.", notes)
    fitted = _transduced(asked, n < SPARSE * classes)
    found = fitted(pile).argmax(1).cpu()
    counts = torch.bincount(found, minlength=classes).numpy()
    if (absent := np.flatnonzero(counts < ABSENT * n / classes)).size:
        reason = (
            f"{absent.size} of {classes} classes have next to no image among {images}, and {PILED} would take later "
            "images of such a class for others, so names alone decide."
        )
        missing = quoted(task.class_names[c] for c in absent.tolist())
        advice = (
            f"Next to no unlabeled image looks like {missing}: take classes off the list that will not come up, check "
            "their names, or add images of them."
        )
        return Judgement(None, reason, [*notes, advice])
    moved = int((found != names(pile).argmax(1).cpu()).sum())
    reason = f"There are {images} and some of every class; over many tasks {PILED} then did better than names alone."
    return Judgement(fitted, reason, [*_left(task, n), _changed(moved, n), *_uneven(counts, task), *notes])


def _transduced(task: Task, sparse: bool) -> Fitted:
    if not sparse:
        return make(PILED).fit(task)
    fitted = make(PILED, anchor=1).fit(task)
    fitted.trace.how["anchor"] = "rule"
    return fitted


def sample(task: Task) -> Features:
    """The unlabeled images of a task, or as many of them as can be looked at, drawn by its seed."""
    assert task.unlabeled is not None  # noqa: S101 - the caller looked
    rows = task.unlabeled
    if len(rows) <= MOST:
        return rows
    return rows[np.sort(generator(task.seed, "label free").permutation(len(rows))[:MOST])]


def strangers(pile: Features, task: Task) -> list[str]:
    """A warning where the images seem to be of two kinds, one of which looks unlike every class."""
    if len(pile) < ENOUGH:
        return []
    text = unit_rows(class_texts(task, "mean_unit_renorm")).double()
    best, found = (pile.unit_x().double() @ text.T).max(1)
    # Texts lie at different distances from the images of their classes, which would look like two kinds of images.
    zeros = torch.zeros(task.n_classes, dtype=best.dtype, device=best.device)
    sums, counts = zeros.index_add(0, found, best), torch.bincount(found, minlength=task.n_classes)
    usual = (sums + OFFSET * best.mean()) / (counts + OFFSET)
    share = open_set_share((best - usual[found])[:, None])
    if share < STRANGE:
        return []
    said = (
        f"About {100 * share:.0f} % of the unlabeled images look less like their class than the rest do: look whether "
        "they are of classes that are not on the list; this is a rough guess."
    )
    return [said]


def _left(task: Task, n: int) -> list[str]:
    given = len(task.unlabeled) if task.unlabeled is not None else 0
    return [f"Of {given:,} unlabeled images {n:,} were looked at."] if given > n else []


def _changed(moved: int, n: int) -> str:
    share = f"{PILED} and names alone disagree on {moved:,} of {n:,} unlabeled images ({100 * moved / n:.0f} %)"
    if moved <= CHANGED * n:
        return f"{share}."
    return f"{share}, more than on any task that this rule was tried on: label a few of them to see which is right."


def _uneven(counts: NDArray[np.int64], task: Task) -> list[str]:
    """A warning where some classes are far more common than others."""
    n, classes = int(counts.sum()), len(counts)
    shares = counts[counts > 0] / n
    if n < SEEN * classes or np.exp(-(shares * np.log(shares)).sum()) >= UNEVEN * classes:
        return []
    largest, smallest = int(counts.argmax()), int(counts.argmin())
    said = (
        f"The classes seem to be uneven among the unlabeled images, from {counts[smallest]:,} of "
        f"{task.class_names[smallest]!r} to {counts[largest]:,} of {task.class_names[largest]!r}: if later images are "
        "not, add some of the rare classes."
    )
    return [said]
