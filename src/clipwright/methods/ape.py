"""APE and APE-T: a memory of the labelled images over the channels in which the class texts differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted, FitTrace
from clipwright.methods.base import Method, Requirements, class_texts, require_labels, wants, working_dtype
from clipwright.methods.tip_adapter import Choice, Memory, Positive, Search, Steps, support_keys
from clipwright.methods.tip_adapter_f import BestEpoch, training_rows, tune
from clipwright.task import AveragingRule, Task
from clipwright.training.batches import shuffled_batches
from clipwright.training.selection import labels_used
from clipwright.training.threads import threads_for

TRADE_OFF, TRADE_OFF_TRAINED = 0.7, 0.2
"""Weight of similarity against variance, without and with training; the released settings of most data sets."""

EPSILON = 1e-3
"""AdamW's, in the released settings of most data sets."""


def refined_channels(texts: torch.Tensor, count: int, trade_off: float) -> torch.Tensor:
    """The channels in which classes differ most: alike in few of them, spread in many.

    A channel's cost is ``trade_off * S - (1 - trade_off) * V``, with S the mean over all ordered pairs of different
    classes (divided by C squared) of the product of their texts in it, and V the variance of the texts in it.

    Args:
        texts: (C, D) unit class texts.
        count: Q channels to keep, 1..D.
        trade_off: lambda, 0..1.

    Returns:
        (Q,) int64 channels, ascending.

    Source: Zhu et al. 2023, equations 4 to 6, with equal class priors.
    """
    rows = texts.double()
    similarity = (rows.sum(0).square() - rows.square().sum(0)) / len(rows) ** 2
    cost = trade_off * similarity - (1 - trade_off) * rows.var(0, unbiased=False)
    return cost.argsort(stable=True)[:count].sort().values


def key_scores(memory: Memory, gamma: float) -> torch.Tensor:
    """(N,) ``exp(gamma * KL(label || softmax(scale * key . text)))`` over the channels compared.

    The divergence of a one-hot label is the cross-entropy, in nats. Source: Zhu et al. 2023, equation 10.
    """
    texts = memory.weight if memory.channels is None else unit_rows(memory.weight[:, memory.channels])
    logits = memory.scale * (memory.keys @ texts.T)
    return (gamma * torch.nn.functional.cross_entropy(logits, memory.key_class, reduction="none")).exp()


def with_residual(memory: Memory, residual: torch.Tensor) -> Memory:
    """The memory with a (C, Q) residual added to the refined channels of each class's text and keys."""
    assert memory.channels is not None  # noqa: S101 - APE names its channels
    weight = memory.weight.index_add(1, memory.channels, residual)
    return replace(memory, weight=weight, keys=memory.keys + residual[memory.key_class])


