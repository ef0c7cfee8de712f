"""Which classes are easily taken for each other: found from their texts or from predictions, never from test labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from clipwright.backbones.base import BackboneRef
from clipwright.core.errors import UsageError
from clipwright.core.tensors import unit_rows
from clipwright.data.dataset import Dataset
from clipwright.features import extract
from clipwright.texts import text_features

Pair = tuple[int, int]
PairSource = Literal["texts", "images", "all"]

_TOP = 5  # classes of one image that may be confused with each other; CODER compares as many


def pairs_of_texts(classifier: torch.Tensor, per_class: int) -> list[Pair]:
    """For each class the others whose text is nearest to its own.

    Args:
        classifier: (C, D) text feature of each class.
        per_class: how many others, at most.

    Returns:
        unordered pairs (i < j), ascending.
    """
    w = unit_rows(classifier.double())
    return _nearest((w @ w.T).numpy(), per_class, -math.inf)


def pairs_of_predictions(logits: torch.Tensor, per_class: int) -> list[Pair]:
    """For each class the others that predictions hesitate most between; no label is read.

    An image gives the pair (i, j) of its five most probable classes the weight p_i p_j, and weights are summed.

    Args:
        logits: (n, C) of images, from class texts.
        per_class: how many others, at most; those that no image confuses are left out.

    Returns:
        unordered pairs (i < j), ascending.
    """
    classes = logits.shape[1]
    p = torch.softmax(logits.double(), dim=1)
    top = p.topk(min(_TOP, classes), dim=1)
    kept = torch.zeros_like(p).scatter_(1, top.indices, top.values)
    return _nearest((kept.T @ kept).numpy(), per_class, 1e-6)


def _nearest(score: np.ndarray, per_class: int, least: float) -> list[Pair]:
    """Pairs in which one is among the `per_class` highest of the other; of equal scores, the lower class number."""
    found: set[Pair] = set()
    for i, row in enumerate(score):
        others = [j for j in np.argsort(-row, kind="stable").tolist() if j != i and row[j] > least]
        found |= {(min(i, j), max(i, j)) for j in others[:per_class]}
    return sorted(found)


def all_pairs(classes: int) -> list[Pair]:
    """Every unordered pair (i < j)."""
    return [(i, j) for i in range(classes) for j in range(i + 1, classes)]


def confusable_pairs(
    class_names: Sequence[str],
    source: PairSource,
    *,
    per_class: int,
    backbone: BackboneRef | None,
    dataset: Dataset | None = None,
    templates: Sequence[str] | None = None,
    quiet: bool = False,
) -> list[Pair]:
    """Pairs of class numbers that one-vs-one texts are worth asking for.

    Args:
        class_names: C names.
        source: ``texts`` (nearest class texts), ``images`` (predictions on unlabeled and support images), or ``all``.
        per_class: rivals of each class, at most.
        backbone: encodes texts and images; not needed for ``all``, nor for a bundle, which has its own features.
        dataset: where images come from; rows of a validation or test split are never looked at, and no label is.
        templates: prompt templates for the class names.
        quiet: show no progress.

    Raises:
        UsageError: a backbone or images are missing.
        BackboneError: the weights can't be had.
    """
    if source == "all":
        return all_pairs(len(class_names))
    if dataset is not None and dataset.bundle is not None:
        return _of_bundle(dataset, source, per_class)
    if backbone is None:
        raise UsageError(
            "one-vs-one texts need the classes that are easily confused: name a --backbone to find them with, or give "
            "--pairs all."
        )
    texts = text_features(backbone, class_names, templates).classifier()
    if source == "texts":
        return pairs_of_texts(texts, per_class)
    if dataset is None:
        raise UsageError("--pairs images needs images: give a data source in place of a file of names.")
    visible = dataset.take(dataset.rows("train", "")).without_labels()
    if not len(visible):
        raise UsageError(f"{dataset.name} has no image outside its validation and test splits: use --pairs texts.")
    store = extract(visible, backbone, quiet=quiet)
    features, _ = store.features_for(visible)
    return pairs_of_predictions(store.logit_scale * features.unit_x() @ unit_rows(texts).to(torch.float32).T, per_class)


def _of_bundle(dataset: Dataset, source: PairSource, per_class: int) -> list[Pair]:
    bundle = dataset.bundle
    if bundle is None or bundle.text is None:
        raise UsageError("the bundle has no text features to find confusable classes with: use --pairs all.")
    texts = unit_rows(bundle.text.classifier())
    if source == "texts":
        return pairs_of_texts(texts, per_class)
    features = bundle.features[dataset.rows("train", "")]
    return pairs_of_predictions(bundle.logit_scale * features.unit_x().to(texts.dtype) @ texts.T, per_class)
