"""What class names alone say of images: the yardstick beside every fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clipwright import methods as catalogue
from clipwright.protocol.prepare import Prepared, Rows


def names_alone(prepared: Prepared, rows: Rows, *, seed: int = 0) -> NDArray[np.float64] | None:
    """(n, C) logits of some rows from the class names, or None where there are no texts and no scores.

    Args:
        prepared: features and texts of a data set.
        rows: n row numbers.
        seed: of the task.
    """
    features = prepared.rows(rows)
    if features.scores is not None:
        return features.scores.double().mean(1).cpu().numpy()
    if prepared.text is None:
        return None
    fitted = catalogue.make("ZeroShot").fit(prepared.task(seed=seed))
    return fitted(features).double().cpu().numpy()
