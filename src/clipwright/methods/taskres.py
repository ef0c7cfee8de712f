"""TaskRes: a free vector per class, added to its text feature and learned from the labelled images."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from clipwright.core.errors import DataError
from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted
from clipwright.heads.base import Head
from clipwright.heads.linear import LinearHead
from clipwright.heads.shift import ShiftHead
from clipwright.methods.base import Method, Requirements, class_texts, require_labels, wants, working_dtype
from clipwright.methods.taskres_base import GivenBase, as_base, read_base, tuned_texts
from clipwright.methods.taskres_fit import image_residual_fit, taskres_fit
from clipwright.task import AveragingRule, Features, Task
from clipwright.training.batches import Batches, random_views, shuffled_batches
from clipwright.training.schedules import cosine_schedule, make_schedule

RAW_TEXT_NORM = 8.0
"""About the length of CLIP's raw features, which the published alpha and learning rate refer to."""

FEW_SHOTS = 4
"""Up to this many labels per class, the published number of epochs is 100, beyond it 200."""

PUBLISHED_RATE = 2e-3
PUBLISHED_DIM = 1024
"""The width of RN50's features, on which the published learning rate was used."""

MOST_SHOTS = 16
"""The default learning rate grows no further with the labels than up to here, where its evidence ends."""

BASE_RATE, BASE_EPOCHS = 1e-4, 50
"""Adam's learning rate at 512 dimensions, and epochs, of the enhanced base."""


def default_rate(dim: int, shots: float, steps: int) -> float:
    """``2e-3 * sqrt(1024 / dim * min(shots, 16) / steps)``: how fast a residual may turn.

    Adam moves every coordinate by about the learning rate, so a step turns a class vector of given length by an angle
    that grows with the square root of the width, and an epoch by one that grows with its number of steps. The rule
    makes the angle of a whole fit depend on the labels per class instead: it is that of the published settings at one
    label per class, one step per epoch and 1024 dimensions, and grows with the square root of the labels.

    Args:
        dim: D.
        shots: labelled images per class, the mean where they differ.
        steps: optimiser steps per epoch.
    """
    return PUBLISHED_RATE * math.sqrt(PUBLISHED_DIM / dim * min(shots, MOST_SHOTS) / max(1, steps))


