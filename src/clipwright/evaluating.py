"""A fitted classifier measured on labelled images: all classes, some of them, others, or both halves of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clipwright.classifier import Classifier
from clipwright.core.errors import DataError
from clipwright.data.dataset import Dataset, Subset
from clipwright.features import default_folder, is_complete
from clipwright.fitted import Fitted
from clipwright.fitting import Classes, Ints, Source, open_data
from clipwright.protocol.evaluation import BaseToNew, Evaluation, evaluate_logits
from clipwright.protocol.prepare import Prepared, prepare
from clipwright.protocol.transfer import (
    ClassIndex,
    extended,
    extending_method,
    knows_none,
    map_classes,
    read_class_index,
)


def evaluate(
    classifier: Classifier,
    data: Source,
    *,
    classes: Classes | None = None,
    class_index: ClassIndex | None = None,
    classes_subset: Subset | None = None,
    device: str | None = None,
    store: Path | None = None,
    quiet: bool = False,
) -> Evaluation:
    """Measure a classifier on labelled images: on the test split where there is one, else on all that are labelled.

    Classes are matched by name, or by `class_index`. Where the data lack some of the classifier's classes, or have
    them in another order, the logits of all classes are computed, then restricted to those of the data.

    Args:
        classifier: what `fit` returned or `Classifier.load` read.
        data: labelled data.
        classes: class names of the data, by a file or a list.
        class_index: the classifier's number of each class of the data, where names don't tell: numbers from 0, a file
            of them, or ``"imagenet-a"`` or ``"imagenet-r"``.
        classes_subset: score the ``"base"`` or the ``"new"`` half of the data's classes; a half of which the
            classifier knows no class is scored from its texts, where the method can.
        device: where to run the backbone.
        store: folder of the feature store; the cache when left out.
        quiet: show no progress.

    Raises:
        DataError: no labelled images, or classes that the classifier doesn't know.
        NeedsError: the classifier's method can't score new classes.
        BackboneError: images for a classifier that takes ready-made features.
    """
    dataset = open_data(data, classes, classes_subset=classes_subset)
    names = dataset.class_names
    unseen = classes_subset == "new" and class_index is None and knows_none(classifier, names)
    if unseen:
        extending_method(classifier)  # what can't be scored is refused before any image is looked at
    else:
        numbers = None if class_index is None else read_class_index(class_index)
        columns = map_classes(names, classifier.class_names, numbers)
    part, split = scored_part(dataset)
    if not _is_kept(dataset, classifier, store, device):
        dataset = part
    prepared = _features_for(classifier, dataset, texts=unseen, device=device, store=store, quiet=quiet)
    if unseen:
        fitted = extended(classifier, names, prepared.text, prepared.logit_scale)
    else:
        fitted = _restricted(classifier, columns)
    rows = np.arange(len(prepared.dataset)) if dataset is part else _scored(prepared.dataset)[0]
    return _evaluation(classifier, fitted, prepared, rows, split)


def base_to_new(
    classifier: Classifier,
    data: Source,
    *,
    classes: Classes | None = None,
    device: str | None = None,
    store: Path | None = None,
    quiet: bool = False,
) -> BaseToNew:
    """Measure a classifier of the base half of the classes on both halves, each scored among its own classes.

    Args:
        classifier: fitted on ``open_data(data, classes_subset="base")``.
        data: the whole data, labelled.
        classes: class names of the data, by a file or a list.
        device: where to run the backbone.
        store: folder of the feature store; the cache when left out.
        quiet: show no progress.

    Raises:
        NeedsError: the classifier's method can't score new classes.
        DataError: the classifier's classes aren't the base half of the data's.
    """
    dataset = open_data(data, classes)
    if not is_base(classifier, dataset):
        raise DataError(
            f"the classifier's {len(classifier.class_names)} classes are not the base half of those of {dataset.name}: "
            "fit it with --classes-subset base on the same data."
        )
    shared: dict[str, Any] = {"device": device, "store": store, "quiet": quiet}
    new = evaluate(classifier, dataset, classes_subset="new", **shared)
    return BaseToNew(evaluate(classifier, dataset, classes_subset="base", **shared), new)


def is_base(classifier: Classifier, dataset: Dataset) -> bool:
    """Whether the classes of a classifier are the base half of those of the data, and no more."""
    half = (len(dataset.class_names) + 1) // 2
    return 0 < half < len(dataset.class_names) and classifier.class_names == dataset.class_names[:half]


def scored_part(dataset: Dataset) -> tuple[Dataset, str]:
    """The images that `evaluate` scores, and of which split they are: ``test``, ``val`` or ``all``.

    Raises:
        DataError: none is labelled.
    """
    rows, split = _scored(dataset)
    if not len(rows):
        raise DataError("there are no labelled images to score: give labelled data.")
    return dataset.take(rows), split


def _is_kept(dataset: Dataset, classifier: Classifier, store: Path | None, device: str | None) -> bool:
    """Whether features of all the data are at hand, or to be kept where the user says; else the scored ones will do.

    An endpoint that keeps its features is sent the images in the same lots as by a fit, which it has answered already.
    """
    if dataset.bundle is not None or store is not None or classifier.asks:
        return True
    return is_complete(default_folder(dataset, classifier.backbone_ref(device)))


def _features_for(
    classifier: Classifier, dataset: Dataset, *, texts: bool, device: str | None, store: Path | None, quiet: bool
) -> Prepared:
    """Features of the data by the classifier's backbone, and texts by its templates where they are asked for."""
    if dataset.bundle is not None:
        return prepare(dataset, None)
    templates = classifier.card.get("templates") or None
    ref = classifier.backbone_ref(device)
    asks = classifier.asks
    prepared = prepare(
        dataset,
        ref,
        templates=templates,
        texts=texts or asks,
        second=classifier.second_ref(),
        store=store,
        asked_names=classifier.said_names if asks else None,
        quiet=quiet,
    )
    if asks:
        classifier.attach(ref.load())
    if classifier.fitted.tower is not None:  # what is extracted above is of the tower that the fit changed
        prepared = replace(prepared, features=replace(prepared.features, tower=classifier.fitted.tower.digest))
    return prepared


