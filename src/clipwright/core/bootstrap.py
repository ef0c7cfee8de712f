"""Paired bootstrap of mean accuracies over tasks: what clusters, draws and test images were there by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clipwright.core.errors import DataError
from clipwright.core.intervals import Interval
from clipwright.core.rng import generator

Floats = NDArray[np.float64]

REPLICATES = 2_000
_BLOCK = 1 << 24  # weights of images in memory at a time


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Resampled means of several methods, all from the same resamples, so that differences are paired.

    Attributes:
        means: (M,) mean of each method over the tasks.
        replicates: (R, M) the same of each resample.
    """

    means: Floats
    replicates: Floats

    def interval(self, method: int, level: float = 0.95) -> Interval:
        """Percentile interval of one method's mean."""
        return _percentile(float(self.means[method]), self.replicates[:, method], level)

    def difference(self, one: int, other: int, level: float = 0.95) -> Interval:
        """Percentile interval of the difference of two methods' means."""
        differences = self.replicates[:, one] - self.replicates[:, other]
        return _percentile(float(self.means[one] - self.means[other]), differences, level)


def _percentile(mean: float, values: Floats, level: float) -> Interval:
    tail = 50 * (1 - level)
    low, high = np.percentile(values, [tail, 100 - tail])
    return Interval(mean, min(mean, float(low)), max(mean, float(high)))


def over_tasks(
    tasks: Sequence[Sequence[ArrayLike]],
    clusters: Sequence[str],
    *,
    shared_images: Sequence[bool] | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Bootstrap:
    """Resample clusters of tasks, the draws within each task, and the test images of each task.

    Tasks of one cluster (variants of a data set, say) come and go together. With a single cluster, only draws and
    images are resampled, and the interval says nothing about other data.

    Args:
        tasks: for each task and each of its D draws, (M, n) whether each of M methods was right on each test image.
        clusters: name of each task's cluster.
        shared_images: whether the draws of a task were scored on the same test images; by default all were. Where
            they weren't, each draw's images are resampled by themselves.
        replicates: R, resamples.
        seed: of the resamples.

    Raises:
        DataError: there are no tasks, or their methods differ in number.
    """
    if not tasks or len(tasks) != len(clusters) or not all(len(draws) for draws in tasks):
        raise DataError("a mean over tasks needs at least one task, with at least one draw, and a cluster for each.")
    shared = [True] * len(tasks) if shared_images is None else list(shared_images)
    found, means = [], []
    for number, (draws, same) in enumerate(zip(tasks, shared, strict=True)):
        right = [np.asarray(draw, dtype=np.float32) for draw in draws]
        means.append(np.mean([draw.mean(axis=1) for draw in right], axis=0))
        found.append(_one_task(right, replicates, generator(seed, "bootstrap", "task", number), shared=same))
    if len({len(m) for m in means}) > 1:
        raise DataError("a mean over tasks needs the same methods on every task.")
    names, which = np.unique(np.asarray(clusters), return_inverse=True)
    chosen = np.ones((replicates, len(names)))
    if len(names) > 1:
        picks = generator(seed, "bootstrap", "clusters").integers(len(names), size=(replicates, len(names)))
        chosen = np.stack([(picks == k).sum(axis=1) for k in range(len(names))], axis=1).astype(np.float64)
    weight = chosen[:, which]  # (R, T): how often each task is in each resample
    total = np.einsum("rt,trm->rm", weight, np.stack(found)) / weight.sum(axis=1, keepdims=True)
    return Bootstrap(np.mean(means, axis=0, dtype=np.float64), total)


def _one_task(
    right: Sequence[NDArray[np.float32]], replicates: int, rng: np.random.Generator, *, shared: bool
) -> Floats:
    """(R, M) resampled accuracies of one task."""
    draws, (methods, images) = len(right), right[0].shape
    counts = np.full((replicates, draws), 1 / draws)
    if draws > 1:
        counts = rng.multinomial(draws, np.full(draws, 1 / draws), size=replicates) / draws
    found = np.zeros((replicates, methods))
    step = max(1, _BLOCK // images)
    for start in range(0, replicates, step):
        part = counts[start : start + step]
        weights = _image_weights(rng, images, len(part)) if shared else None
        for d, draw in enumerate(right):
            w = weights if weights is not None else _image_weights(rng, draw.shape[1], len(part))
            found[start : start + step] += part[:, d, None] * (w @ draw.T)
    return found


def _image_weights(rng: np.random.Generator, images: int, size: int) -> NDArray[np.float32]:
    """(size, images) share of each image in a resample of as many."""
    picks = rng.integers(images, size=(size, images))
    offset = np.arange(size)[:, None] * images
    found = np.bincount((picks + offset).reshape(-1), minlength=size * images).reshape(size, images)
    return (found / images).astype(np.float32)
