"""Tip-Adapter-F: Tip-Adapter whose keys are tuned on the labelled images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted
from clipwright.methods.base import Method, Requirements, Tags, class_texts, require_labels, wants, working_dtype
from clipwright.methods.tip_adapter import Choice, Memory, Positive, Search, Steps, support_keys
from clipwright.task import AveragingRule, Features, Task
from clipwright.training.batches import Batches, random_views, shuffled_batches
from clipwright.training.loop import train
from clipwright.training.schedules import cosine_schedule
from clipwright.training.selection import labels_used
from clipwright.training.threads import threads_for

EPSILON = 1e-4
"""AdamW's, as released; the usual 1e-8 would vanish in the half precision used there."""


def memory_logits(memory: Memory, x: torch.Tensor, beta: float, alpha: float) -> torch.Tensor:
    """(m, C) logits of (m, D) unit rows, differentiable in what the memory holds."""
    votes = torch.exp(-beta * memory.distance(x))
    if memory.key_weight is not None:
        votes = votes * memory.key_weight[:, None]
    sums = votes.new_zeros(len(memory.weight), len(x)).index_add(0, memory.key_class, votes)
    return memory.text_logits(x) + alpha * sums.T


def tune(
    parameters: list[torch.Tensor],
    memory: Callable[[], Memory],
    x: torch.Tensor | Callable[[int], torch.Tensor],
    y: torch.Tensor,
    *,
    beta: float,
    alpha: float,
    batches: Batches,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    epsilon: float = EPSILON,
    after_epoch: Callable[[int], None] | None = None,
) -> list[float]:
    """Minimise the cross-entropy of `memory_logits` by AdamW, half a cosine of learning rates over all steps.

    Args:
        parameters: leaves that are changed in place.
        memory: the classifier that they make.
        x: (N, D) unit image features, or a function from the epoch to them.
        y: (N,) int64 classes.
        beta: in force during training.
        alpha: in force during training.
        batches: a function from the epoch to the rows of each batch, the same number of batches in every epoch.
        epochs: passes over the rows.
        learning_rate: of the first step.
        weight_decay: AdamW's, decoupled.
        epsilon: AdamW's.
        after_epoch: called with each finished epoch.

    Returns:
        Mean loss of each epoch.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    per_epoch = len(batches(0))
    drawn: dict[int, tuple[torch.Tensor, list[torch.Tensor]]] = {}

    def pairs(step: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        epoch, number = divmod(step, per_epoch)
        if epoch not in drawn:
            drawn.clear()
            drawn[epoch] = (x(epoch) if callable(x) else x), batches(epoch)
        rows, order = drawn[epoch]
        return [(rows[order[number]], y[order[number]])]

    def loss(pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(memory_logits(memory(), pair[0], beta, alpha), pair[1])

    def step_done(step: int, _: float) -> None:
        if after_epoch is not None and (step + 1) % per_epoch == 0:
            after_epoch(step // per_epoch)

    adam = torch.optim.AdamW(parameters, eps=epsilon, weight_decay=weight_decay)
    # one rate per step, not per epoch, as released: the loop is given each step as an epoch of its own
    losses = train(adam, loss, pairs, cosine_schedule(learning_rate, epochs * per_epoch), after_epoch=step_done)
    return torch.tensor(losses, dtype=torch.float64).reshape(epochs, per_epoch).mean(1).tolist()


def training_rows(
    support: Features, dtype: torch.dtype, *, use_views: bool, seed: int, key: str
) -> torch.Tensor | Callable[[int], torch.Tensor]:
    """Unit rows to train on: one stored view per image and epoch, or the clean view where there are none."""
    if use_views and support.views is not None and support.views.shape[1]:
        draw = random_views(support.views, seed=seed, key=(key, "views"))
        return lambda epoch: unit_rows(draw(epoch)).to(dtype)
    return support.unit_x().to(dtype)


class BestEpoch:
    """Keeps the state of the epoch that classifies most validation rows right, the first of equals."""

    def __init__(self, memory: Callable[[], Memory], validation: Features | None, beta: float, alpha: float) -> None:
        self.memory, self.beta, self.alpha = memory, beta, alpha
        self.rows = validation if validation is not None and len(validation) else None
        self.right, self.epoch = -1, -1
        self.kept: Memory | None = None

    @torch.no_grad()
    def __call__(self, epoch: int) -> None:
        """Score an epoch; without validation rows every epoch replaces the one before."""
        now = self.memory()
        right = epoch
        if self.rows is not None:
            x = self.rows.unit_x().to(now.weight.dtype)
            found = memory_logits(now, x, self.beta, self.alpha).argmax(1)
            right = int((found == self.rows.labels).sum())
        if right > self.right:
            tensors: dict[str, Any] = {
                n: v.detach().clone() for n, v in vars(now).items() if isinstance(v, torch.Tensor)
            }
            self.right, self.epoch, self.kept = right, epoch, replace(now, **tensors)


@dataclass(frozen=True)
class TipAdapterF(Method):
    """Tip-Adapter with keys tuned by AdamW on the cross-entropy of the labelled images.

    Attributes:
        beta: how fast an image's vote falls with its distance, positive; None = searched as in `TipAdapter`.
        alpha: how much the memory counts, positive; None = searched as in `TipAdapter`.
        search_scale: ends of the grid of beta and alpha, positive.
        search_steps: how many values of beta and alpha; (200, 20) in the released code.
        choice: which of the pairs with the most rows right, as in `TipAdapter`.
        epochs: passes over the support set, at least 1; 20 in the paper (100 for EuroSAT).
        learning_rate: of the first step, positive; 1e-3 in the paper.
        weight_decay: AdamW's, at least 0; 0.01 in the released code.
        batch_size: images per step, at least 1; 256 in the paper. An incomplete last batch is used.
        averaging: how the prompts of a class become one vector; the default is the published rule.
        use_views: make each key from the mean of the image's stored views, and train on one view of each image per
            epoch, where there are any, as published.

    beta and alpha are found before training, with the untuned keys, and are in force during it. Where the task has
    validation rows, the epoch that classifies most of them right is kept and the pair is searched again on them with
    its keys. Without validation rows the last epoch is kept, with the pair that it was trained with: the support rows
    can't judge keys that were tuned on them.

    Source: Zhang et al. 2022, section 3.3.
    """

    title: ClassVar[str] = "TipAdapterF"
    summary: ClassVar[str] = "a few labels: Tip-Adapter with its keys tuned"
    paper: ClassVar[str] = "Zhang et al., Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification, 2022"
    tags: ClassVar[Tags] = Tags(
        exempt={"ties": "where images carry two labels each, rounding errors grow from step to step of training"}
    )

    beta: Positive | None = None
    alpha: Positive | None = None
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
        return wants(views=self.use_views, validation=True)

    def fit(self, task: Task) -> Fitted:
        """Search beta and alpha, tune the keys, and search again on validation rows.

        Raises:
            NeedsError: the task has no text features or no labelled images.
            DataError: a class has no text or no labelled image.
            DivergedError: the loss became NaN or infinite.
        """
        self.check(task)
        support = require_labels(task)
        trace = self.trace(task)
        with trace.timed(), torch.inference_mode(False):
            dtype = working_dtype(task)
            weight = unit_rows(class_texts(task, self.averaging)).to(dtype)
            keys = support_keys(support, use_views=self.use_views).to(dtype).clone()
            memory = Memory(weight, keys, support.labels.clone(), task.logit_scale)
            search = Search(self.beta, self.alpha, self.search_scale, self.search_steps, self.choice)
            found = search.run(memory, task)
            best = BestEpoch(lambda: memory, task.validation, *found[:2])
            keys.requires_grad_()
            with threads_for(min(len(keys), self.batch_size) * keys.numel()):
                trace.losses = tune(
                    [keys],
                    lambda: memory,
                    training_rows(support, dtype, use_views=self.use_views, seed=task.seed, key="tip-adapter-f"),
                    support.labels,
                    beta=found[0],
                    alpha=found[1],
                    batches=shuffled_batches(
                        len(support), self.batch_size, drop_last=False, seed=task.seed, key=("tip-adapter-f", "order")
                    ),
                    epochs=self.epochs,
                    learning_rate=self.learning_rate,
                    weight_decay=self.weight_decay,
                    after_epoch=best,
                )
            tuned = best.kept
            assert tuned is not None  # noqa: S101 - there is at least one epoch
            if best.rows is not None:
                found = search.run(tuned, task)
                trace.notes.append(f"Epoch {best.epoch + 1} of {self.epochs} was kept: the best on the validation set.")
                trace.labels_per_class = labels_used(task)
            search.note(trace, task, found)
            return Fitted(tuned.head(*found[:2]), trace=trace)
