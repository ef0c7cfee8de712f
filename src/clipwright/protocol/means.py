"""Means over data sets and backbones, with intervals that say how far they depend on which of these were there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clipwright.core.bootstrap import Bootstrap, over_tasks
from clipwright.core.intervals import Interval
from clipwright.protocol.results import Group, Results

Kind = Literal["data set", "backbone", "none"]
Standing = Literal["best", "tied", ""]


@dataclass(frozen=True)
class MeanRow:
    """One method at one number of shots, over all tasks.

    Attributes:
        method: its name.
        shots: labels per class asked for; a method that looks at no labels stands beside the others at each number.
        tasks: how many (data set, backbone) there are.
        mean: mean top-1 accuracy, 0 to 1.
        low: lower end of its 95 % interval.
        high: upper end.
        difference: mean paired difference to the best at these shots; None for the best itself.
        standing: ``best``, ``tied`` where the interval of the difference holds zero, or empty.
    """

    method: str
    shots: int
    tasks: int
    mean: float
    low: float
    high: float
    difference: Interval | None
    standing: Standing


@dataclass(frozen=True, eq=False)
class Means:
    """Means over the tasks that all methods of a table share.

    Attributes:
        rows: by shots, then from the best down.
        clusters: how many clusters were resampled.
        cluster_kind: what a cluster is: a ``data set`` (with all its backbones), a ``backbone`` where there is one
            data set, or ``none`` where there is a single task.
        left_out: methods that some task lacks at every number of shots.
    """

    rows: tuple[MeanRow, ...]
    clusters: int
    cluster_kind: Kind
    left_out: tuple[str, ...] = ()

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Names in the order in which rows first have them."""
        return tuple(dict.fromkeys(row.method for row in self.rows))


def means(results: Results, *, seed: int = 0) -> Means:
    """Mean accuracy of each method at each number of shots over all (data set, backbone), with paired intervals.

    Clusters, the draws within a task, and test images are resampled (2,000 times, percentile intervals). Variants of a
    data set count as data sets of their own unless they are given as one; see the documentation.

    Args:
        results: cells of any number of data sets and backbones.
        seed: of the resamples.
    """
    groups = results.groups()
    names = sorted({dataset for dataset, _ in groups})
    kind: Kind = "none" if len(groups) == 1 else "data set" if len(names) > 1 else "backbone"
    clusters = [dataset if kind == "data set" else backbone for dataset, backbone in groups]
    everywhere, rows = set(), []
    for shots in sorted({row.shots for row in results.summary()} - {0}) or [0]:
        shared = [m for m in results.methods() if all(_place(results, m, shots, g) is not None for g in groups)]
        everywhere |= set(shared)
        if shared:
            tasks = [_outcomes(results, shared, shots, group) for group in groups]
            same = [results.scores_a_split(group) for group in groups]
            rows += _rows(over_tasks(tasks, clusters, shared_images=same, seed=seed), shared, shots, len(groups))
    left = tuple(m for m in results.methods() if m not in everywhere)
    return Means(tuple(rows), len(set(clusters)), kind, left)


def _rows(found: Bootstrap, methods: Sequence[str], shots: int, tasks: int) -> list[MeanRow]:
    order = np.argsort(-found.means, kind="stable").tolist()
    best, rows = order[0], []
    for m in order:
        own = found.interval(m)
        gap = None if m == best else found.difference(m, best)
        standing: Standing = "best" if gap is None else "tied" if 0.0 in gap else ""
        rows.append(MeanRow(methods[m], shots, tasks, own.mean, own.low, own.high, gap, standing))
    return rows


def _place(results: Results, method: str, shots: int, group: Group) -> int | None:
    """The number of shots to read: a method that looks at no labels was run at 0; None = not run."""
    asked = [k for k in (shots, 0) if results.values(method, k, group)]
    only_nameless = not any(k > 0 for k in results.shots_of(method, group))
    return next((k for k in asked if k == shots or only_nameless), None)


def _outcomes(results: Results, methods: Sequence[str], shots: int, group: Group) -> list[NDArray[np.uint8]]:
    """For each draw, (M, n) whether each method was right on each test image."""
    by_method = []
    for method in methods:
        place = _place(results, method, shots, group)
        assert place is not None  # noqa: S101 - the caller looked
        by_method.append(results.right(method, place, group))
    drawn = [set(found) for found in by_method if len(found) > 1]
    draws = sorted(set.intersection(*drawn)) if drawn else sorted(by_method[0])
    return [np.stack([found.get(draw, next(iter(found.values()))) for found in by_method]) for draw in draws]
