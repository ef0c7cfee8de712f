"""A finished classifier measured on labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from clipwright.core.errors import DataError
from clipwright.core.intervals import wilson
from clipwright.core.metrics import score_rows


@dataclass(frozen=True)
class Evaluation:
    """Figures of one classifier on one data set; shares from 0 to 1.

    Attributes:
        top1: share of images whose most probable class is the true one.
        low: lower end of Wilson's 95 % interval of `top1` over images.
        high: upper end.
        n: labelled images scored.
        macro: mean of the per-class accuracies of the classes that have images.
        per_class: ``{class: {"accuracy": ..., "n": ...}}``; accuracy is None for a class without images.
        topk: ``{k: share}`` for k = 5 and 10 where there are more classes.
        nll: mean negative log-likelihood, in nats.
        ece: expected calibration error over 15 bins.
        brier: mean squared distance between probabilities and the one-hot label, 0 to 2.
        aurc: area under the risk-coverage curve, 0 to 1: how well confidence tells right answers from wrong ones.
        split: which rows were scored: ``"test"``, ``"val"`` or ``"all"`` labelled ones; after a fit ``"held out"`` or
            ``"out of fold"`` ones. Out of fold, nll, ece and brier are slightly too good: the temperature was fitted
            on the same rows.
        problems: (id, reason) of each image that couldn't be read.
        notes: what the user should know, one sentence each.
    """

    top1: float
    low: float
    high: float
    n: int
    macro: float
    per_class: dict[str, dict[str, Any]]
    topk: dict[int, float]
    nll: float
    ece: float
    brier: float
    aurc: float
    split: str = "all"
    problems: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """All figures, for programs."""
        return asdict(self)


@dataclass(frozen=True)
class BaseToNew:
    """A classifier of one half of the classes, measured on both halves, each among its own classes.

    The figures of CoOp's base-to-new protocol (Zhou et al., Conditional Prompt Learning for Vision-Language Models,
    CVPR 2022).

    Attributes:
        base: figures of the half that it was fitted on.
        new: figures of the other half.
    """

    base: Evaluation
    new: Evaluation

    @property
    def harmonic(self) -> float:
        """Harmonic mean of the two accuracies, 0 where one of them is 0."""
        a, b = self.base.top1, self.new.top1
        return 2 * a * b / (a + b) if a and b else 0.0

    def as_json(self) -> dict[str, Any]:
        """All figures, for programs."""
        return {"base": self.base.as_json(), "new": self.new.as_json(), "harmonic": self.harmonic}


def evaluate_logits(logits: ArrayLike, labels: ArrayLike, class_names: Sequence[str], **more: Any) -> Evaluation:
    """Figures of (n, C) logits against (n,) labels.

    Args:
        logits: one row per labelled image, temperature applied.
        labels: true classes, indices into `class_names`.
        class_names: C names.
        more: further fields of `Evaluation`: split, problems, notes.

    Raises:
        DataError: there is nothing to score.
    """
    y = np.asarray(labels, dtype=np.int64)
    if not len(y):
        raise DataError("there are no labelled images to score: give labelled data.")
    rows = score_rows(logits, y)
    figures = rows.summary()
    interval = wilson(float(rows.correct.sum()), len(y))
    counts = np.bincount(y, minlength=len(class_names))
    accuracy = rows.per_class()
    return Evaluation(
        top1=figures["top1"],
        low=interval.low,
        high=interval.high,
        n=len(y),
        macro=figures["macro"],
        per_class={
            name: {"accuracy": float(accuracy[i]) if counts[i] else None, "n": int(counts[i])}
            for i, name in enumerate(class_names)
        },
        topk={k: figures[f"top{k}"] for k in (5, 10) if f"top{k}" in figures},
        nll=figures["nll"],
        ece=figures["ece"],
        brier=figures["brier"],
        aurc=figures["aurc"],
        **more,
    )
