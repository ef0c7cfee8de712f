"""TaskRes: a free vector per class, added to its text feature and learned from the labelled images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from clipwright.core.errors import DataError
from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Method, Requirements, class_texts, require_labels, working_dtype
from clipwright.task import AveragingRule, Features, Need, Task
from clipwright.training.batches import Batches, random_views, shuffled_batches
from clipwright.training.loop import train
from clipwright.training.schedules import Schedule, make_schedule
from clipwright.training.threads import threads_for

RAW_TEXT_NORM = 8.0
"""About the length of CLIP's raw text features, which the published alpha and learning rate refer to."""

FEW_SHOTS = 4
"""Up to this many labels per class, the published number of epochs is 100, beyond it 200."""


def residual_logits(
    x: torch.Tensor, base: torch.Tensor, residual: torch.Tensor, *, alpha: float = 0.5, logit_scale: float = 100.0
) -> torch.Tensor:
    """``logit_scale * unit(x) . unit(base + alpha * residual)``.

    Args:
        x: (m, D) image features, any length.
        base: (C, D) class texts at the scale that `alpha` refers to.
        residual: (C, D), what is learned.
        alpha: how much of the residual is added.
        logit_scale: multiplies the cosines.

    Returns:
        (m, C) logits.
    """
    return logit_scale * (unit_rows(x) @ unit_rows(base + alpha * residual).T)


