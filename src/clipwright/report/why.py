"""Which texts decided: by class, and for the images where it is worth knowing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from clipwright.data.dataset import Dataset
from clipwright.methods.coder_texts import KINDS
from clipwright.methods.explaining import Explainer, Said, Why
from clipwright.report.elements import Evidence, Reason
from clipwright.report.outcomes import pictures
from clipwright.task import Features, TextFeatures

CLASSES, IMAGES, TEXTS, ALL = 12, 8, 3, 1 << 30
"""Classes and images that are explained, and texts per side, at most."""


def has_texts(text: TextFeatures | None) -> bool:
    """Whether more is said of the classes than their names in templates."""
    return text is not None and any(kind in KINDS for kind in text.kind)


def reasons(
    text: TextFeatures,
    rows: Features,
    predicted: NDArray[np.int64],
    confidence: NDArray[np.float64],
    class_names: Sequence[str],
    *,
    labels: NDArray[np.int64] | None = None,
    dataset: Dataset | None = None,
) -> tuple[tuple[Reason, ...], tuple[Reason, ...]]:
    """What the texts say for the answers of a classifier, whatever else it learned from.

    Args:
        text: what is said of the classes.
        rows: n images.
        predicted: (n,) the classifier's answers.
        confidence: (n,) how sure it was.
        class_names: C names.
        labels: (n,) true classes, -1 where they aren't known, or None.
        dataset: where thumbnails are read from.

    Returns:
        the classes that were named most often, by the mean over their images; and the least certain images.
    """
    explainer = Explainer(text)
    found = explainer.explain_classes(rows, top=ALL, winners=torch.from_numpy(predicted))
    often = np.bincount(predicted, minlength=len(class_names))
    order = sorted(found, key=lambda c: (-int(often[c]), c))[:CLASSES]
    by_class = tuple(
        _reason(class_names[c], found[c], class_names, under=f"{int(often[c]):,} images") for c in sorted(order)
    )
    doubtful = np.argsort(confidence, kind="stable")[:IMAGES]
    whys = explainer.explain(rows[doubtful], top=ALL, winners=torch.from_numpy(predicted[doubtful]))
    ids = rows.ids or tuple(str(i) for i in range(len(rows)))
    seen = pictures(dataset, [ids[i] for i in doubtful])
    by_image = tuple(
        _reason(
            class_names[why.winner],
            why,
            class_names,
            under=ids[i],
            picture=seen.get(ids[i], ("", False)),
            truth="" if labels is None or labels[i] < 0 else class_names[labels[i]],
        )
        for i, why in zip(doubtful.tolist(), whys, strict=True)
    )
    return by_class, by_image


def _reason(
    name: str,
    why: Why,
    names: Sequence[str],
    *,
    under: str,
    picture: tuple[str, bool] = ("", False),
    truth: str = "",
) -> Reason:
    return Reason(
        named=name,
        against=names[why.runner_up] if why.runner_up >= 0 else "",
        lead=why.lead,
        spoke_for=tuple(_evidence(said) for said in why.winning[:TEXTS]),
        spoke_against=tuple(_evidence(said) for said in why.losing[: -TEXTS - 1 : -1]),
        under=under,
        thumbnail=picture[0] or None,
        small=picture[1],
        truth=truth,
    )


def _evidence(said: Said) -> Evidence:
    return Evidence(said.text or "its name", said.kind, said.share)
