"""CrossModal: a linear probe for which each class text is one more labelled sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from clipwright.core.rng import generator
from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Method, Requirements, class_texts, require_labels, wants, working_dtype
from clipwright.task import AveragingRule, Task
from clipwright.training.loop import train
from clipwright.training.selection import Selection, best_state, labels_used
from clipwright.training.threads import threads_for

WARMUP = 50
"""Steps until the full learning rate is reached, as released."""

LOOK_EVERY = 100
"""The classifier is tried on the validation set after so many steps, as released."""

Samples = tuple[torch.Tensor, torch.Tensor]
"""(n, D) unit rows and their (n,) classes."""


def warm_cosine(learning_rate: float, steps: int, *, warmup: int = WARMUP, start: float = 1e-5) -> list[float]:
    """One rate per step: a line from `start` to `learning_rate`, within half a cosine that ends at 0.

    Args:
        learning_rate: the highest rate, positive.
        steps: at least 1.
        warmup: steps of the line; a tenth of the steps where that is less.
        start: the rate of step 0, unless `learning_rate` is smaller.

    Returns:
        `steps` learning rates.
    """
    warmup, start = min(warmup, steps // 10), min(start, learning_rate)
    line = [start + (learning_rate - start) * s / warmup for s in range(warmup)]
    return line + [learning_rate / 2 * (1 + math.cos(math.pi * s / steps)) for s in range(warmup, steps)]


def cross_modal_fit(
    images: Samples,
    texts: Samples,
    start: torch.Tensor,
    *,
    batches: Callable[[int], Sequence[torch.Tensor | None]],
    learning_rates: Sequence[float],
    text_share: float = 0.5,
    weight_decay: float = 0.01,
    logit_scale: float = 100.0,
    watch: Callable[[int, torch.Tensor], None] | None = None,
) -> tuple[torch.Tensor, list[float]]:
    """Learn linear weights by AdamW on the cross-entropy of images and texts together.

    The loss is ``(1 - text_share) * CE(images) + text_share * CE(texts)`` with logits ``logit_scale * x @ W.T``.

    Args:
        images: labelled images, unit rows.
        texts: class texts as samples, unit rows.
        start: (C, D) where W begins; its dtype is computed in.
        batches: from the step to two lists of rows, of the images and of the texts; None = all rows.
        learning_rates: one per step.
        text_share: weight of the texts in the loss, 0..1; 0.5 = as many texts as images in each batch.
        weight_decay: decoupled, AdamW's.
        logit_scale: multiplies the products.
        watch: called after each step with its number and W; it must copy what it wants to keep.

    Returns:
        The (C, D) weights and the loss of each step, taken before it.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    parts, shares = (images, texts), (1 - text_share, text_share)
    rows = sum(len(y) for _, y in parts)
    with torch.inference_mode(False), threads_for(rows * start.numel()):
        known = [(x.to(start.dtype).clone(), y.clone()) for x, y in parts]  # inference tensors can't be trained on
        weight = start.clone().requires_grad_()

        def loss(picked: Sequence[torch.Tensor | None]) -> torch.Tensor:
            total = weight.new_zeros(())
            for (x, y), index, share in zip(known, picked, shares, strict=True):
                if share:
                    some_x, some_y = (x, y) if index is None else (x[index], y[index])
                    logits = some_x @ (logit_scale * weight).T
                    total = total + share * torch.nn.functional.cross_entropy(logits, some_y)
            return total

        def after(step: int, _: float) -> None:
            if watch is not None:
                watch(step, weight.detach())

        adam = torch.optim.AdamW([weight], lr=0.0, weight_decay=weight_decay)
        losses = train(adam, loss, lambda step: [batches(step)], learning_rates, after_epoch=after)
        return weight.detach(), losses


def drawn(n: int, batch_size: int, seed: int, part: str) -> Callable[[int], torch.Tensor | None]:
    """From the step to `batch_size` of n rows without replacement, or to None where they all fit."""
    if n <= batch_size:
        return lambda _: None
    return lambda step: torch.from_numpy(generator(seed, "cross_modal", part, step).permutation(n)[:batch_size])