def taskres_fit(
    x: torch.Tensor | Callable[[int], torch.Tensor],
    y: torch.Tensor,
    base: torch.Tensor,
    *,
    batches: Batches | Sequence[Sequence[torch.Tensor]],
    learning_rates: Sequence[float],
    alpha: float = 0.5,
    weight_decay: float = 5e-4,
    logit_scale: float = 100.0,
) -> tuple[torch.Tensor, list[float]]:
    """Learn the residual by Adam on the cross-entropy, from zero.

    Args:
        x: (N, D) image features of any length, or a function from the epoch to them.
        y: (N,) int64 classes.
        base: (C, D) class texts; its dtype is computed in.
        batches: rows of each batch, by epoch: a function from the epoch, or one list of batches per epoch.
        learning_rates: one per epoch; as many epochs are run.
        alpha: how much of the residual is added to `base`.
        weight_decay: added to the gradient times the residual (coupled, not AdamW's).
        logit_scale: multiplies the cosines.

    Returns:
        The (C, D) residual and the mean loss of each epoch.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    rows_of = batches if callable(batches) else batches.__getitem__
    with torch.inference_mode(False), threads_for(len(y) * base.numel()):
        residual = torch.zeros_like(base).requires_grad_()
        clean = None if callable(x) else unit_rows(x).to(base.dtype)

        def pairs(epoch: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
            rows = clean if clean is not None else unit_rows(x(epoch)).to(base.dtype)  # type: ignore[operator] # callable
            return [(rows[batch], y[batch]) for batch in rows_of(epoch)]

        def loss(pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            # unit rows once per epoch, not once per step: hence not residual_logits
            weight = torch.nn.functional.normalize(base + alpha * residual, dim=-1)
            return torch.nn.functional.cross_entropy(pair[0] @ (logit_scale * weight).T, pair[1])

        adam = torch.optim.Adam([residual], weight_decay=weight_decay)
        losses = train(adam, loss, pairs, learning_rates)
        return residual.detach(), losses


@dataclass(frozen=True)
class TaskRes(Method):
    """Text features plus alpha times a learned residual: TaskRes with its regular base.

    Attributes:
        alpha: how much of the residual is added to the text feature, positive; 0.5 in the paper (1 for Flowers).
        learning_rate: Adam's rate after the warm-up epoch, positive; 2e-3 in the paper (2e-4 for ImageNet).
        epochs: passes over the support set, at least 1; None = the paper's rule: 100 where no class has more than 4
            labels, else 200.
        weight_decay: coupled weight decay on the residual, at least 0; 5e-4 is in force in the released code by a
            default of its framework.
        batch_size: images per step, at least 1; 256 in the paper.
        drop_last: leave out an incomplete last batch, unless it is the only one, as the released code does.
        schedule: learning rate per epoch: ``dassl`` (one epoch at 1e-5, then half a cosine; as released), ``cosine``
            (no warm-up) or ``constant``.
        text_scale: what the averaged class texts are multiplied by. alpha, learning rate and weight decay refer to
            their length. ``auto`` brings them to a mean length of 8, that of CLIP's raw text features, whatever
            length they come with; a number is used as it is (1 = texts as given, the paper's own with raw features).
        averaging: how the prompts of a class become one vector. The default makes all classes equally long, so that
            unit-norm and raw text features of one model give the same classifier; the paper's is ``raw_mean``.
        use_views: train on one stored augmented view of each image per epoch, drawn at random, where the task has
            views (as published, which draws a new one each time); False = always on the clean view.

    Source: Yu et al. 2023, sections 3.3 and 4.1.
    """

    title: ClassVar[str] = "TaskRes"
    summary: ClassVar[str] = "a few labels: a learned residual on each class text"
    paper: ClassVar[str] = "Yu et al., Task Residual for Tuning Vision-Language Models, CVPR 2023"

    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.5
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2e-3
    epochs: Annotated[int, Field(ge=1)] | None = None
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5e-4
    batch_size: Annotated[int, Field(ge=1)] = 256
    drop_last: bool = True
    schedule: Schedule = "dassl"
    text_scale: Literal["auto"] | Annotated[float, Field(gt=0, allow_inf_nan=False)] = "auto"
    averaging: AveragingRule = "mean_unit_renorm"
    use_views: bool = True

    def requires(self) -> Requirements:
        """Text features and labels; augmented views where there are any."""
        views = frozenset({Need.VIEWS}) if self.use_views else frozenset()
        return Requirements(needs=frozenset({Need.TEXT, Need.LABELS}), optional=views)

    def fit(self, task: Task) -> Fitted:
        """Learn the residual on the support set.

        Raises:
            NeedsError: the task has no text features or no labelled images.
            DataError: a class has no text or no labelled image.
            DivergedError: the loss became NaN or infinite.
        """
        self.check(task)
        support = require_labels(task)
        epochs = self.epochs or (100 if max(task.shots) <= FEW_SHOTS else 200)
        texts = class_texts(task, self.averaging).to(working_dtype(task))
        factor = _auto_scale(texts) if self.text_scale == "auto" else float(self.text_scale)
        rules: dict[str, Any] = {} if self.epochs else {"epochs": epochs}
        trace = self.trace(task, rules | ({"text_scale": factor} if self.text_scale == "auto" else {}))
        with trace.timed():
            base = texts * factor
            residual, trace.losses = taskres_fit(
                self._images(support, task.seed),
                support.labels,
                base,
                batches=shuffled_batches(
                    len(support), self.batch_size, drop_last=self.drop_last, seed=task.seed, key=("taskres", "order")
                ),
                learning_rates=make_schedule(self.schedule, self.learning_rate, epochs),
                alpha=self.alpha,
                weight_decay=self.weight_decay,
                logit_scale=task.logit_scale,
            )
            weight = unit_rows(base + self.alpha * residual)
            return Fitted(LinearHead(weight, scale=task.logit_scale), trace=trace)

    def _images(self, support: Features, seed: int) -> torch.Tensor | Callable[[int], torch.Tensor]:
        if self.use_views and support.views is not None and support.views.shape[1]:
            return random_views(support.views, seed=seed, key=("taskres", "views"))
        return support.x


def _auto_scale(texts: torch.Tensor) -> float:
    mean = float(texts.norm(dim=-1).mean())
    if mean == 0:
        raise DataError("all class texts are zero vectors: encode the class names again.")
    return RAW_TEXT_NORM / mean
