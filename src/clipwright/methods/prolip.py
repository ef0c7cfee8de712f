"""ProLIP: the image tower's last matrix, tuned on the labelled images and held at where it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch.nn.functional import cross_entropy

from clipwright.core.errors import DataError
from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted
from clipwright.heads.base import Restricted
from clipwright.heads.projected import ProjectedHead
from clipwright.methods.base import Method, Requirements, class_texts, require_labels, wants, working_dtype
from clipwright.task import AveragingRule, Features, Need, Task
from clipwright.training.loop import train
from clipwright.training.schedules import cosine_schedule
from clipwright.training.selection import labels_used
from clipwright.training.threads import threads_for

PENALTIES = (10.0, 1.0, 0.1, 0.01, 1e-3, 1e-4, 0.0)
"""What a validation set chooses among, as released: multiples of ``(logit_scale / 100)^2``."""

EPSILON = 1e-4
"""Adam's, as released: entries whose gradient is smaller than this move less."""

AGREEMENT = 0.99
"""Median cosine of image features and projected ones below which the projection is taken for another tower's."""


def prolip_fit(
    o: torch.Tensor,
    y: torch.Tensor,
    projection: torch.Tensor,
    texts: torch.Tensor,
    *,
    bias: torch.Tensor | None = None,
    learning_rates: Sequence[float],
    penalty: float = 0.0,
    logit_scale: float = 100.0,
) -> tuple[torch.Tensor, list[float]]:
    """Tune a projection by Adam, all rows in one step per epoch.

    The loss is ``CE(logit_scale * unit(o @ W + bias) @ texts.T, y) + penalty * |W - projection|^2``, the sum of the
    squares of all entries.

    Args:
        o: (N, D') image features before the projection.
        y: (N,) int64 classes.
        projection: (D', D) where W begins and what it is held at; its dtype is computed in.
        texts: (C, D) unit class texts.
        bias: (D,) what the tower adds after the projection, not tuned; None = nothing.
        learning_rates: one per epoch; as many epochs are run.
        penalty: how strongly W is held, at least 0.
        logit_scale: multiplies the cosines.

    Returns:
        The (D', D) projection and the loss of each epoch, taken before its step.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    with torch.inference_mode(False), threads_for(len(y) * projection.numel()):
        # copies, because what comes from inference mode can't be trained on
        start, rows, y = projection.clone(), o.to(projection.dtype).clone(), y.clone()
        targets = logit_scale * texts.to(start.dtype).clone()
        shift = torch.zeros_like(start[0]) if bias is None else bias.to(start.dtype).clone()
        weight = start.clone().requires_grad_()

        def loss(_: None) -> torch.Tensor:
            logits = unit_rows(torch.addmm(shift, rows, weight)) @ targets.T
            value = cross_entropy(logits, y)
            return value + penalty * (weight - start).square().sum() if penalty else value

        adam = torch.optim.Adam([weight], lr=0.0, eps=EPSILON)
        losses = train(adam, loss, lambda _: [None], learning_rates)
        return weight.detach(), losses


@dataclass(frozen=True)
class ProLIP(Method):
    """``logit_scale * unit(o W + b) . t_k``: W starts at the tower's last matrix and is held there; texts t are fixed.

    Attributes:
        learning_rate: Adam's at first, followed by half a cosine, positive. The paper's are 1e-2, 1e-3, 1e-4 and 1e-5.
        epochs: steps, each with all images, at least 1; 300 in the paper.
        penalty: weight of ``|W - W0|^2``, at least 0. With N the mean number of labels per class, ``auto`` is
            ``(logit_scale / 100)^2 / N``, the paper's 1/N where logits are 100 times cosine; ``1/N`` and ``1/N2``
            (1/N^2) are the paper's whatever the logit scale. ``validation`` = the best of `PENALTIES` on the task's
            validation set; without one, ``auto``.
        selection: what ``validation`` goes by: the lowest ``loss`` or the highest ``accuracy`` (as released); of
            equals the strongest penalty.
        projection_scale: what W0 and b are multiplied by first, positive. Rate and penalty refer to the size of their
            entries, the logits don't. ``auto`` = the factor after which W0 keeps the mean length of the labelled
            images' features, so that towers that differ by a factor alone give one classifier; 1 = as published.
        averaging: how the prompts of a class become one vector.

    Source: Fahes et al. 2024, cross-entropy with the Frobenius term; optimiser and grid from the released code.
    """

    title: ClassVar[str] = "ProLIP"
    summary: ClassVar[str] = "a few labels: the image tower's last matrix, tuned and held at where it was"
    paper: ClassVar[str] = "Fahes et al., CLIP's Visual Embedding Projector is a Few-shot Cornucopia, 2024"

    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    epochs: Annotated[int, Field(ge=1)] = 300
    penalty: Literal["auto", "1/N", "1/N2", "validation"] | Annotated[float, Field(ge=0, allow_inf_nan=False)] = "auto"
    selection: Literal["loss", "accuracy"] = "loss"
    projection_scale: Literal["auto"] | Annotated[float, Field(gt=0, allow_inf_nan=False)] = "auto"
    averaging: AveragingRule = "mean_unit_renorm"

    def requires(self) -> Requirements:
        """Text features, labels, and features before the projection; validation labels where they choose."""
        known = wants(validation=self.penalty == "validation")
        return replace(known, needs=known.needs | {Need.PRE_PROJECTION})

    def fit(self, task: Task) -> Fitted:
        """Tune the projection on the support set.

        Raises:
            NeedsError: the task has no text features, no labelled images or no features before the projection.
            DataError: a class has no text or no labelled image, or the projection doesn't belong to the features.
            DivergedError: the loss became NaN or infinite.
        """
        self.check(task)
        support = require_labels(task)
        trace = self.trace(task)
        with trace.timed():
            texts = unit_rows(class_texts(task, self.averaging)).to(working_dtype(task))
            tower = _Tower.of(task, support, texts.dtype, self.projection_scale)
            rates = cosine_schedule(self.learning_rate, self.epochs)

            def tuned(penalty: float) -> tuple[ProjectedHead, list[float]]:
                weight, losses = prolip_fit(
                    tower.o,
                    support.labels,
                    tower.start,
                    texts,
                    bias=tower.bias,
                    learning_rates=rates,
                    penalty=penalty,
                    logit_scale=task.logit_scale,
                )
                head = ProjectedHead(weight / tower.factor, texts, task.projection_bias, scale=task.logit_scale)
                return head, losses

            if self.penalty == "validation" and task.validation is not None and len(task.validation):
                penalties = [(task.logit_scale / 100) ** 2 * value for value in PENALTIES]
                penalty, (head, trace.losses) = self._best(task.validation, penalties, tuned)
                trace.how["penalty"], trace.labels_per_class = "validation", labels_used(task)
            else:
                penalty = self._rule(task, len(support) / task.n_classes)
                head, trace.losses = tuned(penalty)
                if isinstance(self.penalty, str):
                    trace.how["penalty"] = "rule"
            trace.chosen["penalty"] = penalty
            if self.projection_scale == "auto":
                trace.chosen["projection_scale"], trace.how["projection_scale"] = tower.factor, "rule"
            return Fitted(head, trace=trace)

    def extend(self, fitted: Fitted, task: Task) -> Fitted:
        """The tuned projection with the texts of the other classes."""
        head = fitted.head.head if isinstance(fitted.head, Restricted) else fitted.head
        if not isinstance(head, ProjectedHead):
            raise DataError("this classifier has no tuned projection to extend: fit it with ProLIP.")
        texts = unit_rows(class_texts(task, self.averaging))
        trace = replace(fitted.trace, labels_per_class=(0,) * task.n_classes)
        return Fitted(head.with_classes(texts, task.logit_scale), trace=trace)

    def _rule(self, task: Task, shots: float) -> float:
        rules = {"1/N": 1 / shots, "1/N2": 1 / shots**2}
        if isinstance(self.penalty, str):
            return rules.get(self.penalty, (task.logit_scale / 100) ** 2 / shots)
        return self.penalty

    def _best(
        self, rows: Features, penalties: Sequence[float], tuned: Callable[[float], tuple[ProjectedHead, list[float]]]
    ) -> tuple[float, tuple[ProjectedHead, list[float]]]:
        """The penalty that does best on labelled rows, and what it gives."""
        if rows.pre_projection is None:
            raise DataError("the validation set has no features before the projection: extract its images again.")
        found, least = None, float("inf")
        for penalty in penalties:
            made = tuned(penalty)
            logits = made[0](rows.pre_projection)
            wrong = float((logits.argmax(1) != rows.labels).double().mean())
            worth = wrong if self.selection == "accuracy" else float(cross_entropy(logits, rows.labels))
            if found is None or worth < least:
                found, least = (penalty, made), worth
        assert found is not None  # noqa: S101 - there are penalties
        return found


class _Tower(NamedTuple):
    """The labelled images before the projection, and the projection at the size that it is tuned at."""

    o: torch.Tensor  # (N, D')
    start: torch.Tensor  # (D', D)
    bias: torch.Tensor | None  # (D,)
    factor: float

    @classmethod
    def of(cls, task: Task, support: Features, dtype: torch.dtype, scale: float | Literal["auto"]) -> _Tower:
        """Projection and bias times a factor; refused where they don't make the image features."""
        assert task.projection is not None  # noqa: S101 - a need of the method
        assert support.pre_projection is not None  # noqa: S101 - likewise
        o, projection = support.pre_projection.to(dtype), task.projection.to(dtype)
        bias = None if task.projection_bias is None else task.projection_bias.to(dtype)
        x = o @ projection if bias is None else o @ projection + bias
        lengths = float(o.norm(dim=1).mean()), float(x.norm(dim=1).mean())
        if not min(lengths) > 0:
            raise DataError("the labelled images' features before the projection are zero: extract them again.")
        agreement = float((unit_rows(x) * support.unit_x()).sum(1).median())
        if agreement < AGREEMENT:
            raise DataError(
                f"the features before the projection don't give the image features (median cosine {agreement:.3g}), so "
                "the projection is another tower's, or its bias is missing: extract the images again."
            )
        factor = lengths[0] / lengths[1] if scale == "auto" else float(scale)
        return cls(o, factor * projection, None if bias is None else factor * bias, factor)
