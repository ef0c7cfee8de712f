"""Tip-Adapter: a memory of the labelled images beside the class texts, without training."""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from clipwright.core.sweeps import exponential_sums, sweep_grid
from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted, FitTrace, Source
from clipwright.heads.cache import CacheHead
from clipwright.methods.base import Method, Requirements, class_texts, require_labels, wants, working_dtype
from clipwright.task import AveragingRule, Features, Task
from clipwright.training.selection import labels_used

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Steps = Annotated[int, Field(ge=1, le=10_000)]
Choice = Literal["nearest", "first"]

ANCHOR = (12.0, 10.0)
"""(beta, alpha) that wins among pairs that classify equally many rows right."""

ONE_SHOT = (12.0, 20.0)
"""(beta, alpha) where no class has a second image to hold out."""

_BLOCK = 2_000_000  # kernel values, or class sums over all betas, looked at together


@plain_dataclass(frozen=True, eq=False)
class Memory:
    """Keys that vote for their classes, beside a cosine classifier: what `CacheHead` holds but for beta and alpha.

    Attributes:
        weight: (C, D) unit class texts.
        keys: (N, Q) what images are compared with.
        key_class: (N,) int64.
        scale: the logit scale.
        key_weight: (N,) vote of each key, or None for 1.
        channels: (Q,) int64 channels that are compared, or None for all.
    """

    weight: torch.Tensor
    keys: torch.Tensor
    key_class: torch.Tensor
    scale: float
    key_weight: torch.Tensor | None = None
    channels: torch.Tensor | None = None

    def text_logits(self, x: torch.Tensor) -> torch.Tensor:
        """(m, C) of (m, D) unit rows."""
        return self.scale * (x @ self.weight.T)

    def distance(self, x: torch.Tensor) -> torch.Tensor:
        """(N, m) one minus the product of each key with each of (m, D) unit rows."""
        return 1 - self.keys @ (x if self.channels is None else unit_rows(x[:, self.channels])).T

    def head(self, beta: float, alpha: float) -> CacheHead:
        """The classifier."""
        return CacheHead(
            self.weight, self.keys, self.key_class, alpha=alpha, beta=beta, scale=self.scale,
            key_weight=self.key_weight, channels=self.channels,
        )  # fmt: skip


def published_grid(end: float, steps: int) -> torch.Tensor:
    """(steps,) float64: ``0.1 + i * (end - 0.1) / steps``, the end itself left out, as released."""
    return 0.1 + torch.arange(steps, dtype=torch.float64) * (end - 0.1) / steps


