"""Classification metrics as pure functions of logits and labels, in float64."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipwright.core.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_BLOCK = 1 << 22  # logits looked at together: 32 MiB in float64


def log_softmax(logits: ArrayLike) -> Floats:
    """(n, C) natural log-probabilities of (n, C) logits."""
    z = np.asarray(logits, dtype=np.float64)
    z = z - z.max(axis=1, keepdims=True)
    shifted: Floats = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return shifted


def softmax(logits: ArrayLike) -> Floats:
    """(n, C) probabilities of (n, C) logits."""
    return np.exp(log_softmax(logits))


@dataclass(frozen=True, eq=False)
class RowScores:
    """What one pass over logits and labels yields for each row; the metrics below are means of these.

    Attributes:
        label: (n,) true class.
        predicted: (n,) class of the largest logit, the first of equals.
        rank: (n,) how many classes stand before the true one, 0 = it was predicted.
        confidence: (n,) probability of the predicted class.
        nll: (n,) minus the natural log of the true class's probability, in nats.
        brier: (n,) squared distance between probabilities and the one-hot label, 0 to 2.
        n_classes: C.
    """

    label: Ints
    predicted: Ints
    rank: Ints
    confidence: Floats
    nll: Floats
    brier: Floats
    n_classes: int

    def __len__(self) -> int:
        return len(self.label)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(n,) whether the predicted class is the true one."""
        return np.equal(self.predicted, self.label)

    def top_k(self, k: int = 1) -> float:
        """Share of rows whose true class is among the k largest logits."""
        return float((self.rank < k).mean())

    def per_class(self) -> Floats:
        """(C,) share of each class's rows that were predicted right, NaN for a class without rows."""
        return per_class_accuracy(self.predicted, self.label, self.n_classes)

    def summary(self) -> dict[str, float]:
        """top1, macro, nll, ece, brier and aurc, and top5 and top10 where there are more classes than that."""
        found = {
            "top1": self.top_k(1),
            "macro": float(np.nanmean(self.per_class())),
            "nll": float(self.nll.mean()),
            "ece": calibration_error(self.confidence, self.correct),
            "brier": float(self.brier.mean()),
            "aurc": risk_coverage_area(self.confidence, self.correct),
        }
        return found | {f"top{k}": self.top_k(k) for k in (5, 10) if self.n_classes > k}


def score_rows(logits: ArrayLike, labels: ArrayLike) -> RowScores:
    """Score each row once, in blocks, so that (n, C) is never copied whole.

    Args:
        logits: (n, C) finite scores; probabilities are their softmax.
        labels: (n,) integers in 0..C-1.

    Raises:
        DataError: no rows, shapes that differ, a label outside the classes, or NaN or infinity.
    """
    z, y = _checked(logits, labels)
    parts = [_score_block(z[rows], y[rows]) for rows in _blocks(*z.shape)]
    predicted, rank, confidence, nll, brier = (np.concatenate(column) for column in zip(*parts, strict=True))
    return RowScores(y, predicted, rank, confidence, nll, brier, z.shape[1])


def accuracy(logits: ArrayLike, labels: ArrayLike) -> float:
    """Share of rows whose largest logit is the true class's."""
    return top_k_accuracy(logits, labels, 1)


def top_k_accuracy(logits: ArrayLike, labels: ArrayLike, k: int) -> float:
    """Share of rows whose true class is among the k largest logits; of equal logits the first class wins."""
    return score_rows(logits, labels).top_k(k)


def negative_log_likelihood(logits: ArrayLike, labels: ArrayLike) -> float:
    """Mean of minus the natural log of the true class's probability, in nats."""
    return float(score_rows(logits, labels).nll.mean())


def brier_score(logits: ArrayLike, labels: ArrayLike) -> float:
    """Mean squared distance between probabilities and the one-hot label, 0 (certain and right) to 2 (Brier, 1950)."""
    return float(score_rows(logits, labels).brier.mean())