def _restricted(classifier: Classifier, columns: Ints) -> Fitted:
    fitted = classifier.fitted
    if columns.tolist() == list(range(len(classifier.class_names))):
        return fitted
    return replace(fitted, head=fitted.head.restrict(torch.from_numpy(columns)))


def _evaluation(classifier: Classifier, fitted: Fitted, prepared: Prepared, rows: Ints, split: str) -> Evaluation:
    dataset = prepared.dataset
    logits = fitted(prepared.rows(rows)) / classifier.temperature
    notes = (*dataset.notes, *prepared.notes, *_seen(classifier, prepared, rows))
    if bool(dataset.is_generated[rows].any()):
        notes = (*notes, "The scored images are generated, so the accuracy says little about real ones.")
    more: dict[str, Any] = {"split": split, "problems": prepared.problems, "notes": notes}
    return evaluate_logits(logits, dataset.labels[rows], dataset.class_names, **more)


def _scored(dataset: Dataset) -> tuple[Ints, str]:
    """The labelled rows to score: the test split, else the validation split beside a training split, else all.

    Generated images are scored where there are no others.
    """
    labelled = (dataset.labels >= 0) & (~dataset.is_generated | bool(dataset.is_generated.all()))
    for split in ("test", "val"):
        rows = np.flatnonzero((dataset.splits == split) & labelled)
        if len(rows) and (split == "test" or dataset.has_split("train")):
            return rows, split
    return np.flatnonzero(labelled), "all"


def _seen(classifier: Classifier, prepared: Prepared, rows: Ints) -> tuple[str, ...]:
    """What to tell of scored images that the classifier was fitted on."""
    if not prepared.contents or not classifier.support_contents:
        return ()
    fitted, digits = set(classifier.support_contents), len(classifier.support_contents[0])
    seen = sum(prepared.contents[i][:digits] in fitted for i in rows)
    if not seen:
        return ()
    return (
        (
            f"{seen} of the {len(rows)} scored images are exact copies of images that the classifier was fitted on, "
            "so the accuracy says more than it should: score other images."
        ),
    )