def _checked_base(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    try:
        return value if isinstance(value, str) else as_base(value)
    except DataError as error:
        raise ValueError(str(error)) from error


@dataclass(frozen=True)
class TaskRes(Method):
    """Text features plus alpha times a learned residual.

    Attributes:
        alpha: how much of the residual is added to the text feature, positive; 0.5 in the paper (1 for Flowers).
        learning_rate: Adam's rate, positive; None = `default_rate`, of dimensions, labels per class and steps per
            epoch. The paper has 2e-3, and 2e-4 for ImageNet.
        epochs: passes over the support set, at least 1; None = the paper's rule: 100 where no class has more than 4
            labels, else 200.
        base: what the residual is added to: ``regular`` (the class texts), ``enhanced`` (the class texts times a
            matrix that is tuned on the support set first; see `clipwright.methods.taskres_base.tuned_texts`), or one
            of your own: the path of an ``.npz`` or ``.safetensors`` file or of a saved classifier's folder, or in
            Python a (C, D) matrix, a mapping of arrays as in `GivenBase`, or a Classifier.
        side: ``text`` (a residual per class), or ``image`` (a single residual, added to every image feature; the
            released code holds it switched off).
        weight_decay: added to the gradient times the residual (coupled, not AdamW's), at least 0.
        batch_size: images per step, at least 1; 256 in the paper.
        schedule: learning rate per epoch: ``cosine`` (half a cosine from the full rate) or ``constant``.
        text_scale: what the averaged class texts are multiplied by. alpha, learning rate and weight decay refer to
            their length. ``auto`` brings them to a mean length of 8, that of CLIP's raw text features, whatever
            length they come with; a number is used as it is.
        averaging: how the prompts of a class become one vector. The default makes all classes equally long, so that
            unit-norm and raw text features of one model give the same classifier.
        use_views: train on one stored augmented view of each image per epoch, drawn at random, where the task has
            views (as published, which draws a new one each time); False = always on the clean view.
        legacy_schedule: the released code's schedule in place of `schedule`: one epoch at 1e-5, then half a cosine
            that starts its count anew, so that the last epoch's rate isn't its smallest possible.
        legacy_weight_decay: the 5e-4 that is in force in the released code by a default of its framework, in place of
            `weight_decay`.
        legacy_drop_last: leave out an incomplete last batch, unless it is the only one.
        legacy_raw_scale: texts averaged and used at the length they come with, in place of `averaging` and
            `text_scale`; with an image-side residual, images too.

    Source: Yu et al. 2023, sections 3.3 and 4.1; the enhanced base and the default learning rate are this project's.
    """

    title: ClassVar[str] = "TaskRes"
    summary: ClassVar[str] = "a few labels: a learned residual on each class text"
    paper: ClassVar[str] = "Yu et al., Task Residual for Tuning Vision-Language Models, CVPR 2023"

    alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.5
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    epochs: Annotated[int, Field(ge=1)] | None = None
    base: Annotated[Any, BeforeValidator(_checked_base)] = "regular"
    side: Literal["text", "image"] = "text"
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    batch_size: Annotated[int, Field(ge=1)] = 256
    schedule: Literal["cosine", "constant"] = "cosine"
    text_scale: Literal["auto"] | Annotated[float, Field(gt=0, allow_inf_nan=False)] = "auto"
    averaging: AveragingRule = "mean_unit_renorm"
    use_views: bool = True
    legacy_schedule: bool = False
    legacy_weight_decay: bool = False
    legacy_drop_last: bool = False
    legacy_raw_scale: bool = False

    def requires(self) -> Requirements:
        """Text features and labels; augmented views where there are any."""
        return wants(views=self.use_views)

    def hyper_parameters(self) -> dict[str, Any]:
        """The fields by name; a base given as arrays by its shape and digest."""
        return super().hyper_parameters() | {"base": str(self.base)}

    def fit(self, task: Task) -> Fitted:
        """Learn the residual on the support set.

        Raises:
            NeedsError: the task has no text features or no labelled images.
            DataError: a class has no text or no labelled image, or the given base doesn't fit the task.
            FormatError: the file of the base can't be read.
            DivergedError: the loss became NaN or infinite.
        """
        self.check(task)
        support = require_labels(task)
        averaging: AveragingRule = "raw_mean" if self.legacy_raw_scale else self.averaging
        texts = class_texts(task, averaging).to(working_dtype(task))
        run = _Run(self, task, support)
        trace = self.trace(task, run.rules)
        with trace.timed():
            vectors = self._base(task, texts, run)
            factor = self._factor(vectors)
            if self.text_scale == "auto" or self.legacy_raw_scale:
                trace.chosen["text_scale"], trace.how["text_scale"] = factor, "rule"
            head, trace.losses = run.residual(vectors * factor)
        if self.base == "enhanced":
            trace.notes.append(
                f"Two stages: a {texts.shape[1]} x {texts.shape[1]} matrix on the class texts was tuned on the same "
                "labels before the residual."
            )
        return Fitted(head, trace=trace)

    def _base(self, task: Task, texts: torch.Tensor, run: _Run) -> torch.Tensor:
        """(C, D) what the residual is added to, before it is scaled."""
        if self.base == "regular":
            return texts
        if self.base == "enhanced":
            rate = BASE_RATE * math.sqrt(512 / texts.shape[1] / run.steps)
            return tuned_texts(
                run.images("base views"),
                run.y,
                texts,
                batches=run.batches("base order"),
                learning_rates=cosine_schedule(rate, BASE_EPOCHS),
                logit_scale=task.logit_scale,
            )
        given = self.base if isinstance(self.base, GivenBase) else read_base(self.base)
        return given.vectors(task.class_names, texts)

    def _factor(self, vectors: torch.Tensor) -> float:
        if self.legacy_raw_scale:
            return 1.0
        return _auto_scale(vectors) if self.text_scale == "auto" else float(self.text_scale)


class _Run:
    """One fit: its rows, batches and rates."""

    def __init__(self, method: TaskRes, task: Task, support: Features) -> None:
        self.method, self.task, self.support, self.y = method, task, support, support.labels
        self.steps = len(self.batches("order")(0))
        self.rules: dict[str, Any] = {}
        self.epochs = method.epochs or (100 if max(task.shots) <= FEW_SHOTS else 200)
        if method.epochs is None:
            self.rules["epochs"] = self.epochs
        self.rate = method.learning_rate or default_rate(support.dim, len(self.y) / task.n_classes, self.steps)
        if method.learning_rate is None:
            self.rules["learning_rate"] = self.rate

    def batches(self, purpose: str) -> Batches:
        return shuffled_batches(
            len(self.y),
            self.method.batch_size,
            drop_last=self.method.legacy_drop_last,
            seed=self.task.seed,
            key=("taskres", purpose),
        )

    def images(self, purpose: str) -> torch.Tensor | Callable[[int], torch.Tensor]:
        views = self.support.views
        if self.method.use_views and views is not None and views.shape[1]:
            return random_views(views, seed=self.task.seed, key=("taskres", purpose))
        return self.support.x

    def residual(self, base: torch.Tensor) -> tuple[Head, list[float]]:
        """The head, and the loss of each epoch."""
        method, scale = self.method, self.task.logit_scale
        schedule = "dassl" if method.legacy_schedule else method.schedule
        settings: dict[str, Any] = {
            "batches": self.batches("order"),
            "learning_rates": make_schedule(schedule, self.rate, self.epochs),
            "alpha": method.alpha,
            "weight_decay": 5e-4 if method.legacy_weight_decay else method.weight_decay,
            "logit_scale": scale,
        }
        if method.side == "text":
            residual, losses = taskres_fit(self.images("views"), self.y, base, **settings)
            return LinearHead(unit_rows(base + method.alpha * residual), scale=scale), losses
        length = 0.0 if method.legacy_raw_scale else RAW_TEXT_NORM
        shift, losses = image_residual_fit(self.images("views"), self.y, base, length=length, **settings)
        return ShiftHead(unit_rows(base), method.alpha * shift, scale=scale, length=length), losses


def _auto_scale(texts: torch.Tensor) -> float:
    mean = float(texts.norm(dim=-1).mean())
    if mean == 0:
        raise DataError("all class texts are zero vectors: encode the class names again.")
    return RAW_TEXT_NORM / mean
