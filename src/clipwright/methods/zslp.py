"""ZSLP: a linear probe on cosines that starts at the class texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from clipwright.core.errors import DataError, UsageError
from clipwright.core.rng import generator
from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Method, Requirements, class_texts, require_labels, wants, working_dtype
from clipwright.methods.taskres import RAW_TEXT_NORM
from clipwright.task import AveragingRule, Features, Task
from clipwright.training.batches import Batches, split_batches
from clipwright.training.loop import train
from clipwright.training.schedules import Schedule, make_schedule
from clipwright.training.threads import threads_for

STEADY = 100.0
"""``learning_rate * (logit_scale / length)**2`` above which steps overshoot; the published setting has 16."""


def prototypes_fit(
    x: torch.Tensor,
    y: torch.Tensor,
    base: torch.Tensor,
    *,
    batches: Batches | Sequence[Sequence[torch.Tensor]],
    learning_rates: Sequence[float],
    penalty: torch.Tensor | None = None,
    adaptive: bool = False,
    momentum: float = 0.9,
    logit_scale: float = 100.0,
) -> tuple[torch.Tensor, list[float]]:
    """Learn one prototype per class by SGD on the cross-entropy of cosines, from the class texts.

    The loss is ``CE(logit_scale * unit(x) @ unit(W).T, y) + mean_k penalty_k * |W_k - base_k|^2``.

    Args:
        x: (n, D) image features of any length.
        y: (n,) int64 classes.
        base: (C, D) class texts at the scale that the learning rates refer to; its dtype is computed in.
        batches: rows of each batch, by epoch: a function from the epoch, or one list of batches per epoch.
        learning_rates: one per epoch; as many epochs are run.
        penalty: (C,) how strongly each prototype is held at its text, or None = not at all (ZSLP).
        adaptive: after each epoch let `penalty_step` move the penalty.
        momentum: of SGD, without dampening.
        logit_scale: multiplies the cosines.

    Returns:
        The (C, D) prototypes and the mean loss of each epoch.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    rows_of = batches if callable(batches) else batches.__getitem__
    with torch.inference_mode(False), threads_for(len(y) * base.numel()):
        base, y = base.clone(), y.clone()  # what comes from inference mode can't be trained on
        weight = base.clone().requires_grad_()
        rows = unit_rows(x).to(base.dtype)
        held = None if penalty is None else penalty.to(base.dtype).clone()
        rho = torch.zeros(len(base), dtype=base.dtype)

        def pairs(epoch: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
            given = rows_of(epoch)
            return [(rows, y)] if len(given) == 1 and len(given[0]) == len(y) else [(rows[b], y[b]) for b in given]

        def loss(pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            value = torch.nn.functional.cross_entropy(pair[0] @ (logit_scale * unit_rows(weight)).T, pair[1])
            return value if held is None else value + (held * (weight - base).square().sum(1)).mean()

        def adapt(_: int, __: float) -> None:
            nonlocal held, rho
            if held is not None:
                held, rho = penalty_step(held, rho, (weight.detach() - base).square().sum(1))

        sgd = torch.optim.SGD([weight], lr=0.0, momentum=momentum)
        losses = train(sgd, loss, pairs, learning_rates, after_epoch=adapt if adaptive else None)
        return weight.detach(), losses


def penalty_step(penalty: torch.Tensor, rho: torch.Tensor, distance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One outer step of the augmented Lagrangian: ``penalty <- max(0, penalty + rho * distance), rho <- distance``.

    Args:
        penalty: (C,) multipliers.
        rho: (C,) weights of the step; zero before the first, which therefore changes nothing.
        distance: (C,) squared distance of each prototype to its text.

    Returns:
        The next multipliers and weights.
    """
    return (penalty + rho * distance).clamp_min(0), distance


@dataclass(frozen=True)
class ZSLP(Method):
    """A prototype per class that starts at the class text and is learned by SGD on the cross-entropy of cosines.

    Attributes:
        learning_rate: SGD's rate after the warm-up epoch, positive; 0.1 in the paper.
        epochs: passes over the support set, at least 1; 300 in the paper.
        momentum: of SGD, 0 to below 1; 0.9 in the paper.
        batch_size: images per step, at least 1; 256 in the paper. An incomplete last batch is left out.
        schedule: learning rate per epoch: ``dassl`` (one epoch at 1e-5, then half a cosine; as released), ``cosine``
            (no warm-up) or ``constant``.
        text_scale: what the averaged class texts are multiplied by. A step turns a prototype by an angle that falls
            with the square of its length, so the learning rate refers to a length. ``auto`` brings the texts to a
            mean length of 8, that of CLIP's raw text features, whatever length they come with; a number is used as it
            is (1 = texts as given, the paper's own with raw features).
        averaging: how the prompts of a class become one vector; the paper's is ``raw_mean``.
        use_views: train on all stored augmented views where the task has views (as published, which stores 20 and
            draws each epoch's rows among them); False = always on the clean view.
        legacy_short_texts: fit even where texts are so short for the learning rate that every step overshoots and
            rounding decides the outcome. The released code does that with unit-norm texts.

    Source: Silva-Rodriguez et al. 2024, their zero-shot initialised linear probe (ZS-LP).
    """

    title: ClassVar[str] = "ZSLP"
    summary: ClassVar[str] = "a few labels: a linear probe that starts at the class texts"
    paper: ClassVar[str] = (
        "Silva-Rodriguez et al., A Closer Look at the Few-Shot Adaptation of Large Vision-Language Models, CVPR 2024"
    )

    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    epochs: Annotated[int, Field(ge=1)] = 300
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    batch_size: Annotated[int, Field(ge=1)] = 256
    schedule: Schedule = "dassl"
    text_scale: Literal["auto"] | Annotated[float, Field(gt=0, allow_inf_nan=False)] = "auto"
    averaging: AveragingRule = "mean_unit_renorm"
    use_views: bool = True
    legacy_short_texts: bool = False

    def requires(self) -> Requirements:
        """Text features and labels; augmented views where there are any."""
        return wants(views=self.use_views)

    def fit(self, task: Task) -> Fitted:
        """Learn the prototypes on the support set.

        Raises:
            NeedsError: the task has no text features or no labelled images.
            DataError: a class has no text or no labelled image.
            UsageError: the texts are too short for the learning rate.
            DivergedError: the loss became NaN or infinite.
        """
        self.check(task)
        support = require_labels(task)
        texts = class_texts(task, self.averaging).to(working_dtype(task))
        factor = raw_factor(texts) if self.text_scale == "auto" else float(self.text_scale)
        trace = self.trace(task, {"text_scale": factor} if self.text_scale == "auto" else {})
        with trace.timed():
            base = texts * factor
            self._check_length(base, task.logit_scale)
            x, y = self._rows(support)
            penalty = self._penalty(x, y, base, task.logit_scale)
            weight, trace.losses = prototypes_fit(
                x,
                y,
                base,
                batches=pool_batches(len(support), len(y), self.batch_size, task.seed),
                learning_rates=make_schedule(self.schedule, self.learning_rate, self.epochs),
                penalty=penalty,
                adaptive=self._adaptive(),
                momentum=self.momentum,
                logit_scale=task.logit_scale,
            )
            return Fitted(LinearHead(unit_rows(weight), scale=task.logit_scale), trace=trace)

    def _penalty(self, x: torch.Tensor, y: torch.Tensor, base: torch.Tensor, scale: float) -> torch.Tensor | None:
        """How strongly each prototype is held at its text: not at all."""
        return None

    def _adaptive(self) -> bool:
        return False

    def _rows(self, support: Features) -> tuple[torch.Tensor, torch.Tensor]:
        if self.use_views and support.views is not None and support.views.shape[1]:
            return support.views.flatten(0, 1), support.labels.repeat_interleave(support.views.shape[1])
        return support.x, support.labels

    def _check_length(self, base: torch.Tensor, scale: float) -> None:
        length = float(base.norm(dim=1).mean())
        if self.legacy_short_texts or length == 0 or self.learning_rate * (scale / length) ** 2 <= STEADY:
            return
        raise UsageError(
            f"class texts of length {length:.3g} are too short for a learning rate of {self.learning_rate:g}: steps "
            f"overshoot and rounding decides the outcome; leave text_scale at 'auto', set learning_rate to at most "
            f"{STEADY * (length / scale) ** 2:.2g}, or set legacy_short_texts to fit all the same."
        )


def pool_batches(images: int, rows: int, batch_size: int, seed: int) -> Batches:
    """As many full batches as the images alone would fill, at least one, drawn among all their views each epoch.

    Args:
        images: N, labelled images.
        rows: N * V, all their views.
        batch_size: rows per batch.
        seed: the task's seed.

    Returns:
        A function from the epoch to the rows of each batch; one batch of all rows where they fit into it.
    """
    count = max(1, images // batch_size)
    whole = [torch.arange(rows)]

    def batches(epoch: int) -> list[torch.Tensor]:
        order = torch.from_numpy(generator(seed, "zslp", "order", epoch).permutation(rows))
        return split_batches(order, batch_size, drop_last=True)[:count]

    return (lambda _: whole) if rows <= batch_size else batches


def raw_factor(texts: torch.Tensor) -> float:
    """What brings (C, D) texts to a mean length of `RAW_TEXT_NORM`.

    Raises:
        DataError: all texts are zero vectors.
    """
    mean = float(texts.norm(dim=-1).mean())
    if mean == 0:
        raise DataError("all class texts are zero vectors: encode the class names again.")
    return RAW_TEXT_NORM / mean
