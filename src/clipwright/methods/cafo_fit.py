"""How CaFo finds its two numbers and tunes its keys; which rows of a support set are real."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from clipwright.core.choice import DECADE
from clipwright.core.rng import generator
from clipwright.core.sweeps import exponential_sums, sweep_grid
from clipwright.core.tensors import unit_rows
from clipwright.heads.fusion import FusionHead, fuse, key_votes
from clipwright.task import Features
from clipwright.training.batches import random_views, shuffled_batches
from clipwright.training.loop import train

EPSILON = 1e-4
"""AdamW's, as released."""

_BLOCK = 2_000_000  # kernel values, or class sums over all betas, looked at together

Rows = tuple[torch.Tensor, ...]
"""Unit rows of the first tower, and of the second where there is one."""


# --- real and generated rows ------------------------------------------------------------------------------------------


def with_generated(support: Features, most: int | None, *, seed: int, key: str) -> Features:
    """The support set with at most so many generated rows of each class, drawn at random; None = all of them."""
    made = support.is_generated
    if most is None or not bool(made.any()):
        return support
    order = torch.from_numpy(generator(seed, key, "generated").permutation(len(support)))
    order = order[made[order]]
    kept = ~made
    for c in torch.unique(support.labels[made]).tolist():
        kept[order[support.labels[order] == c][:most]] = True
    return support[kept]


def held_rows(support: Features) -> torch.Tensor:
    """(M,) rows that can be left out to judge a classifier: real ones of classes that have another real one."""
    real = ~support.is_generated
    count = torch.bincount(support.labels[real], minlength=int(support.labels.max()) + 1 if len(support) else 0)
    return (real & (count[support.labels] > 1)).nonzero()[:, 0]


