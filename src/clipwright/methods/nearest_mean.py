"""The nearest class mean of the labelled images: no text, no training."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic.dataclasses import dataclass

from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Method, Requirements, require_labels, working_dtype
from clipwright.task import Need, Task


def class_means(x: torch.Tensor, y: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Mean of each class's rows; classes may differ in size.

    Args:
        x: (N, D) image features.
        y: (N,) int64 classes, each of which occurs.
        n_classes: C.

    Returns:
        (C, D) in the dtype of `x`.
    """
    counts = torch.bincount(y, minlength=n_classes)
    return x.new_zeros(n_classes, x.shape[1]).index_add_(0, y, x) / counts[:, None]


@dataclass(frozen=True)
class NearestMean(Method):
    """``logit_scale * unit(x) . unit(m_c)`` with m_c the mean of the class's images, each scaled to length 1.

    Attributes:
        distance: what is nearest. ``cosine``: the largest cosine between image and mean. ``euclidean``: the smallest
            distance between the image, scaled to length 1, and the mean as it is, the logit being
            ``-logit_scale / 2 * |unit(x) - m_c|^2`` up to what all classes share; a class whose images differ much
            has a short mean. The two agree at one label per class. Sources: ``euclidean`` is Wang et al. 2019, the
            L2N classifier of section 2, and Snell et al. 2017, equation 2, on fixed features.
    """

    title: ClassVar[str] = "NearestMean"
    summary: ClassVar[str] = "a few labels, no class names: the nearest class mean"
    paper: ClassVar[str] = (
        "Wang et al., SimpleShot: Revisiting Nearest-Neighbor Classification for Few-Shot Learning, 2019; "
        "Snell et al., Prototypical Networks for Few-shot Learning, NeurIPS 2017"
    )

    distance: Literal["cosine", "euclidean"] = "cosine"

    def requires(self) -> Requirements:
        """Labels."""
        return Requirements(needs=frozenset({Need.LABELS}))

    def fit(self, task: Task) -> Fitted:
        """Average the labelled images of each class.

        Raises:
            NeedsError: the task has no labelled images.
            DataError: a class has no labelled image.
        """
        self.check(task)
        support = require_labels(task)
        trace = self.trace(task)
        with trace.timed():
            means = class_means(support.unit_x().to(working_dtype(task)), support.labels, task.n_classes)
            if self.distance == "cosine":
                return Fitted(LinearHead(unit_rows(means), scale=task.logit_scale), trace=trace)
            bias = -task.logit_scale / 2 * means.square().sum(1)
            return Fitted(LinearHead(means, bias, scale=task.logit_scale), trace=trace)
