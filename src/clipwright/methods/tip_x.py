"""TIP-X: Tip-Adapter's memory, and beside it how differently the class texts see an image and the remembered ones."""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from clipwright.core.sweeps import exponential_sums, sweep_grid
from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted, FitTrace, Source
from clipwright.heads.cache import CacheHead
from clipwright.heads.distribution_cache import DistributionCacheHead, log_shares, mean_divergence
from clipwright.methods.base import Method, Requirements, class_texts, require_labels, wants, working_dtype
from clipwright.methods.cafo_fit import class_shares, held_rows, pick, with_generated
from clipwright.methods.tip_adapter import Positive, Steps, support_keys
from clipwright.task import AveragingRule, Features, Task
from clipwright.training.selection import labels_used

TEMPERATURE = 0.5
"""Of the softmax over the class texts, as released."""

EXPECTED = (12.0, 10.0, 1.0)
"""beta, alpha, and gamma times the images per class, from which held-out rows must have reasons to depart. Where all
images are generated, this alpha is divided by the images per class too: more of them are no better evidence."""

ONE_SHOT_ALPHA = 20.0
"""alpha where there are real images, but no class has a second one to hold out."""

_BLOCK = 2_000_000  # kernel values, or class sums over all betas, looked at together


def rescaling(keys: torch.Tensor, shares: torch.Tensor) -> tuple[float, float]:
    """The slope and offset that take divergences between keys to the range of the products between keys.

    Each pair of different keys gives a product and, in both directions, a divergence; the smallest divergence goes to
    the smallest product, the largest to the largest. The keys alone decide, so that an image's answer doesn't depend on
    which others come with it.

    Args:
        keys: (N, D) unit rows.
        shares: (N, T) their `log_shares`.

    Returns:
        slope and offset; the slope is 0 where there are no two keys or all divergences are the same.
    """
    ends: list[torch.Tensor] = []
    r = shares.exp() / shares.shape[1]
    own = (r * shares).sum(1)
    size = max(1, _BLOCK // max(1, len(keys)))
    for start in range(0, len(keys), size):
        part = slice(start, start + size)
        apart = torch.arange(start, min(start + size, len(keys)))[:, None] != torch.arange(len(keys))
        if bool(apart.any()):
            both = ((keys[part] @ keys.T)[apart], (own[part, None] - r[part] @ shares.T)[apart])
            ends.append(torch.stack([end for values in both for end in values.aminmax()]).double())
    if not ends:
        return 0.0, 0.0
    found = torch.stack(ends)
    low, high = float(found[:, 0].min()), float(found[:, 1].max())
    least, most = float(found[:, 2].min()), float(found[:, 3].max())
    slope = (high - low) / (most - least) if most - least > torch.finfo(shares.dtype).eps else 0.0
    return slope, low - slope * least


@plain_dataclass(frozen=True, eq=False)
class Memory:
    """What the classifier holds but for beta, alpha and gamma.

    Attributes:
        weight: (C, D) unit class texts.
        keys: (N, D) unit keys.
        key_class: (N,) int64.
        key_weight: (N,) vote of each key.
        shares: (N, C) `log_shares` of the keys.
        slope: what a nat of divergence is worth, in cosines.
        offset: what no divergence is worth, in cosines.
        scale: the logit scale.
        temperature: of the softmax over the class texts.
    """

    weight: torch.Tensor
    keys: torch.Tensor
    key_class: torch.Tensor
    key_weight: torch.Tensor
    shares: torch.Tensor
    slope: float
    offset: float
    scale: float
    temperature: float

    @property
    def total(self) -> torch.Tensor:
        """(C,) votes of each class."""
        return self.key_weight.new_zeros(len(self.weight)).index_add_(0, self.key_class, self.key_weight)

    @property
    def profile(self) -> torch.Tensor:
        """(C, C) weighted sum of the shares of each class's keys."""
        rows = self.key_weight[:, None] * self.shares
        return rows.new_zeros(len(self.weight), rows.shape[1]).index_add_(0, self.key_class, rows)

    def head(self, beta: float, alpha: float, gamma: float) -> DistributionCacheHead:
        """The classifier."""
        cache = CacheHead(
            self.weight,
            self.keys,
            self.key_class,
            alpha=alpha,
            beta=beta,
            scale=self.scale,
            key_weight=self.key_weight,
        )
        return DistributionCacheHead(
            cache,
            self.weight,
            self.profile,
            self.total,
            gamma=gamma,
            slope=self.slope,
            offset=self.offset,
            temperature=self.temperature,
        )

    def parts(
        self, x: torch.Tensor, labels: torch.Tensor, own: torch.Tensor | None, betas: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits apart: texts (m, C), votes at each beta (R, m, C) and rescaled divergences (m, C).

        Args:
            x: (m, D) unit rows.
            labels: (m,) int64.
            own: (m,) the key that each row is itself: left out, its vote given to the other keys of its class.
            betas: (R,) positive.
        """
        classes, m = len(self.weight), torch.arange(len(x))
        distance = 1 - self.keys @ x.T
        shares = log_shares(x, self.weight, self.temperature)
        rescaled = self.offset * self.total + self.slope * mean_divergence(shares, self.profile, self.total)
        if own is not None:
            distance[own, m] = torch.inf
        sums = exponential_sums(distance, self.key_class, classes, betas, self.key_weight)
        if own is not None:
            vote, total = self.key_weight[own], self.total[labels]
            divergence = (shares.exp() * (shares - self.shares[own])).mean(1)
            rescaled[m, labels] -= vote * (self.offset + self.slope * divergence)
            factor = total / (total - vote)
            rescaled[m, labels] *= factor
            sums[:, m, labels] *= factor.double()
        return self.scale * (x @ self.weight.T), sums, rescaled


def right_on_grid(
    memory: Memory,
    x: torch.Tensor,
    labels: torch.Tensor,
    grids: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    own: torch.Tensor | None = None,
) -> torch.Tensor:
    """How many rows are right at each beta, alpha and gamma: equal to re-evaluating each triple, not as slow.

    Args:
        memory: keys and texts.
        x: (M, D) unit rows.
        labels: (M,) int64.
        grids: beta (R,), alpha (G,) ascending, and gamma (K,).
        own: (M,) the key that each row is itself, which is left out; None = leave out none.

    Returns:
        (R, G, K) int64 counts, 0..M.
    """
    betas, alphas, gammas = grids
    counts = torch.zeros(*map(len, grids), dtype=torch.int64)
    size = max(1, _BLOCK // max(len(memory.keys), len(betas) * len(memory.weight)))
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        text, sums, rescaled = memory.parts(x[part], labels[part], None if own is None else own[part], betas)
        for number, gamma in enumerate(gammas.tolist()):
            counts[:, :, number] += sweep_grid(text.double() - gamma * rescaled, sums, labels[part], alphas)
    return counts


@dataclass(frozen=True)
class TIPX(Method):
    """Tip-Adapter's logits, less gamma times the divergence of an image from each class's remembered ones.

    ``logit_scale * v . t_c + alpha * sum over images i of class c: exp(-beta * (1 - v . k_i)) - gamma * sum over the
    same: rescaled KL(r(v) || r(k_i))``, r the softmax of the cosines with the class texts over 0.5.

    Attributes:
        beta: how fast an image's vote falls with its distance, positive; None = searched.
        alpha: how much the votes count, positive; None = searched.
        gamma: how much the divergences count, at least 0; None = searched.
        search_low: lowest beta, alpha and gamma of the grid, positive; (1, 0.1, 0.1) in the released code.
        search_high: highest of each, left out of the grid; (50, 50, 30) in the released code.
        search_steps: how many values of each; (200, 20, 50) in the released code.
        choice: which triple of the grid: ``near`` weighs rows right against distance from the expected triple,
            ``first`` takes the smallest beta, then alpha, then gamma of those with the most rows right.
        temperature: of the softmax over the class texts, positive; 0.5 as released.
        generated_keys: generated images of a class that are used, drawn at random, at least 0; None = all.
        averaging: how the prompts of a class become one vector.
        use_views: make each key from the mean of the image's stored views, where there are any, as published.
        legacy_votes: every key votes 1, so that a class with more images has more to say, as released; without it the
            votes of each class are worth as much. Where classes have equally many images, both are the same.

    The three are chosen on the validation rows where there are any, else by leaving out in turn each real image of a
    class that has two; else they are fixed.

    Source: Udandarao et al. 2023, section 3.2; what differs is on the method's page.
    """

    title: ClassVar[str] = "TIPX"
    summary: ClassVar[str] = "generated images or a few labels: Tip-Adapter and how the texts see images, no training"
    paper: ClassVar[str] = (
        "Udandarao et al., SuS-X: Training-Free Name-Only Transfer of Vision-Language Models, ICCV 2023"
    )

    beta: Positive | None = None
    alpha: Positive | None = None
    gamma: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    search_low: tuple[Positive, Positive, Positive] = (1.0, 0.1, 0.1)
    search_high: tuple[Positive, Positive, Positive] = (50.0, 50.0, 30.0)
    search_steps: tuple[Steps, Steps, Steps] = (50, 20, 20)
    choice: Literal["near", "first"] = "near"
    temperature: Positive = TEMPERATURE
    generated_keys: Annotated[int, Field(ge=0)] | None = None
    averaging: AveragingRule = "mean_unit_renorm"
    use_views: bool = True
    legacy_votes: bool = False

    def requires(self) -> Requirements:
        """Text features and labels; augmented views and validation labels where there are any."""
        return wants(views=self.use_views, validation=None in (self.beta, self.alpha, self.gamma))

    def fit(self, task: Task) -> Fitted:
        """Store the images, fix the scale of divergences, and search beta, alpha and gamma.

        Raises:
            NeedsError: the task has no text features or no labelled or generated images.
            DataError: a class has no text or no image.
        """
        self.check(task)
        support = with_generated(require_labels(task), self.generated_keys, seed=task.seed, key="tip-x")
        task = replace(task, support=support)
        require_labels(task)
        trace = self.trace(task)
        with trace.timed():
            memory = self._memory(task)
            found, how = self._search(memory, task)
            self._note(trace, task, found, how)
            return Fitted(memory.head(*found), trace=trace)

    def _memory(self, task: Task) -> Memory:
        support, dtype = require_labels(task), working_dtype(task)
        weight = unit_rows(class_texts(task, self.averaging)).to(dtype)
        keys = support_keys(support, use_views=self.use_views).to(dtype)
        votes = class_shares(support.labels, task.n_classes).to(dtype)
        shares = log_shares(keys, weight, self.temperature)
        return Memory(
            weight,
            keys,
            support.labels,
            torch.ones_like(votes) if self.legacy_votes else votes,
            shares,
            *rescaling(keys, shares),
            task.logit_scale,
            self.temperature,
        )

    def _search(self, memory: Memory, task: Task) -> tuple[list[float], Source | None]:
        """Beta, alpha and gamma, and how those not given were found; None = all were given."""
        given = (self.beta, self.alpha, self.gamma)
        free = [number for number, value in enumerate(given) if value is None]
        if not free:
            return [float(value) for value in given if value is not None], None
        rows, own, how = self._held(task)
        expected = self._expected(task, judged=len(rows) > 0)
        if not len(rows):
            found = dict(enumerate(expected))
        else:
            grids = [
                torch.tensor([value], dtype=torch.float64)
                if value is not None
                else low + torch.arange(n, dtype=torch.float64) * (high - low) / n
                for value, low, high, n in zip(given, self.search_low, self.search_high, self.search_steps, strict=True)
            ]
            x = rows.unit_x().to(memory.weight.dtype)
            counts = right_on_grid(memory, x, rows.labels, (grids[0], grids[1], grids[2]), own)
            axes = [grids[n] for n in free]
            prior, shape = [expected[n] for n in free], [len(axis) for axis in axes]
            best = pick(counts.reshape(shape), axes, prior, first=self.choice == "first")
            found = dict(zip(free, best, strict=True))
        return [found[n] if value is None else value for n, value in enumerate(given)], how

    def _held(self, task: Task) -> tuple[Features, torch.Tensor | None, Source]:
        """Rows to choose on, the keys that they are themselves, and what that is called."""
        if task.validation is not None and len(task.validation):
            return task.validation, None, "validation"
        support = require_labels(task)
        own = held_rows(support)
        return support[own], own, "cross-validation" if len(own) else "rule"

    def _expected(self, task: Task, *, judged: bool) -> tuple[float, float, float]:
        """Beta, alpha and gamma to start from, or to take where there are no rows to judge by."""
        support = require_labels(task)
        beta, alpha, gamma = EXPECTED
        each = len(support) / task.n_classes
        if bool(support.is_generated.all()):
            alpha /= each
        elif not judged:
            alpha = ONE_SHOT_ALPHA
        return beta, alpha, gamma / each

    def _note(self, trace: FitTrace, task: Task, found: list[float], how: Source | None) -> None:
        names = ("beta", "alpha", "gamma")
        trace.chosen |= dict(zip(names, found, strict=True))
        if how is not None:
            trace.how |= {name: how for name in names if getattr(self, name) is None}
        if how == "validation":
            trace.labels_per_class = labels_used(task)
        if made := int(require_labels(task).is_generated.sum()):
            trace.notes.append(f"{made} of the {len(require_labels(task))} images remembered are generated.")
