"""GDA: Gaussian classes with one covariance, fitted in closed form and added to the text classifier."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from clipwright.core.choice import near_best
from clipwright.core.gaussian import (
    ClassStatistics,
    LeaveOneOut,
    class_statistics,
    linear_discriminant,
    shrunk_covariance,
)
from clipwright.core.sweeps import sweep_grid
from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted, FitTrace, Source
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Method, Requirements, class_texts, require_labels, wants, working_dtype
from clipwright.task import AveragingRule, Features, Task
from clipwright.training.selection import labels_used
from clipwright.training.threads import threads_for

PUBLISHED_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""The alphas that the paper tries, in the scale of the published precision."""

GRID = tuple(10 ** (i / 4) for i in range(-12, 9))
"""The alphas tried here: 0.001 to 100 in quarter decades."""

ONE_SHOT_ALPHA = 0.5
"""alpha where the covariance is that of all rows around their mean."""

_BLOCK = 1 << 22  # numbers in memory at a time
_NOTHING = 1e-12  # scatter below this share of the squared lengths is rounding


def published_precision(scatter: torch.Tensor, rows: int) -> torch.Tensor:
    """``D ((n-1) C + tr(C) I)^-1`` with ``C = S/(n-1)``: (D, D), as the paper has it.

    Args:
        scatter: (D, D) S, the sum of ``(x - m_y)(x - m_y)'`` over the rows, not zero.
        rows: n, at least 2; every view of an image is a row.

    Source: Kubokawa and Srivastava 2008; Wang et al. 2024, section 3.
    """
    precision: torch.Tensor = torch.linalg.inv(shrunk_covariance(scatter, rows))
    return published_scale(len(scatter), rows) * precision


def published_scale(dim: int, rows: int) -> float:
    """What the published discriminant is, as a multiple of the log-posterior: D/(n-1)."""
    return dim / (rows - 1)


def rule_alpha(images_per_class: float) -> float:
    """alpha where there is nothing to choose it on: an eighth per labelled image of a class, 1 at most."""
    return min(1.0, images_per_class / 8)


@dataclass(frozen=True)
class GDA(Method):
    """``logit_scale * unit(x) . t_c + alpha * (unit(x) . w_c + b_c)``: text plus a linear Gaussian discriminant.

    Attributes:
        alpha: how much the discriminant counts, positive; 1 = the log-posterior of the fitted Gaussians. ``auto``
            takes, of a grid from 0.001 to 100, the value with the most images right, where a value ten times off an
            eighth per labelled image of a class (1 at most) must get four more right: on the validation set where the
            task has one, else on each labelled image left out in turn, in closed form. With fewer than two labelled
            images per class on average, and no validation set, it is 0.5.
        averaging: how the prompts of a class become one vector t_c of length 1.
        use_views: fit on all stored augmented views where the task has any, each a row of its own, as published, from
            two images per class on average; False = on the clean views.
        legacy_scale: the published scale of the discriminant, which falls as rows and views are added; `alpha`, and
            the grid (the published one, first best) where it is chosen, are then in that scale.
        legacy_one_shot: one row per class gives zero-shot, as released. By default the covariance is then that of
            all labelled images around their mean.

    Source: Wang et al. 2024, section 3; Kubokawa and Srivastava 2008 for the precision matrix.
    """

    title: ClassVar[str] = "GDA"
    summary: ClassVar[str] = "a few labels: Gaussian classes in closed form, added to the text"
    paper: ClassVar[str] = "Wang et al., A Hard-to-Beat Baseline for Training-Free CLIP-Based Adaptation, ICLR 2024"

    alpha: Literal["auto"] | Annotated[float, Field(gt=0, allow_inf_nan=False)] = "auto"
    averaging: AveragingRule = "mean_unit_renorm"
    use_views: bool = True
    legacy_scale: bool = False
    legacy_one_shot: bool = False

    def requires(self) -> Requirements:
        """Text features and labels; augmented views and validation labels where there are any."""
        return wants(views=self.use_views, validation=self.alpha == "auto")

    def fit(self, task: Task) -> Fitted:
        """Take the statistics of the support set, choose alpha, and fold text and discriminant into one linear head.

        Raises:
            NeedsError: the task has no text features or no labelled images.
            DataError: a class has no text or no labelled image.
        """
        self.check(task)
        support = require_labels(task)
        trace = self.trace(task)
        with trace.timed(), threads_for(len(support) * support.dim * (support.dim + task.n_classes)):
            pooled = self.legacy_one_shot or len(support) >= 2 * task.n_classes
            images = _Images(support, views=self.use_views and pooled)
            model = _Model(images, task.n_classes, pooled=pooled, legacy_scale=self.legacy_scale)
            if model.flat:
                trace.notes.append("The labelled images say nothing of how classes vary: the answer is zero-shot.")
            texts = task.logit_scale * unit_rows(class_texts(task, self.averaging)).double()
            alpha = self._alpha(task, texts, images, model, trace)
            weight = (texts + alpha * model.weight) / task.logit_scale
            return Fitted(
                LinearHead(weight.to(working_dtype(task)), alpha * model.bias, scale=task.logit_scale), trace=trace
            )

    def _alpha(self, task: Task, texts: torch.Tensor, images: _Images, model: _Model, trace: FitTrace) -> float:
        if self.alpha != "auto":
            return float(self.alpha)
        grid = PUBLISHED_GRID if self.legacy_scale else GRID
        shots = len(images.support) / task.n_classes
        prior = (rule_alpha(shots) if model.pooled else ONE_SHOT_ALPHA) / model.scale
        how: Source
        if task.validation is not None and len(task.validation):
            how, tried = "validation", _on_validation(task.validation, model)
            trace.labels_per_class = labels_used(task)
        elif model.pooled and not model.flat:
            how, tried = "cross-validation", _left_out(images, model)
        else:
            how, tried = "rule", iter(())
        correct, scored = torch.zeros(len(grid), dtype=torch.int64), 0
        for x, discriminants, y in tried:
            correct += sweep_grid(x @ texts.T, discriminants, y, torch.tensor(grid, dtype=torch.float64))
            scored += len(y)
        if not scored:
            how, alpha = "rule", prior
        elif self.legacy_scale:
            alpha = grid[correct.tolist().index(int(correct.max()))]
        else:
            alpha = near_best(correct.tolist(), grid, prior)
        trace.chosen["alpha"], trace.how["alpha"] = alpha, how
        return alpha