def class_shares(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """(N,) float64 votes of keys with which each class has as many in sum: N / C divided by the class's keys."""
    count = torch.bincount(labels, minlength=classes).double()
    return len(labels) / classes / count[labels]


def pick(counts: torch.Tensor, axes: Sequence[torch.Tensor], prior: Sequence[float], *, first: bool) -> list[float]:
    """The grid point with the most rows right, less what its distance from the expected values costs.

    As `clipwright.core.choice.near_best`, over several values at once.

    Args:
        counts: rows right at each point, one dimension for each axis.
        axes: the values of each axis, positive.
        prior: what is expected on each axis, positive.
        first: take the first of the points with the most rows right instead, as released.
    """
    worth = counts.double()
    if not first:
        for number, (values, expected) in enumerate(zip(axes, prior, strict=True)):
            cost = DECADE * (values.double() / expected).log10().square()
            worth = worth - cost.reshape([-1 if n == number else 1 for n in range(counts.ndim)])
    place = int((worth >= worth.max() - 1e-9).flatten().int().argmax())
    where = torch.unravel_index(torch.tensor(place), counts.shape)
    return [float(values[int(at)]) for values, at in zip(axes, where, strict=True)]


# --- the memory -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Caches:
    """What `FusionHead` holds but for beta and alpha.

    Attributes:
        weight: (C, D) unit class texts.
        keys: (N, D) of the first tower, and (N, D2) of the second where there is one.
        key_class: (N,) int64.
        key_weight: (N,) vote of each key.
        scale: the logit scale.
    """

    weight: torch.Tensor
    keys: Rows
    key_class: torch.Tensor
    key_weight: torch.Tensor
    scale: float

    def logits(self, rows: Rows, beta: float, alpha: float) -> torch.Tensor:
        """(m, C) logits of m unit rows, differentiable in the keys."""
        text = self.scale * (rows[0] @ self.weight.T)
        votes = [
            key_votes(x, keys, self.key_class, self.key_weight, len(self.weight), beta=beta)
            for x, keys in zip(rows, self.keys, strict=True)
        ]
        return text + alpha * fuse(text, votes)

    def head(self, beta: float, alpha: float) -> FusionHead:
        """The classifier."""
        return FusionHead(
            self.weight,
            self.keys[0].detach(),
            self.key_class,
            alpha=alpha,
            beta=beta,
            scale=self.scale,
            second_keys=self.keys[1].detach() if len(self.keys) > 1 else None,
            key_weight=self.key_weight,
        )


class Held(NamedTuple):
    """Labelled rows that (beta, alpha) are judged on.

    Attributes:
        rows: M unit rows of each tower.
        labels: (M,) int64.
        own: (M,) the key that each row is itself, which is left out and its vote given to the other keys of its class;
            None where the rows are none of the keys.
    """

    rows: Rows
    labels: torch.Tensor
    own: torch.Tensor | None = None


def right_on_grid(caches: Caches, held: Held, betas: torch.Tensor, alphas: torch.Tensor) -> torch.Tensor:
    """How many rows are right at each beta and alpha: equal to re-evaluating each pair, not as slow.

    The fused memories depend on beta alone, so that a row is right on one interval of alpha.

    Args:
        caches: keys and texts.
        held: M rows.
        betas: (R,) positive.
        alphas: (G,) ascending.

    Returns:
        (R, G) int64 counts, 0..M.
    """
    classes = len(caches.weight)
    counts = torch.zeros(len(betas), len(alphas), dtype=torch.int64)
    size = max(1, _BLOCK // max(len(caches.key_class), len(betas) * classes))
    for start in range(0, len(held.labels), size):
        part = slice(start, start + size)
        own = None if held.own is None else held.own[part]
        text = (caches.scale * (held.rows[0][part] @ caches.weight.T)).double()
        sums = [
            votes_of_betas(caches, keys, x[part], held.labels[part], own=own, betas=betas)
            for x, keys in zip(held.rows, caches.keys, strict=True)
        ]
        counts += sweep_grid(text, fuse(text, sums), held.labels[part], alphas)
    return counts


def votes_of_betas(
    caches: Caches,
    keys: torch.Tensor,
    x: torch.Tensor,
    labels: torch.Tensor,
    *,
    own: torch.Tensor | None,
    betas: torch.Tensor,
) -> torch.Tensor:
    """(R, m, C) float64 votes at each beta, up to a factor per beta and row; without the keys `own` of the rows."""
    distance = 1 - (keys @ x.T).double()
    m = torch.arange(len(x))
    if own is not None:
        distance[own, m] = torch.inf
    distance -= distance.amin(0)
    weight, classes = caches.key_weight.double(), len(caches.weight)
    sums = exponential_sums(distance, caches.key_class, classes, betas, weight)
    if own is not None:
        total = torch.zeros(classes, dtype=torch.float64).index_add_(0, caches.key_class, weight)
        sums[:, m, labels] *= total[labels] / (total[labels] - weight[own])
    return sums


# --- tuning the keys --------------------------------------------------------------------------------------------------


def step_batches(support: Features, batch_size: int, seed: int) -> tuple[Callable[[int], list[torch.Tensor]], int]:
    """Batches of real rows and then, apart, of generated ones, shuffled anew each epoch; and how many are real."""
    made = support.is_generated
    kinds = [(name, rows.nonzero()[:, 0]) for name, rows in (("real", ~made), ("generated", made)) if bool(rows.any())]
    drawn = [
        (rows, shuffled_batches(len(rows), batch_size, drop_last=False, seed=seed, key=("cafo", "order", name)))
        for name, rows in kinds
    ]
    real = len(drawn[0][1](0)) if kinds[0][0] == "real" else 0
    return lambda epoch: [rows[batch] for rows, batches in drawn for batch in batches(epoch)], real


def training_rows(
    support: Features, second: bool, dtype: torch.dtype, *, use_views: bool, seed: int
) -> Callable[[int], Rows]:
    """A function from the epoch to unit rows: a stored view of each image where there are any, drawn at random."""
    beside = (unit_rows(support.second).to(dtype),) if second and support.second is not None else ()
    if use_views and support.views is not None and support.views.shape[1]:
        draw = random_views(support.views, seed=seed, key=("cafo", "views"))
        return lambda epoch: (unit_rows(draw(epoch)).to(dtype), *beside)
    clean = support.unit_x().to(dtype)
    return lambda _: (clean, *beside)


def cosine_steps(rate: float, steps: int, period: int) -> list[float]:
    """``rate / 2 * (1 + cos(pi * step / period))``: with a period below the steps it rises and falls again."""
    return [rate / 2 * (1 + math.cos(math.pi * step / period)) for step in range(steps)]


def tune(
    caches: Caches,
    rows: Callable[[int], Rows],
    labels: torch.Tensor,
    batches: Callable[[int], list[torch.Tensor]],
    rates: Sequence[float],
    *,
    beta: float,
    alpha: float,
    weight_decay: float,
    after_epoch: Callable[[int], None],
) -> list[float]:
    """Minimise the cross-entropy of the logits over the keys, which are changed in place, by AdamW.

    Args:
        caches: keys and texts; the keys take gradients.
        rows: a function from the epoch to N unit rows of each tower.
        labels: (N,) int64.
        batches: a function from the epoch to the rows of each batch, the same number in every epoch.
        rates: learning rate of each step.
        beta: in force during training.
        alpha: in force during training.
        weight_decay: AdamW's, decoupled.
        after_epoch: called with each finished epoch.

    Returns:
        Mean loss of each epoch.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    per_epoch = len(batches(0))
    drawn: dict[int, tuple[Rows, list[torch.Tensor]]] = {}

    def pairs(step: int) -> list[tuple[Rows, torch.Tensor]]:
        epoch, number = divmod(step, per_epoch)
        if epoch not in drawn:
            drawn.clear()
            drawn[epoch] = rows(epoch), batches(epoch)
        seen, order = drawn[epoch]
        return [(tuple(x[order[number]] for x in seen), labels[order[number]])]

    def loss(pair: tuple[Rows, torch.Tensor]) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(caches.logits(pair[0], beta, alpha), pair[1])

    def step_done(step: int, _: float) -> None:
        if (step + 1) % per_epoch == 0:
            after_epoch(step // per_epoch)

    adam = torch.optim.AdamW(list(caches.keys), eps=EPSILON, weight_decay=weight_decay)
    losses = train(adam, loss, pairs, rates, after_epoch=step_done)
    return torch.tensor(losses, dtype=torch.float64).reshape(-1, per_epoch).mean(1).tolist()


class BestEpoch:
    """Keeps the keys of the epoch with most validation rows right, the first of equals; else those of the last.

    Attributes:
        epoch: the one that is kept.
        kept: the memory with its keys.
    """

    def __init__(self, caches: Caches, validation: Held | None, beta: float, alpha: float) -> None:
        self.caches, self.validation, self.beta, self.alpha = caches, validation, beta, alpha
        self.right, self.epoch, self.kept = -1, -1, caches

    @torch.no_grad()
    def __call__(self, epoch: int) -> None:
        """Score an epoch."""
        right = epoch
        if self.validation is not None:
            found = self.caches.logits(self.validation.rows, self.beta, self.alpha).argmax(1)
            right = int((found == self.validation.labels).sum())
        if right > self.right:
            self.right, self.epoch = right, epoch
            self.kept = replace(self.caches, keys=tuple(keys.detach().clone() for keys in self.caches.keys))