def expected_calibration_error(logits: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal bins of confidence (Guo et al., 2017, eq. 3), 0 to 1."""
    rows = score_rows(logits, labels)
    return calibration_error(rows.confidence, rows.correct, bins)


def confusion_matrix(predicted: ArrayLike, labels: ArrayLike, n_classes: int) -> Ints:
    """(C, C) counts: row = true class, column = predicted class."""
    p, y = np.asarray(predicted, dtype=np.int64), np.asarray(labels, dtype=np.int64)
    return np.bincount(y * n_classes + p, minlength=n_classes * n_classes).reshape(n_classes, n_classes)


def per_class_accuracy(predicted: ArrayLike, labels: ArrayLike, n_classes: int) -> Floats:
    """(C,) share of each class's rows that were predicted right (recall), NaN for a class without rows."""
    p, y = np.asarray(predicted, dtype=np.int64), np.asarray(labels, dtype=np.int64)
    rows = np.bincount(y, minlength=n_classes).astype(np.float64)
    right = np.bincount(y[p == y], minlength=n_classes)
    share: Floats = np.divide(right, rows, out=np.full(n_classes, np.nan), where=rows > 0)
    return share


def macro_accuracy(predicted: ArrayLike, labels: ArrayLike, n_classes: int) -> float:
    """Mean of the per-class accuracies of the classes that have rows (balanced accuracy)."""
    return float(np.nanmean(per_class_accuracy(predicted, labels, n_classes)))


@dataclass(frozen=True, eq=False)
class Reliability:
    """Equal bins of confidence.

    Attributes:
        edges: (B + 1,) borders; a bin holds its right border.
        count: (B,) rows in each bin.
        confidence: (B,) mean confidence, NaN where empty.
        accuracy: (B,) share predicted right, NaN where empty.
    """

    edges: Floats
    count: Ints
    confidence: Floats
    accuracy: Floats


def reliability(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> Reliability:
    """Sort rows into equal bins of confidence.

    Args:
        confidence: (n,) probabilities of the predicted classes, 0 to 1.
        correct: (n,) whether each prediction was right.
        bins: B, at least 1.
    """
    c, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.clip(np.ceil(c * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(place, weights=v, minlength=bins) / count for v in (c, right)]
    return Reliability(edges, count, *means)


def calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = 15) -> float:
    """`expected_calibration_error` from confidences and outcomes."""
    found = reliability(confidence, correct, bins)
    gaps = np.nan_to_num(np.abs(found.accuracy - found.confidence))
    return float((found.count * gaps).sum() / found.count.sum())


def risk_coverage_area(confidence: ArrayLike, correct: ArrayLike) -> float:
    """Area under the risk-coverage curve (AURC), 0 to 1: how well confidence tells right answers from wrong ones.

    Mean over n of the error rate among the n most confident rows (Geifman, Uziel and El-Yaniv, Bias-Reduced Uncertainty
    Estimation for Deep Neural Classifiers, ICLR 2019). Rows of equal confidence count as the mean over their orders.

    Args:
        confidence: (n,) probabilities of the predicted classes, or any score that grows with certainty.
        correct: (n,) whether each prediction was right.
    """
    c, wrong = np.asarray(confidence, dtype=np.float64), 1.0 - np.asarray(correct, dtype=np.float64)
    _, tie, sizes = np.unique(-c, return_inverse=True, return_counts=True)
    share = np.bincount(tie, weights=wrong) / sizes  # of each group of ties, most confident first
    risk = np.cumsum(np.repeat(share, sizes)) / np.arange(1, len(c) + 1)
    return float(risk.mean())


def _checked(logits: ArrayLike, labels: ArrayLike) -> tuple[NDArray[Any], Ints]:
    z, y = np.asarray(logits), np.asarray(labels)
    if z.ndim != 2 or y.ndim != 1 or len(z) != len(y):
        raise DataError(f"metrics take (n, C) logits and (n,) labels; the shapes are {z.shape} and {y.shape}.")
    if not len(z) or not z.shape[1]:
        raise DataError("there is nothing to score: give at least one labelled row and one class.")
    if y.dtype.kind not in "iu":
        raise DataError(f"labels must be integers; they are {y.dtype}.")
    if y.min() < 0 or y.max() >= z.shape[1]:
        raise DataError(f"labels must lie in 0..{z.shape[1] - 1}; they range from {y.min()} to {y.max()}.")
    return z, y.astype(np.int64)


def _blocks(n: int, classes: int) -> Iterator[slice]:
    step = max(1, _BLOCK // classes)
    return (slice(i, i + step) for i in range(0, n, step))


def _score_block(logits: NDArray[Any], y: Ints) -> tuple[Ints, Ints, Floats, Floats, Floats]:
    z = logits.astype(np.float64)
    if not np.isfinite(z).all():
        raise DataError("logits hold NaN or infinity: look at the features they were made from.")
    log_p = log_softmax(z)
    p = np.exp(log_p)
    rows = np.arange(len(y))
    own = z[rows, y][:, None]
    earlier = np.arange(z.shape[1]) < y[:, None]
    rank = ((z > own) | ((z == own) & earlier)).sum(axis=1).astype(np.int64)
    predicted = z.argmax(axis=1).astype(np.int64)
    brier = (p**2).sum(axis=1) - 2 * p[rows, y] + 1
    return predicted, rank, p[rows, predicted], -log_p[rows, y], np.maximum(brier, 0.0)
