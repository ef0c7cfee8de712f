"""How far generated images are from real ones, in the space of a backbone: pure functions of features.

Two figures. *Separability*: the area under the ROC curve of a linear classifier that tells generated from real on
images it wasn't fitted on; 0.5 is chance. *Frechet distance* between the Gaussians of both (Heusel et al., GANs Trained
by a Two Time-Scale Update Rule, NeurIPS 2017, equation 6; there in Inception's space). Both grow where the classes are
mixed in different shares, which is no fault of the images; the Frechet distance also grows where there are few of them,
so it stands beside the distance between two halves of the real images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipwright.core.errors import DataError
from clipwright.core.folds import row_keys, stratified_folds

Floats = NDArray[np.float64]

FOLDS = 5
MOST = 2000
"""Images of each kind that the classifier sees, at most: enough for a figure of two digits."""

UNLIKE_AUC, UNLIKE_RATIO = 0.9, 3.0
"""From which separability, and how many times the distance of two halves of the real images, a warning is given."""


@dataclass(frozen=True)
class Gap:
    """The gap between generated and real images.

    Attributes:
        generated: how many generated images were compared.
        real: how many real ones.
        auc: separability in [0, 1], or None with fewer than two images of a kind.
        frechet: distance between all generated and all real images.
        frechet_matched: the same between as many of both as half of the real images are (or all generated ones).
        frechet_real: between two such samples of the real images, or None with fewer than four.
        by_class: distance of each class whose real images are labelled, by name; None with fewer than two of a kind.
    """

    generated: int
    real: int
    auc: float | None
    frechet: float
    frechet_matched: float | None
    frechet_real: float | None
    by_class: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """How many times further generated images are from real ones than real ones from each other."""
        if self.frechet_matched is None or not self.frechet_real:
            return None
        return self.frechet_matched / self.frechet_real

    @property
    def warning(self) -> str | None:
        """A sentence where generated images look unlike the real ones, else None."""
        auc, ratio = self.auc, self.ratio
        if auc is None or auc < UNLIKE_AUC or (ratio is not None and ratio < UNLIKE_RATIO):
            return None
        times = "" if ratio is None else f", and they lie {ratio:.1f} times as far apart as two halves of the real ones"
        return (
            f"the generated images look unlike the real ones: a linear classifier tells them apart with an AUC of "
            f"{auc:.2f}{times}; what learns from them alone may do worse on real images than class names do."
        )

    def as_json(self) -> dict[str, Any]:
        """All of it, for files and programs."""
        return {
            "generated": self.generated,
            "real": self.real,
            "auc": self.auc,
            "frechet": self.frechet,
            "frechet_matched": self.frechet_matched,
            "frechet_real": self.frechet_real,
            "ratio": self.ratio,
            "by_class": dict(self.by_class),
            "warning": self.warning,
        }


def gap(
    generated: ArrayLike,
    real: ArrayLike,
    *,
    generated_labels: ArrayLike | None = None,
    real_labels: ArrayLike | None = None,
    class_names: Sequence[str] = (),
    seed: int = 0,
) -> Gap:
    """Measure the gap on features of unit length.

    Args:
        generated: (n, D) features; rows are brought to unit length.
        real: (m, D) features.
        generated_labels: (n,) class numbers.
        real_labels: (m,) class numbers, -1 = unlabeled; without labels there are no distances by class.
        class_names: C names.
        seed: of folds and samples.

    Raises:
        DataError: features that can't be compared, or fewer than two of a kind.
    """
    x, y = unit(generated), unit(real)
    order = np.argsort(row_keys([str(i) for i in range(len(y))], seed, "gap", "real"))
    chosen = np.argsort(row_keys([str(i) for i in range(len(x))], seed, "gap", "generated"))
    half = min(len(y) // 2, len(x))
    matched = between = None
    if half >= 2:
        matched = frechet_distance(x[chosen[:half]], y[order[:half]])
        between = frechet_distance(y[order[:half]], y[order[half : 2 * half]])
    by_class: dict[str, float | None] = {}
    if generated_labels is not None and real_labels is not None:
        by_class = _by_class(x, y, np.asarray(generated_labels), np.asarray(real_labels), class_names)
    auc = separability(x, y, seed=seed)
    return Gap(len(x), len(y), auc, frechet_distance(x, y), matched, between, by_class)


def _by_class(
    x: Floats, y: Floats, xl: NDArray[Any], yl: NDArray[Any], class_names: Sequence[str]
) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for number, name in enumerate(class_names):
        a, b = x[xl == number], y[yl == number]
        found[name] = frechet_distance(a, b) if min(len(a), len(b)) >= 2 else None
    return found if any(value is not None for value in found.values()) else {}


def unit(features: ArrayLike) -> Floats:
    """(n, D) float64 rows of unit length; zero rows stay zero.

    Raises:
        DataError: no matrix, or numbers that aren't finite.
    """
    x = np.asarray(features, dtype=np.float64)
    if x.ndim != 2 or not np.isfinite(x).all():
        raise DataError("features must be a matrix of finite numbers, a row for each image.")
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12))


def separability(generated: ArrayLike, real: ArrayLike, *, folds: int = FOLDS, seed: int = 0) -> float | None:
    """How well a linear classifier tells generated from real images that it wasn't fitted on.

    Logistic regression on standardised features, both kinds counting alike; the mean over folds of the area under the
    ROC curve. At most `MOST` images of each kind are used.

    Args:
        generated: (n, D) features.
        real: (m, D) features.
        folds: at most; fewer where there are fewer images.
        seed: of folds and samples.

    Returns:
        In [0, 1], 0.5 = chance; None with fewer than two images of a kind.

    Raises:
        DataError: features of different width.
    """
    x, y = _pair(generated, real)
    parts = []
    for name, part in (("generated", x), ("real", y)):
        keys = row_keys([str(i) for i in range(len(part))], seed, "separability", name)
        parts.append(part[np.sort(np.argsort(keys)[:MOST])])
    z = np.concatenate(parts)
    kind = np.repeat([0, 1], [len(part) for part in parts])
    fewest = min(map(len, parts))
    assigned = stratified_folds(kind, min(folds, fewest), seed, "separability") if fewest >= 2 else None
    if assigned is None:
        return None
    scores = [_auc(z[assigned != k], kind[assigned != k], z[assigned == k], kind[assigned == k]) for k in set(assigned)]
    known = [score for score in scores if score is not None]
    return float(np.mean(known)) if known else None


def _auc(x: Floats, y: NDArray[np.int_], test: Floats, truth: NDArray[np.int_]) -> float | None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    if len(set(truth.tolist())) < 2 or len(set(y.tolist())) < 2:
        return None
    mean, deviation = x.mean(0), x.std(0)
    scale = np.where(deviation > 1e-9, deviation, 1.0)
    # Strong shrinkage: with fewer images than dimensions anything can be told apart on the images fitted on.
    model = LogisticRegression(C=0.01, class_weight="balanced", max_iter=500).fit((x - mean) / scale, y)
    return float(roc_auc_score(truth, model.decision_function((test - mean) / scale)))


def frechet_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Frechet distance between the Gaussians of two sets: ``|m1-m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))``.

    The last trace is the sum of the singular values of ``R1 R2^T``, where ``S = R^T R`` comes from a QR decomposition
    of the centred rows: no square root of a matrix, so that covariances without full rank (fewer images than
    dimensions) give no complex numbers, and no square of a number that is then taken the root of.

    Args:
        a: (n, D), n at least 2.
        b: (m, D), m at least 2.

    Returns:
        At least 0, in squared units of the features.

    Raises:
        DataError: fewer than two rows, or features of different width.
    """
    x, y = _pair(a, b)
    if min(len(x), len(y)) < 2:
        raise DataError("a Frechet distance needs at least two images on each side: add some.")
    first, second = _root(x), _root(y)
    shift = float(((x.mean(0) - y.mean(0)) ** 2).sum())
    spread = float((first**2).sum() + (second**2).sum())
    common = float(np.linalg.svd(first @ second.T, compute_uv=False).sum())
    return max(shift + spread - 2 * common, 0.0)


def _root(x: Floats) -> Floats:
    """R with ``R^T R`` the covariance of the rows; at most D rows."""
    centred = (x - x.mean(0)) / np.sqrt(len(x) - 1)
    return np.asarray(np.linalg.qr(centred, mode="r")) if len(centred) > centred.shape[1] else centred


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise DataError("the two sets of features have different widths: extract both with one backbone.")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise DataError("features must be finite numbers.")
    return x, y
