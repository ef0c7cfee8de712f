"""CLIPAdapter: a small bottleneck network beside the image feature, the class texts or both."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from clipwright.core.errors import NeedsError
from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted
from clipwright.heads.adapter import AdapterHead
from clipwright.heads.base import Head, Restricted
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Method, Requirements, class_texts, require_labels, wants, working_dtype
from clipwright.methods.clip_adapter_fit import Bottleneck, adapter_fit, initial_bottleneck
from clipwright.task import AveragingRule, Features, Task
from clipwright.training.batches import random_views, shuffled_batches
from clipwright.training.schedules import Schedule, make_schedule


def default_rate(dim: int) -> float:
    """``5e-4 * sqrt(1024 / dim)``: Adam's rate for features of that width.

    Adam moves every entry of the matrices by about the rate, so a step turns a wide feature further than a narrow one.

    Args:
        dim: D.
    """
    return 5e-4 * math.sqrt(1024 / dim)


@dataclass(frozen=True)
class CLIPAdapter(Method):
    """``logit_scale * unit((1 - alpha) v + alpha * relu(v A) B) . t_k``: a bottleneck beside the unit image feature v.

    Attributes:
        side: where the adapter is: on the ``image`` feature (the paper's main variant), on the class ``text``, or on
            ``both``.
        alpha: share of the image adapter's output, above 0 and at most 1; 0.2 in the released code, another one for
            each data set in the paper.
        beta: likewise of the text adapter.
        reduction: the bottleneck is D / reduction wide, at least 1 wide; 4 in the paper.
        learning_rate: the optimizer's, positive; None = `default_rate`, which is made for Adam.
        epochs: passes over the support set, at least 1; 200 in CoOp's settings for 8 and 16 labels per class.
        batch_size: images per step, at least 1; 32 in CoOp's settings, which the released code runs with.
        optimizer: ``adam``, or ``sgd`` with a momentum of 0.9 as released.
        weight_decay: added to the gradient times the weights (coupled, not AdamW's), at least 0.
        schedule: learning rate per epoch: ``cosine`` (half a cosine from the full rate), ``dassl`` (one epoch at 1e-5
            before it; as released) or ``constant``.
        averaging: how the prompts of a class become one vector.
        use_views: train on one stored augmented view of each image per epoch, drawn at random, where the task has
            views (as published, which draws a new one each time); False = always on the clean view.
        legacy_second_relu: rectify the adapter's output too, as the released code does and the paper's equations don't.
        legacy_start: draw B at random too, as released, in place of zero, with which the fit begins at zero-shot.
            `legacy_second_relu` brings it along, since a rectified zero has no gradient.
        legacy_drop_last: leave out an incomplete last batch, unless it is the only one.

    Source: Gao et al. 2023, section 3.2: the two adapters and their residual blending.
    """

    title: ClassVar[str] = "CLIPAdapter"
    summary: ClassVar[str] = "a few labels: a small network beside the image feature"
    paper: ClassVar[str] = (
        "Gao et al., CLIP-Adapter: Better Vision-Language Models with Feature Adapters, "
        "International Journal of Computer Vision, 2023"
    )

    side: Literal["image", "text", "both"] = "image"
    alpha: Annotated[float, Field(gt=0, le=1)] = 0.2
    beta: Annotated[float, Field(gt=0, le=1)] = 0.2
    reduction: Annotated[int, Field(ge=1)] = 4
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    epochs: Annotated[int, Field(ge=1)] = 200
    batch_size: Annotated[int, Field(ge=1)] = 256
    optimizer: Literal["adam", "sgd"] = "adam"
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    schedule: Schedule = "cosine"
    averaging: AveragingRule = "mean_unit_renorm"
    use_views: bool = True
    legacy_second_relu: bool = False
    legacy_start: bool = False
    legacy_drop_last: bool = False

    def requires(self) -> Requirements:
        """Text features and labels; augmented views where there are any."""
        return wants(views=self.use_views)

    def fit(self, task: Task) -> Fitted:
        """Learn the adapter on the support set.

        Raises:
            NeedsError: the task has no text features or no labelled images.
            DataError: a class has no text or no labelled image.
            DivergedError: the loss became NaN or infinite.
        """
        self.check(task)
        support = require_labels(task)
        rate = self.learning_rate or default_rate(support.dim)
        trace = self.trace(task, {"learning_rate": rate} if self.learning_rate is None else {})
        with trace.timed():
            texts = unit_rows(class_texts(task, self.averaging)).to(working_dtype(task))
            image, text, trace.losses = adapter_fit(
                self._rows(support, task.seed),
                support.labels,
                texts,
                image=self._start(texts, task.seed, "image", self.alpha) if self.side != "text" else None,
                text=self._start(texts, task.seed, "text", self.beta) if self.side != "image" else None,
                batches=shuffled_batches(
                    len(support),
                    self.batch_size,
                    drop_last=self.legacy_drop_last,
                    seed=task.seed,
                    key=("clip_adapter", "order"),
                ),
                learning_rates=make_schedule(self.schedule, rate, self.epochs),
                optimizer=self.optimizer,
                weight_decay=self.weight_decay,
                second_relu=self.legacy_second_relu,
                logit_scale=task.logit_scale,
            )
            weight = texts if text is None else text(texts, second_relu=self.legacy_second_relu)
            return Fitted(self._head(weight, image, task.logit_scale), trace=trace)

    def extend(self, fitted: Fitted, task: Task) -> Fitted:
        """The image adapter with the texts of the other classes.

        Raises:
            NeedsError: the classifier has a text adapter, whose weights it doesn't keep.
        """
        head = fitted.head.head if isinstance(fitted.head, Restricted) else fitted.head
        if self.side != "image" or not isinstance(head, AdapterHead):
            raise NeedsError(
                "CLIPAdapter can score classes that it was not fitted on only with side='image': fit it so, or score "
                "the classes of the fit alone (--classes-subset base)."
            )
        texts = unit_rows(class_texts(task, self.averaging))
        trace = replace(fitted.trace, labels_per_class=(0,) * task.n_classes)
        return Fitted(head.with_classes(texts, task.logit_scale), trace=trace)

    def _start(self, texts: torch.Tensor, seed: int, side: str, ratio: float) -> Bottleneck:
        dim = int(texts.shape[1])
        hidden = max(1, dim // self.reduction)
        random_up = self.legacy_start or self.legacy_second_relu
        return initial_bottleneck(dim, hidden, ratio, seed=seed, side=side, random_up=random_up, dtype=texts.dtype)

    def _rows(self, support: Features, seed: int) -> torch.Tensor | Callable[[int], torch.Tensor]:
        if self.use_views and support.views is not None and support.views.shape[1]:
            return random_views(support.views, seed=seed, key=("clip_adapter", "views"))
        return support.x

    def _head(self, weight: torch.Tensor, image: Bottleneck | None, scale: float) -> Head:
        if image is None:
            return LinearHead(weight, scale=scale)
        rectified = self.legacy_second_relu
        return AdapterHead(weight, image.down, image.up, ratio=image.ratio, scale=scale, second_relu=rectified)
