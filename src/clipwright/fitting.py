"""One fit from data to classifier: which rows play which part, which method, which temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clipwright import data as data_room
from clipwright import methods as catalogue
from clipwright.backbones import DEFAULT, resolve
from clipwright.classifier import Classifier
from clipwright.core.calibration import fit_temperature
from clipwright.core.errors import DataError, UsageError
from clipwright.data.dataset import Dataset, Subset
from clipwright.fitted import Fitted, OutOfFold
from clipwright.methods.base import Method
from clipwright.protocol.auto import Auto, configured
from clipwright.protocol.calibrate import out_of_fold_logits
from clipwright.protocol.draws import support_draw
from clipwright.protocol.evaluation import Evaluation, evaluate_logits
from clipwright.protocol.prepare import Prepared, add_views, prepare, said_names
from clipwright.task import Task
from clipwright.texts import TextBank

Source = str | Path | Dataset
Classes = str | Path | Sequence[str]
Ints = NDArray[np.int64]
Basis = Literal["held out", "out of fold"]


def open_data(
    source: Source,
    classes: Classes | None = None,
    *,
    root: str | Path | None = None,
    classes_subset: Subset | None = None,
    max_pixels: int | None = None,
) -> Dataset:
    """Open images, a table, a feature bundle, a benchmark or an embedded data set.

    Args:
        source: a folder (class subfolders, train/val/test, or flat), a CSV/Parquet/list file, an ``.npz`` bundle, a
            benchmark such as ``"benchmark:dtd"``, or an embedded name such as ``"digits"``; a Dataset is taken as it
            is.
        classes: a file of class names, or the names; needed for images without labels.
        root: the folder that benchmarks lie in, by default CLIPWRIGHT_DATA; or that paths in a table start from.
        classes_subset: keep the ``"base"`` or the ``"new"`` half of the classes.
        max_pixels: refuse larger images; by default CLIPWRIGHT_MAX_PIXELS, else a limit of the reader.

    Raises:
        DataError: what is wrong with the data and what to do.
        UsageError: arguments that contradict each other.
    """
    if isinstance(source, Dataset):
        if classes is not None:
            raise UsageError("class names can't be given for data that is already open: give them to open_data.")
        if root is not None:
            raise UsageError("a root can't be given for data that is already open: give it to open_data.")
        return source if classes_subset is None else source.class_subset(classes_subset)
    if not isinstance(source, str | Path) or not str(source).strip():
        raise UsageError(f"data must be a path or the name of an embedded data set; it is {source!r}.")
    return data_room.open_data(source, classes, root=root, classes_subset=classes_subset, max_pixels=max_pixels)


def prepared_data(
    data: Source,
    *,
    backbone: str | None = None,
    classes: Classes | None = None,
    templates: str | Sequence[str] | None = None,
    texts: TextBank | str | Path | None = None,
    device: str | None = None,
    store: Path | None = None,
    quiet: bool = False,
) -> Prepared:
    """Open data and make features of it; a bundle brings its own.

    Raises:
        UsageError: a backbone or texts were named for a bundle.
    """
    dataset = open_data(data, classes)
    if dataset.bundle is not None:
        if backbone is not None:
            raise UsageError(f"{dataset.name} is a feature bundle and brings its own features: leave the backbone out.")
        return prepare(dataset, None, templates=templates, bank=texts)
    ref = resolve(backbone or DEFAULT, device=device)
    return prepare(dataset, ref, templates=templates, bank=texts, store=store, quiet=quiet)


@dataclass(frozen=True, eq=False)
class Roles:
    """Row numbers by the part they play in one fit.

    Attributes:
        support: labelled rows that the method learns from.
        validation: labelled rows of the data's own validation split.
        unlabeled: rows of the training side without a label.
        held_out: labelled rows that the fit doesn't see: the test split, else what the shots leave.
    """

    support: Ints
    validation: Ints
    unlabeled: Ints
    held_out: Ints


def roles(dataset: Dataset, shots: int | None, seed: int) -> Roles:
    """Give rows their parts; a test split is never learned from.

    Raises:
        DataError: a class has fewer labelled images than shots.
    """
    labels, splits = dataset.labels, dataset.splits
    inside = np.isin(splits, ("train", ""))
    pool = np.flatnonzero(inside & (labels >= 0))
    support = pool
    if shots is not None and len(pool):
        data_room.check_shots(labels[pool], dataset.class_names, shots)
        hidden = np.where(inside, labels, -1)
        support = support_draw(hidden, shots, 0, seed, ids=dataset.ids, class_names=dataset.class_names)
    test = np.flatnonzero((splits == "test") & (labels >= 0))
    return Roles(
        support=support,
        validation=np.flatnonzero((splits == "val") & (labels >= 0)),
        unlabeled=np.flatnonzero(inside & (labels < 0)),
        held_out=test if len(test) else np.setdiff1d(pool, support),
    )


@dataclass(frozen=True, eq=False)
class Scored:
    """Logits of labelled rows by a fit that did not see them.

    Attributes:
        logits: (n, C), temperature applied.
        labels: (n,) true classes.
        ids: n row identifiers.
        basis: ``held out`` rows, or the labelled rows themselves, each scored ``out of fold``.
    """

    logits: NDArray[np.float64]
    labels: Ints
    ids: tuple[str, ...]
    basis: Basis


@dataclass(frozen=True, eq=False)
class FitRun:
    """A fit with everything a report needs.

    Attributes:
        classifier: what was fitted.
        fitted: the method's answer.
        method: the configured method.
        task: what the method saw.
        prepared: features and texts of the whole data set.
        roles: which rows played which part.
        out_of_fold: logits of the labelled rows by fits that did not see them, or None.
    """

    classifier: Classifier
    fitted: Fitted
    method: Method
    task: Task
    prepared: Prepared
    roles: Roles
    out_of_fold: OutOfFold | None

    def score(self, fitted: Fitted | None = None) -> NDArray[np.float64]:
        """(n, C) logits of the held-out rows by this fit, temperature applied, or by another one as it is."""
        rows = self.prepared.answering(self.fitted if fitted is None else fitted, self.roles.held_out)
        logits = self.fitted(rows) / self.classifier.temperature if fitted is None else fitted(rows)
        return logits.double().cpu().numpy()

    @cached_property
    def scored(self) -> Scored | None:
        """The held-out rows scored once; without any, the labelled rows out of fold; without labels, None."""
        if len(rows := self.roles.held_out):
            ids = self.prepared.features.ids or ()
            return Scored(self.score(), self.prepared.dataset.labels[rows], tuple(ids[i] for i in rows), "held out")
        if self.out_of_fold is None:
            return None
        found = self.out_of_fold
        return Scored(found.logits / self.classifier.temperature, found.labels, found.ids or (), "out of fold")

    @cached_property
    def evaluation(self) -> Evaluation | None:
        """Figures of the rows that were scored."""
        if self.scored is None:
            return None
        names = self.classifier.class_names
        return evaluate_logits(self.scored.logits, self.scored.labels, names, split=self.scored.basis)

    @cached_property
    def names_alone(self) -> Evaluation | None:
        """What names alone give on the same rows, or None where there are no texts or nothing was scored."""
        alone = "ZeroShot" in (self.method.title, self.classifier.card.get("picked"))
        if self.scored is None or alone:
            return None
        held = self.scored.basis == "held out"
        rows = self.roles.held_out if held else self.roles.support
        scores = self.prepared.rows(rows).scores
        if scores is not None:
            logits = scores.double().mean(1).cpu().numpy()
        elif self.task.text is not None:
            fitted = catalogue.make("ZeroShot").fit(self.prepared.task(seed=self.task.seed))
            logits = fitted(self.prepared.rows(rows)).double().cpu().numpy()
        else:
            return None
        labels = self.prepared.dataset.labels[rows]
        return evaluate_logits(logits, labels, self.classifier.class_names, split=self.scored.basis)


def fit_run(
    data: Source,
    *,
    backbone: str | None = None,
    method: str | Method = "auto",
    classes: Classes | None = None,
    shots: int | None = None,
    templates: str | Sequence[str] | None = None,
    texts: TextBank | str | Path | None = None,
    hyper_parameters: Mapping[str, Any] | None = None,
    seed: int = 0,
    device: str | None = None,
    views: int = 0,
    store: Path | None = None,
    workspace: Path | None = None,
    quiet: bool = False,
) -> FitRun:
    """Fit as `clipwright.fit` does, and return what a report needs besides; arguments as there."""
    if not isinstance(seed, int | np.integer):
        raise UsageError(f"seed must be a whole number; it is {seed!r}.")
    opened = open_data(data, classes)
    _check(opened, shots)
    prepared = prepared_data(
        opened, backbone=backbone, templates=templates, texts=texts, device=device, store=store, quiet=quiet
    )
    dataset = prepared.dataset
    parts = roles(dataset, shots, seed)
    if views and len(parts.support):
        prepared = add_views(prepared, parts.support, views, seed=seed, quiet=quiet)
    task = prepared.task(parts.support, validation=parts.validation, unlabeled=parts.unlabeled, seed=seed)
    chosen, reason = _method(method, hyper_parameters or {})
    task = replace(prepared.granting(task, chosen), workspace=workspace, quiet=quiet)
    chosen.check(task)
    fitted = chosen.fit(task)
    held, calibration = out_of_fold_logits(chosen, task, fitted=fitted)
    classifier = Classifier(
        fitted,
        dataset.class_names,
        backbone=prepared.ref.describe() if prepared.ref is not None else None,
        temperature=1.0 if held is None else fit_temperature(held.logits, held.labels).value,
        card=_card(prepared, parts, task, chosen, fitted)
        | {"reason": fitted.trace.reason or reason, "calibration": calibration},
        support_contents=[prepared.contents[i] for i in parts.support] if prepared.contents else (),
        device=device,
    )
    return FitRun(classifier, fitted, chosen, task, prepared, parts, held)


def _check(dataset: Dataset, shots: int | None) -> None:
    """Refuse what can't be fitted before any image is looked at."""
    if len(dataset.class_names) < 2:
        raise DataError(f"{dataset.name} has a single class, so there is nothing to tell apart: add another class.")
    labels = dataset.labels[dataset.rows("train", "")]
    if shots is not None and bool((labels >= 0).any()):
        data_room.check_shots(labels, dataset.class_names, shots)