class _Images:
    """The labelled images in blocks: clean view, rows that are fitted on, class.

    Where there are fewer rows than dimensions, what is fitted lies in their span, and is fitted there.

    Attributes:
        basis: (D, N) orthonormal basis of that span, or None.
    """

    def __init__(self, support: Features, *, views: bool) -> None:
        self.support = support
        given = support.views if views else None
        self.rows = support.x[:, None] if given is None or not given.shape[1] else given
        few = self.rows.shape[0] * self.rows.shape[1] < support.dim
        self.basis = torch.linalg.qr(unit_rows(self.rows).double().flatten(0, 1).T).Q if few else None

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """(m, D) unit rows, (m, V, D or N) unit rows in the span, both in float64, and (m,) classes."""
        size = max(1, _BLOCK // max(1, self.rows[:1].numel()))
        for start in range(0, len(self.support), size):
            part = slice(start, start + size)
            clean = unit_rows(self.support.x[part]).double()
            yield clean, self.project(unit_rows(self.rows[part]).double()), self.support.labels[part]

    def project(self, x: torch.Tensor) -> torch.Tensor:
        """(..., D) rows in the coordinates of the span."""
        return x if self.basis is None else x @ self.basis

    def statistics(self, n_classes: int) -> ClassStatistics:
        views = self.rows.shape[1]
        blocks = ((rows.flatten(0, 1), y.repeat_interleave(views)) for _, rows, y in self)
        return class_statistics(blocks, n_classes)


class _Model:
    """The fitted Gaussians as a linear discriminant.

    Attributes:
        weight: (C, D), and bias: (C,).
        flat: whether there is no scatter to fit, so that the discriminant is zero.
        scale: what the log-posterior was multiplied by.
    """

    def __init__(self, images: _Images, n_classes: int, *, pooled: bool, legacy_scale: bool) -> None:
        self.statistics, self.pooled = images.statistics(n_classes), pooled
        scatter = self.statistics.within() if pooled else self.statistics.total()
        self.flat = bool(scatter.trace() <= _NOTHING * self.statistics.gram.trace())
        self.scale, dim = 1.0, images.support.dim
        if self.flat:
            self.weight, self.bias = scatter.new_zeros(n_classes, dim), scatter.new_zeros(n_classes)
            return
        rows = self.statistics.rows
        self.scale = published_scale(dim, rows) if legacy_scale else 1.0
        weight, bias = linear_discriminant(self.statistics.means, shrunk_covariance(scatter, rows))
        whole = weight if images.basis is None else weight @ images.basis.T
        self.weight, self.bias = self.scale * whole, self.scale * bias


def _on_validation(rows: Features, model: _Model) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    for x, _, y in _Images(rows, views=False):
        yield x, x @ model.weight.T + model.bias, y


def _left_out(images: _Images, model: _Model) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Each image whose class has another one, with its discriminants by the fit without it."""
    left_out = LeaveOneOut(model.statistics)
    views = images.rows.shape[1]
    for x, rows, y in images:
        others = (model.statistics.counts[y] > views).nonzero()[:, 0]
        size = max(1, _BLOCK // (views * max(model.weight.shape)))
        for start in range(0, len(others), size):
            part = others[start : start + size]
            yield x[part], model.scale * left_out(images.project(x[part]), rows[part], y[part]), y[part]