def right_on_grid(
    memory: Memory,
    x: torch.Tensor,
    labels: torch.Tensor,
    betas: torch.Tensor,
    alphas: torch.Tensor,
    *,
    rows: torch.Tensor | None = None,
) -> torch.Tensor:
    """How many rows the memory classifies right at each beta and alpha: equal to re-evaluating each pair, not as slow.

    Args:
        memory: keys and texts.
        x: (M, D) unit image features.
        labels: (M,) int64 classes.
        betas: (R,) positive.
        alphas: (G,) ascending.
        rows: (M,) the key that each row of `x` is itself: it is left out, and the other keys of its class, of which
            there must be some, are given its vote too, so that its class is not one vote short. None = leave out none.

    Returns:
        (R, G) int64 counts, 0..M.
    """
    classes = len(memory.weight)
    counts = torch.zeros(len(betas), len(alphas), dtype=torch.int64, device=x.device)
    size = max(1, _BLOCK // max(len(memory.keys), len(betas) * classes))
    votes = torch.ones_like(memory.keys[:, 0]) if memory.key_weight is None else memory.key_weight
    held = torch.zeros(classes, dtype=votes.dtype, device=x.device).index_add_(0, memory.key_class, votes)
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        own = labels[part]
        distance = memory.distance(x[part])
        if rows is not None:
            distance[rows[part], torch.arange(len(own), device=x.device)] = torch.inf
        sums = exponential_sums(distance, memory.key_class, classes, betas, memory.key_weight)
        if rows is not None:
            factor = (held[own] / (held[own] - votes[rows[part]])).double()
            sums[:, torch.arange(len(own), device=x.device), own] *= factor
        text = memory.text_logits(x[part])
        step = max(1, _BLOCK // 8 // (len(own) * classes))  # betas swept together: what stays in the cache
        for first in range(0, len(betas), step):
            some = slice(first, first + step)
            counts[some] += sweep_grid(text, sums[some], own, alphas)
    return counts


def pick_pair(counts: torch.Tensor, betas: torch.Tensor, alphas: torch.Tensor, choice: Choice) -> tuple[float, float]:
    """The pair with the most rows right.

    Of equals, ``first`` takes the smallest beta and then the smallest alpha, as released; ``nearest`` takes the one
    nearest to `ANCHOR` in the logarithms of beta and alpha.
    """
    best = counts == counts.max()
    if choice == "first":
        place = int(best.flatten().int().argmax())
    else:
        far = (betas / ANCHOR[0]).log()[:, None].square() + (alphas / ANCHOR[1]).log().square()
        place = int(far.masked_fill(~best, torch.inf).argmin())
    return float(betas[place // len(alphas)]), float(alphas[place % len(alphas)])


@plain_dataclass(frozen=True)
class Search:
    """How (beta, alpha) are found where the user gives none.

    Attributes:
        beta: given, or None.
        alpha: given, or None.
        scale: ends of the grid of beta and alpha.
        steps: values of beta and alpha.
        choice: which of equally good pairs.
    """

    beta: float | None
    alpha: float | None
    scale: tuple[float, float]
    steps: tuple[int, int]
    choice: Choice

    def run(self, memory: Memory, task: Task) -> tuple[float, float, Source | None]:
        """Beta, alpha, and how those not given were found; None = both were given.

        On the task's validation rows where there are any, else by leaving out each support row in turn, else, where no
        class has two, `ONE_SHOT`. The support set must be the memory's keys, row by row.
        """
        if self.beta is not None and self.alpha is not None:
            return self.beta, self.alpha, None
        betas, alphas = (
            published_grid(end, n) if given is None else torch.tensor([given], dtype=torch.float64)
            for given, end, n in zip((self.beta, self.alpha), self.scale, self.steps, strict=True)
        )
        dtype = memory.weight.dtype
        if task.validation is not None and len(task.validation):
            x, labels = task.validation.unit_x().to(dtype), task.validation.labels
            counts = right_on_grid(memory, x, labels, betas, alphas)
            return *pick_pair(counts, betas, alphas, self.choice), "validation"
        support = require_labels(task)
        rows = (torch.tensor(task.shots)[support.labels] > 1).nonzero()[:, 0]
        if not len(rows):
            return self.beta or ONE_SHOT[0], self.alpha or ONE_SHOT[1], "rule"
        x = support.unit_x()[rows].to(dtype)
        counts = right_on_grid(memory, x, support.labels[rows], betas, alphas, rows=rows)
        return *pick_pair(counts, betas, alphas, self.choice), "cross-validation"

    def note(self, trace: FitTrace, task: Task, found: tuple[float, float, Source | None]) -> None:
        """Write into the trace what was found and how, and which labels that took."""
        beta, alpha, how = found
        trace.chosen |= {"beta": beta, "alpha": alpha}
        if how is None:
            return
        trace.how |= {n: how for n in ("beta", "alpha") if getattr(self, n) is None}
        if how == "validation":
            trace.labels_per_class = labels_used(task)


def support_keys(support: Features, *, use_views: bool) -> torch.Tensor:
    """(N, D) unit rows: the mean of each image's raw views, or the clean view where there are none."""
    if use_views and support.views is not None and support.views.shape[1]:
        views = support.views if support.views.dtype in {torch.float32, torch.float64} else support.views.float()
        return unit_rows(views.mean(1))
    return support.unit_x()


@dataclass(frozen=True)
class TipAdapter(Method):
    """``logit_scale * v . t_c + alpha * sum over support images i of class c: exp(-beta * (1 - v . key_i))``.

    Attributes:
        beta: how fast an image's vote falls with its distance, positive; None = searched.
        alpha: how much the memory counts, positive; None = searched. (1, 1.17) and (5.5, 1.17) are published values
            that need no search.
        search_scale: ends of the grid of beta and alpha, positive; the released code has one pair for each data set,
            from (7, 3) to (50, 50).
        search_steps: how many values of beta and alpha; (200, 20) in the released code.
        choice: which of the pairs with the most rows right: ``nearest`` to (12, 10), or ``first``: the smallest beta,
            then the smallest alpha, as released.
        averaging: how the prompts of a class become one vector; the default is the published rule.
        use_views: make each key from the mean of the image's stored views, where there are any, as published.

    The search looks at the task's validation rows where there are any, else at each support row with its own key left
    out. With one label per class there is nothing to look at, and beta = 12, alpha = 20.

    Source: Zhang et al. 2022, equations 3 to 6.
    """

    title: ClassVar[str] = "TipAdapter"
    summary: ClassVar[str] = "a few labels: a memory of the labelled images beside the texts, no training"
    paper: ClassVar[str] = "Zhang et al., Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification, 2022"

    beta: Positive | None = None
    alpha: Positive | None = None
    search_scale: tuple[Positive, Positive] = (50.0, 50.0)
    search_steps: tuple[Steps, Steps] = (200, 20)
    choice: Choice = "nearest"
    averaging: AveragingRule = "mean_unit_renorm"
    use_views: bool = True

    def requires(self) -> Requirements:
        """Text features and labels; augmented views and validation labels where there are any."""
        return wants(views=self.use_views, validation=self.beta is None or self.alpha is None)

    def fit(self, task: Task) -> Fitted:
        """Store the support set, and search beta and alpha.

        Raises:
            NeedsError: the task has no text features or no labelled images.
            DataError: a class has no text or no labelled image.
        """
        self.check(task)
        support = require_labels(task)
        trace = self.trace(task)
        with trace.timed():
            dtype = working_dtype(task)
            weight = unit_rows(class_texts(task, self.averaging)).to(dtype)
            keys = support_keys(support, use_views=self.use_views).to(dtype)
            memory = Memory(weight, keys, support.labels, task.logit_scale)
            search = Search(self.beta, self.alpha, self.search_scale, self.search_steps, self.choice)
            found = search.run(memory, task)
            search.note(trace, task, found)
            return Fitted(memory.head(*found[:2]), trace=trace)