def _card(prepared: Prepared, parts: Roles, task: Task, method: Method, fitted: Fitted) -> dict[str, Any]:
    dataset = prepared.dataset
    picked = {"picked": fitted.trace.chosen.get("method"), "candidates": fitted.trace.candidates}
    return {
        "method": method.title,
        **(picked if isinstance(method, Auto) else {}),
        "data": dataset.name,
        "data_digest": dataset.digest,
        "templates": list(prepared.templates),
        **({} if (said := said_names(dataset)) == dataset.class_names else {"said_names": list(said)}),
        "labels_per_class": list(fitted.trace.labels_per_class),
        "images": {role: len(rows) for role, rows in vars(parts).items()},
        "seed": task.seed,
        "seconds_prepare": prepared.seconds,
        "skipped_images": len(prepared.problems),
        "notes": [*dataset.notes, *prepared.notes],
    }


def _method(method: str | Method, hyper_parameters: Mapping[str, Any]) -> tuple[Method, str]:
    if isinstance(method, str):
        return configured(method, **hyper_parameters), "It was asked for."
    if not isinstance(method, Method):
        raise UsageError(f"method must be a name or a configured method, such as TaskRes(); it is {method!r}.")
    if hyper_parameters:
        raise UsageError("hyper-parameters belong to a method that is given by name: set them on the method itself.")
    return method, "It was given."
