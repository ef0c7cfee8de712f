"""Several methods fitted on the same folds of a support set, and scored on what each fold left out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from clipwright.core.folds import stratified_folds
from clipwright.methods.base import Method
from clipwright.protocol.calibrate import uses_labels
from clipwright.task import Features, Task

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Logits of held-out support rows, method by method.

    Attributes:
        rows: (n,) numbers of the support rows that were held out: those of classes with several.
        labels: (n,) their classes.
        logits: for each method, (n, C).
        seconds: for each method, the wall time of its fits.
        folds: how many there were.
    """

    rows: Ints
    labels: Ints
    logits: dict[str, Floats]
    seconds: dict[str, float]
    folds: int


def cross_fit(methods: Mapping[str, Method], task: Task, folds: int = 5) -> CrossFit | None:
    """Fit each method once per fold and score the rows that the fold holds.

    A class with a single row always stays in. Folds depend on row identifiers and the task's seed alone. A method that
    looks at no labels is fitted once.

    Args:
        methods: configured methods that the task has the means for.
        task: its support set is dealt into folds; other parts are passed on.
        folds: folds at most, at least 2.

    Returns:
        the logits, or None where no class has two rows.
    """
    support = task.support
    if support is None or not len(support):
        return None
    dealt = support_folds(support, task.n_classes, folds, task.seed)
    rows = np.flatnonzero(dealt >= 0)
    if not len(rows):
        return None
    used = int(dealt.max()) + 1
    logits, seconds = {}, {}
    for name, method in methods.items():
        start = time.perf_counter()
        logits[name] = _held_out(method, task, support, dealt, used)[rows]
        seconds[name] = time.perf_counter() - start
    return CrossFit(rows, support.labels.numpy()[rows], logits, seconds, used)


def support_folds(support: Features, n_classes: int, folds: int, seed: int) -> Ints:
    """(n,) fold of each support row, -1 for the rows of classes that have only one."""
    labels = support.labels.numpy()
    several = np.flatnonzero(np.bincount(labels, minlength=n_classes)[labels] > 1)
    found = np.full(len(labels), -1, dtype=np.int64)
    if len(several):
        _, place = np.unique(labels[several], return_inverse=True)
        ids = None if support.ids is None else [support.ids[i] for i in several]
        dealt = stratified_folds(place, folds, seed, "cross-fit", ids=ids)
        assert dealt is not None  # noqa: S101 - every class left has two rows
        found[several] = dealt
    return found


def _held_out(method: Method, task: Task, support: Features, dealt: Ints, folds: int) -> Floats:
    unseen = support.without_labels()
    if not uses_labels(method):
        return method.fit(replace(task, support=None))(unseen).double().cpu().numpy()
    found = np.zeros((len(dealt), task.n_classes))
    for fold in range(folds):
        held = np.flatnonzero(dealt == fold)
        inside = replace(task, support=support[np.flatnonzero(dealt != fold)])
        found[held] = method.fit(inside)(unseen[held]).double().cpu().numpy()
    return found
