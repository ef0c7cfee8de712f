"""Blending classifiers with weights found on rows that none of them saw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clipwright.core.calibration import fit_temperature
from clipwright.core.errors import DataError
from clipwright.core.metrics import log_softmax

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PRIOR = 1.0
"""Rows that an even blend counts for: enough to settle ties, too few to resist the labels."""


def blend_weights(logits: Sequence[Floats], labels: Ints, *, prior: float = PRIOR) -> Floats:
    """Weights of a sum of logits, none negative, that minimise the cross-entropy of held-out rows.

    ``sum_i crossentropy(sum_m w_m z_mi, y_i) + prior / 2 * sum_m (w_m / v_m - 1)^2``, where v_m is one M-th of the
    inverse temperature that calibrates member m alone. The objective is convex, so its minimum is found for certain;
    without rows the answer would be v, an even blend of calibrated members.

    Args:
        logits: M arrays (n, C) of rows that the members were not fitted on.
        labels: (n,) true classes.
        prior: weight of the pull towards v, positive.

    Returns:
        (M,) weights.

    Raises:
        DataError: there are no members or no rows.
    """
    from scipy.optimize import minimize

    if not len(logits) or not len(labels):
        raise DataError("a blend needs at least one member and one held-out row.")
    start = np.array([1 / (len(logits) * fit_temperature(z, labels).value) for z in logits])
    z = np.stack([member - member.mean(axis=1, keepdims=True) for member in logits])  # (M, n, C)
    own = z[:, np.arange(len(labels)), labels]

    def loss(ratio: Floats) -> tuple[float, Floats]:
        mixed = log_softmax(np.tensordot(ratio * start, z, axes=1))
        value = -mixed[np.arange(len(labels)), labels].sum() + prior / 2 * ((ratio - 1) ** 2).sum()
        expected = (np.exp(mixed)[None] * z).sum(axis=2)
        return float(value), (expected - own).sum(axis=1) * start + prior * (ratio - 1)

    found = minimize(loss, np.ones(len(start)), jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(start))
    weights: Floats = found.x * start
    return weights
