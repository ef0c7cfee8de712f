"""What each method took, beside what it gave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clipwright.protocol.results import Group, Results
from clipwright.report.elements import Cost, Score
from clipwright.report.text import count

_COUNTED = ("images", "texts", "calls", "tokens")


def costs(results: Results, group: Group, scores: Sequence[Score], shots: int) -> tuple[Cost, ...]:
    """The cost of each method at a number of shots, and of those that need no labels; the most accurate first.

    Args:
        results: all cells.
        group: data set and backbone.
        scores: accuracies with standings, among them those at `shots` and at 0.
        shots: labels per class.
    """
    found = [_cost(results, group, s) for s in scores if s.shots in {shots, 0}]
    return tuple(sorted(found, key=lambda c: -c.score.mean))


def costs_note(shots: int, costs: Sequence[Cost]) -> str:
    """Which fits were counted, and what memory means."""
    text = f"Medians over the fits with {count(shots, 'label')} per class" if shots else "Medians over the fits"
    if shots and any(c.score.shots == 0 for c in costs):
        text += ", and over those from names alone"
    text += ". Features and texts were made once, before, and are not part of the seconds"
    if any(c.peak_mib is not None for c in costs):
        text += "; memory is that of the whole process, libraries and features included"
    return text + "."


def _cost(results: Results, group: Group, score: Score) -> Cost:
    figures = {name: _median(results, group, score, name) for name in ("seconds_fit", "seconds_predict", "peak_mib")}
    return Cost(score, **figures, **{name: _median(results, group, score, name) for name in _COUNTED})


def _median(results: Results, group: Group, score: Score, name: str) -> float | None:
    values: list[Any] = [v for v in results.values(score.method, score.shots, group, name).values() if v is not None]
    return float(np.median(values)) if values else None
