"""Logits of labelled rows from fits that did not see them, and the temperature they give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from clipwright.core.calibration import Temperature, fit_temperature
from clipwright.core.folds import stratified_folds
from clipwright.fitted import Fitted, OutOfFold
from clipwright.methods.base import Method
from clipwright.task import Access, Features, Need, Task


def uses_labels(method: Method) -> bool:
    """Whether labels can change what this configuration fits."""
    wants = method.requires()
    return Need.LABELS in wants.needs | wants.optional


def out_of_fold_logits(
    method: Method, task: Task, folds: int = 5, *, fitted: Fitted | None = None
) -> tuple[OutOfFold | None, str]:
    """Score each labelled row of a task by a fit on the other folds.

    Folds are stratified and depend on row identifiers and the task's seed alone. A method that looks at no labels is
    fitted once, without any.

    Args:
        method: the configured method.
        task: its support set is what is scored; other parts are passed on, validation excepted where it repeats rows.
        folds: folds at most, at least 2.
        fitted: the fit on the whole task, whose own out-of-fold logits are taken where it made some.

    Returns:
        the logits, or None when there are too few labels; and one sentence saying how or why not.
    """
    if (reason := _not_calibrated(method, task, fitted)) or task.support is None:
        return None, reason
    support = task.support
    if fitted is not None and (made := fitted.out_of_fold) is not None:
        return made, f"Calibrated on the labels by {made.folds}-fold cross-fitting."
    labels = support.labels.numpy()
    if not uses_labels(method):
        logits = _predict(method, replace(task, support=None), support)
        return OutOfFold(logits, labels, support.ids, 1), "The method saw no labels, so all of them calibrate it."
    counts = np.bincount(labels, minlength=task.n_classes)
    if counts.min() < 2:
        name = task.class_names[int(counts.argmin())]
        return None, (
            f"Calibration needs two labelled images of every class and {name!r} has {counts.min()}, "
            "so confidences are not calibrated."
        )
    dealt = stratified_folds(labels, folds, task.seed, "out of fold", ids=support.ids)
    assert dealt is not None  # noqa: S101 - every class has two rows
    used = int(dealt.max()) + 1
    logits = np.empty((len(labels), task.n_classes))
    for fold in range(used):
        held = np.flatnonzero(dealt == fold)
        inside = replace(task, support=support[np.flatnonzero(dealt != fold)])
        logits[held] = _predict(method, inside, support[held])
    return OutOfFold(logits, labels, support.ids, used), f"Calibrated on the labels by {used}-fold cross-fitting."


def _not_calibrated(method: Method, task: Task, fitted: Fitted | None) -> str:
    """Why there is nothing to calibrate on, or "" where there is."""
    if task.support is None or not len(task.support):
        return "There are no labels, so confidences are not calibrated."
    if Access.SOFT_PROMPT in method.requires().access or (fitted is not None and fitted.trace.spent):
        return (
            "Calibration would take several further searches for a prompt, each at the price of the first, "
            "so confidences are not calibrated."
        )
    if Access.WEIGHTS in method.requires().access:
        return "Calibration would take several further trainings, so confidences are not calibrated."
    if bool((made := task.support.is_generated).any()):
        which = "All" if bool(made.all()) else "Some"
        return (
            f"{which} of the labelled images are generated, and how sure one may be of real images can't be seen from "
            "them, so confidences are not calibrated."
        )
    return ""


def temperature(
    method: Method, task: Task, folds: int = 5, *, fitted: Fitted | None = None
) -> tuple[Temperature | None, str]:
    """Temperature from out-of-fold logits when labels allow, and one sentence saying how or why not.

    Arguments as in `out_of_fold_logits`.
    """
    found, reason = out_of_fold_logits(method, task, folds, fitted=fitted)
    if found is None:
        return None, reason
    return fit_temperature(found.logits, found.labels), reason


def _predict(method: Method, task: Task, rows: Features) -> NDArray[np.float64]:
    """(n, C) logits of rows by a fit on `task`; a transductive method may look at the rows as its query."""
    unseen = rows.without_labels()
    fitted = method.fit(replace(task, query=unseen) if task.query is not None else task)
    logits: torch.Tensor = fitted.query_logits if fitted.query_logits is not None else fitted(unseen)
    return logits.detach().double().cpu().numpy()
