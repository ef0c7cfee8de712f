"""How far confidences can be believed, before and after the temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipwright.core.intervals import wilson
from clipwright.core.metrics import reliability
from clipwright.protocol.results import Group, Results
from clipwright.report.elements import Bin, Figures, Score

BINS = 15


def bins(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> tuple[Bin, ...]:
    """Rows in equal bins of confidence, empty bins left out.

    Args:
        confidence: (n,) probabilities of the predicted classes.
        correct: (n,) whether each prediction was right.
    """
    found = reliability(confidence, correct, BINS)
    total = int(found.count.sum())
    made = []
    for n, sure, right in zip(found.count.tolist(), found.confidence, found.accuracy, strict=True):
        if n:
            interval = wilson(round(float(right) * n), n)
            made.append(Bin(float(sure), float(right), interval.low, interval.high, n / total))
    return tuple(made)


def figures(results: Results, group: Group, scores: Sequence[Score]) -> tuple[Figures, ...]:
    """Means over draws of each method's calibration, where they were recorded."""
    made = []
    for s in scores:
        mean = partial(_mean, results, group, s)
        temperatures = [t for t in results.values(s.method, s.shots, group, "temperature").values() if t is not None]
        made.append(
            Figures(
                s.method,
                ece=(mean("ece"), mean("ece_calibrated")),
                nll=(mean("nll"), mean("nll_calibrated")),
                brier=(mean("brier"), mean("brier_calibrated")),
                aurc=mean("aurc"),
                temperature=float(np.median(temperatures)) if temperatures else None,
            )
        )
    return tuple(made)


def _mean(results: Results, group: Group, score: Score, name: str) -> float | None:
    """None where some draw lacks it."""
    values = list(results.values(score.method, score.shots, group, name).values())
    return None if not values or any(v is None for v in values) else float(np.mean(values))


def why_not(config: Mapping[str, Any], shots: int) -> str:
    """Why a comparison fitted no temperature, and how to get one."""
    if not config.get("calibrate", False):
        return (
            "No temperature was fitted, since none was asked for: compare with --calibrate, or calibrate=True, to get "
            "one."
        )
    if not shots:
        return "No temperature was fitted: that needs labels, and this method had none."
    return (
        "No temperature was fitted: that needs at least two labelled images of every class, so that each can be "
        "scored by a fit that did not see it."
    )