@dataclass(frozen=True)
class APE(Method):
    """A memory that compares only channels in which the class texts differ, each key weighted by how CLIP judges it.

    ``logit_scale * v . t_c + alpha * sum over support images i of class c: score_i * exp(-beta * (1 - v' . key'_i))``,
    where ' means: the refined channels only, scaled to length 1. With `trained`, this is APE-T: a residual per class,
    added to the refined channels of its text and of its keys, and the scores are learned.

    Attributes:
        trained: APE-T instead of APE.
        beta: how fast an image's vote falls with its distance, positive; None = searched as in `TipAdapter`.
        alpha: how much the memory counts, positive; None = searched as in `TipAdapter`.
        gamma: how much more a key counts that CLIP gets wrong, at least 0; 0.1 is the released starting value.
        channels: share of the channels that are kept, above 0, at most 1; 800 of 1,024 for most data sets as released.
        trade_off: lambda, similarity between classes against variance, 0..1; None = 0.7, and 0.2 with `trained`, as
            released for most data sets.
        search_scale: ends of the grid of beta and alpha, positive.
        search_steps: how many values of beta and alpha; (200, 20) in the released settings.
        choice: which of the pairs with the most rows right, as in `TipAdapter`.
        epochs: with `trained`, passes over the support set, at least 1; 20 to 30 in most released settings.
        learning_rate: with `trained`, of the first step, positive; 1e-3 or 1e-4 as released.
        weight_decay: with `trained`, AdamW's, at least 0.
        batch_size: with `trained`, images per step, at least 1.
        averaging: how the prompts of a class become one vector.
        use_views: make each key from the mean of the image's stored views, and train on one view of each image per
            epoch, where there are any.

    beta and alpha are found as in `TipAdapterF`: before training, and again on validation rows where there are any.

    Source: Zhu et al. 2023, sections 3.1 to 3.3.
    """

    title: ClassVar[str] = "APE"
    summary: ClassVar[str] = "a few labels: a memory over the channels that tell classes apart; trained or not"
    paper: ClassVar[str] = (
        "Zhu et al., Not All Features Matter: Enhancing Few-shot CLIP with Adaptive Prior Refinement, ICCV 2023"
    )

    trained: bool = False
    beta: Positive | None = None
    alpha: Positive | None = None
    gamma: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    channels: Annotated[float, Field(gt=0, le=1)] = 0.78
    trade_off: Annotated[float, Field(ge=0, le=1)] | None = None
    search_scale: tuple[Positive, Positive] = (50.0, 50.0)
    search_steps: tuple[Steps, Steps] = (200, 20)
    choice: Choice = "nearest"
    epochs: Annotated[int, Field(ge=1)] = 20
    learning_rate: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    batch_size: Annotated[int, Field(ge=1)] = 256
    averaging: AveragingRule = "mean_unit_renorm"
    use_views: bool = True

    def requires(self) -> Requirements:
        """Text features and labels; augmented views and validation labels where there are any."""
        searched = self.beta is None or self.alpha is None
        return wants(views=self.use_views, validation=self.trained or searched)

    def fit(self, task: Task) -> Fitted:
        """Choose channels, weigh keys, search beta and alpha; with `trained`, learn residuals and weights.

        Raises:
            NeedsError: the task has no text features or no labelled images.
            DataError: a class has no text or no labelled image.
            DivergedError: the loss became NaN or infinite.
        """
        self.check(task)
        require_labels(task)
        given = self.trade_off
        trade_off = given if given is not None else TRADE_OFF_TRAINED if self.trained else TRADE_OFF
        trace = self.trace(task, {} if given is not None else {"trade_off": trade_off})
        with trace.timed(), torch.inference_mode(False):
            memory = self._memory(task, trade_off)
            search = Search(self.beta, self.alpha, self.search_scale, self.search_steps, self.choice)
            found = search.run(memory, task)
            if self.trained:
                memory, judged = self._train(memory, task, found[:2], trace)
                found = search.run(memory, task) if judged else found
            search.note(trace, task, found)
            return Fitted(memory.head(*found[:2]), trace=trace)

    def _memory(self, task: Task, trade_off: float) -> Memory:
        """What APE remembers before training."""
        support, dtype = require_labels(task), working_dtype(task)
        texts = unit_rows(class_texts(task, self.averaging))
        kept = max(1, round(self.channels * texts.shape[1]))
        channels = refined_channels(texts, kept, trade_off)
        keys = unit_rows(support_keys(support, use_views=self.use_views)[:, channels]).to(dtype)
        memory = Memory(texts.to(dtype), keys, support.labels.clone(), task.logit_scale, channels=channels)
        return replace(memory, key_weight=key_scores(memory, self.gamma))

    def _train(self, start: Memory, task: Task, pair: tuple[float, float], trace: FitTrace) -> tuple[Memory, bool]:
        """The memory with its residual and its scores learned, and whether validation rows chose the epoch."""
        support = require_labels(task)
        residual = torch.zeros(len(start.weight), start.keys.shape[1], dtype=start.keys.dtype).requires_grad_()
        assert start.key_weight is not None  # noqa: S101 - APE weighs its keys
        scores = start.key_weight.clone().requires_grad_()

        def memory() -> Memory:
            return with_residual(replace(start, key_weight=scores), residual)

        best = BestEpoch(memory, task.validation, *pair)
        with threads_for(min(len(support), self.batch_size) * start.keys.numel()):
            trace.losses = tune(
                [residual, scores],
                memory,
                training_rows(support, start.keys.dtype, use_views=self.use_views, seed=task.seed, key="ape"),
                support.labels,
                beta=pair[0],
                alpha=pair[1],
                batches=shuffled_batches(
                    len(support), self.batch_size, drop_last=False, seed=task.seed, key=("ape", "order")
                ),
                epochs=self.epochs,
                learning_rate=self.learning_rate,
                weight_decay=self.weight_decay,
                epsilon=EPSILON,
                after_epoch=best,
            )
        assert best.kept is not None  # noqa: S101 - there is at least one epoch
        if best.rows is not None:
            trace.notes.append(f"Epoch {best.epoch + 1} of {self.epochs} was kept: the best on the validation set.")
            trace.labels_per_class = labels_used(task)
        return best.kept, best.rows is not None