@dataclass(frozen=True)
class CrossModal(Method):
    """``logit_scale * unit(x) . W_k``: W starts at the class texts and learns from images and from the texts.

    Attributes:
        learning_rate: AdamW's rate after 50 warm-up steps, positive; 1e-4 and 1e-3 are the released choices.
        steps: optimiser steps, at least 1. The released code takes 12,800 small ones and keeps the best on a
            validation set; here a step sees up to `batch_size` images.
        weight_decay: AdamW's, at least 0; 0, 1e-4 and 0.01 are the released choices.
        text_share: weight of the texts in the loss, 0..1; 0.5 in the paper, whose batches are half texts.
        texts: ``class`` = one sample per class, its prompts averaged; ``all`` = every prompt is a sample.
        batch_size: images per step, and texts per step, at least 1; all where there are no more.
        wise_ft: share of the class texts in the final weights, 0..1; 0.5 = the paper's cross-modal WiSE-FT.
        selection: which state is kept where the task has a validation set, looked at every 100 steps: the one of the
            lowest validation ``loss``, of the highest ``accuracy`` (as released) or the ``last``. Without a
            validation set it is always the last.
        averaging: how the prompts of a class become one vector.

    Source: Lin et al. 2023, cross-modal linear probing; settings from the released code.
    """

    title: ClassVar[str] = "CrossModal"
    summary: ClassVar[str] = "a few labels: a linear probe for which class texts are samples too"
    paper: ClassVar[str] = (
        "Lin et al., Multimodality Helps Unimodality: Cross-Modal Few-Shot Learning with Multimodal Models, CVPR 2023"
    )

    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-4
    steps: Annotated[int, Field(ge=1)] = 1000
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    text_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    texts: Literal["class", "all"] = "class"
    batch_size: Annotated[int, Field(ge=1)] = 256
    wise_ft: Annotated[float, Field(ge=0, le=1)] = 0.0
    selection: Selection = "loss"
    averaging: AveragingRule = "mean_unit_renorm"

    def requires(self) -> Requirements:
        """Text features and labels; validation labels where there are any."""
        return wants(validation=self.selection != "last")

    def fit(self, task: Task) -> Fitted:
        """Learn the weights on the support set and the texts.

        Raises:
            NeedsError: the task has no text features or no labelled images.
            DataError: a class has no text or no labelled image.
            DivergedError: the loss became NaN or infinite.
        """
        self.check(task)
        support = require_labels(task)
        trace = self.trace(task)
        with trace.timed():
            start = unit_rows(class_texts(task, self.averaging)).to(working_dtype(task))
            samples = self._text_samples(task, start)
            image_rows = drawn(len(support), self.batch_size, task.seed, "images")
            text_rows = drawn(len(samples[1]), self.batch_size, task.seed, "texts")
            best = best_state(task, self.selection)

            def watch(step: int, weight: torch.Tensor) -> None:
                if best is not None and ((step + 1) % LOOK_EVERY == 0 or step + 1 == self.steps):
                    best.look(step, self._final(weight, start), weight.new_zeros(len(weight)), scale=task.logit_scale)

            last, trace.losses = cross_modal_fit(
                (support.unit_x(), support.labels),
                samples,
                start,
                batches=lambda step: (image_rows(step), text_rows(step)),
                learning_rates=warm_cosine(self.learning_rate, self.steps),
                text_share=self.text_share,
                weight_decay=self.weight_decay,
                logit_scale=task.logit_scale,
                watch=watch,
            )
            trace.chosen["step"], trace.how["step"] = self.steps - 1, "rule"
            if best is None:
                return Fitted(LinearHead(self._final(last, start), scale=task.logit_scale), trace=trace)
            trace.chosen["step"], trace.how["step"] = best.at, "validation"
            trace.labels_per_class = labels_used(task)
            return Fitted(LinearHead(best.weight, scale=task.logit_scale), trace=trace)

    def _text_samples(self, task: Task, start: torch.Tensor) -> Samples:
        if self.texts == "class" or task.text is None:
            return start, torch.arange(len(start))
        prompts = task.text.describing("template")
        return unit_rows(prompts.x), prompts.classes

    def _final(self, weight: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        if not self.wise_ft:
            return weight
        return (1 - self.wise_ft) * unit_rows(weight) + self.wise_ft * start
