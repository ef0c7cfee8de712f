"""CODER with labels: a memory of images compared by how texts see them, and its search of (beta, alpha)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch

from clipwright.core.errors import DataError
from clipwright.core.sweeps import Steps, exponential_sums, steps_of, sweep_grid, winning_intervals
from clipwright.core.tensors import unit_rows
from clipwright.heads.metric_cache import MetricCacheHead, stretched

ROUNDS = 3
"""Of the released search; each looks at half to one and a half times the last one's best."""

_BLOCK = 2_000_000  # kernel values, or class sums over all betas, looked at together
_NARROW = 1e-5  # stretches of alpha with ends nearer than this share are lost to rounding in single precision
_INSIDE = 0.1  # a chosen alpha stays this share of a stretch's width off its ends, in logarithms


def gram_root(texts: torch.Tensor) -> torch.Tensor:
    """(Q, D) matrix R with ``R^T R = texts^T texts``, Q at most min(T, D).

    With it, ``unit(texts @ x) . unit(texts @ y) = unit(R @ x) . unit(R @ y)``: images compared by their T cosines with
    texts are compared in D dimensions instead, however many texts there are.

    Args:
        texts: (T, D) unit texts; T at least 1.

    Raises:
        DataError: a text holds NaN or infinity.
    """
    if not bool(torch.isfinite(texts).all()):
        raise DataError("text features hold NaN or infinity; remove those rows or extract them again.")
    if len(texts) <= texts.shape[1]:
        return texts
    values, vectors = torch.linalg.eigh(texts.double().T @ texts.double())
    kept = values > values[-1] * len(values) * torch.finfo(torch.float64).eps
    root: torch.Tensor = (vectors[:, kept] * values[kept].sqrt()).T
    return root.to(texts.dtype)


@dataclass(frozen=True, eq=False)
class Memory:
    """What `MetricCacheHead` holds but for beta and alpha.

    Attributes:
        weight: (C, D) unit class texts.
        projection: (Q, D) from `gram_root`.
        keys: (N, Q) unit keys.
        key_class: (N,) int64.
        scale: the logit scale.
    """

    weight: torch.Tensor
    projection: torch.Tensor
    keys: torch.Tensor
    key_class: torch.Tensor
    scale: float

    def seen(self, x: torch.Tensor) -> torch.Tensor:
        """(m, Q) unit rows: how the texts see (m, D) unit rows."""
        return unit_rows(x @ self.projection.T)

    def near(self, x: torch.Tensor, rows: torch.Tensor | None = None) -> torch.Tensor:
        """(m, N) stretched affinities of (m, D) unit rows to the keys; NaN at the key `rows` that a row is itself."""
        affinity = self.seen(x) @ self.keys.T
        if rows is not None:
            affinity[torch.arange(len(x), device=x.device), rows] = torch.nan
        return stretched(affinity)

    def head(self, beta: float, alpha: float) -> MetricCacheHead:
        """The classifier."""
        return MetricCacheHead(
            self.weight, self.projection, self.keys, self.key_class, alpha=alpha, beta=beta, scale=self.scale
        )


@dataclass(frozen=True, eq=False)
class Held:
    """Labelled rows that (beta, alpha) are judged on.

    Attributes:
        x: (M, D) unit rows.
        labels: (M,) int64.
        rows: (M,) the key that each row is itself, which is left out and its vote given to the other keys of its
            class; None where the rows are none of the keys.
    """

    x: torch.Tensor
    labels: torch.Tensor
    rows: torch.Tensor | None = None


class Votes(NamedTuple):
    """Some held rows' logits, apart: at (beta, alpha) they are ``text + alpha * sums[beta]``.

    Attributes:
        text: (m, C).
        sums: (R, m, C) float64, for R betas.
        labels: (m,) int64.
    """

    text: torch.Tensor
    sums: torch.Tensor
    labels: torch.Tensor


def votes(memory: Memory, held: Held, betas: torch.Tensor) -> Iterator[Votes]:
    """What the keys vote for at each beta, in blocks of held rows. Affinities depend on neither beta nor alpha.

    Args:
        memory: keys and texts.
        held: M rows.
        betas: (R,) float64, positive.
    """
    classes = len(memory.weight)
    size = max(1, _BLOCK // max(len(memory.keys), len(betas) * classes))
    count = torch.bincount(memory.key_class, minlength=classes).double()
    for start in range(0, len(held.x), size):
        part = slice(start, start + size)
        x, own = held.x[part], held.labels[part]
        distance = 1 - memory.near(x, None if held.rows is None else held.rows[part]).T
        sums = exponential_sums(distance.nan_to_num(nan=torch.inf), memory.key_class, classes, betas)
        if held.rows is not None:
            sums[:, torch.arange(len(own), device=x.device), own] *= count[own] / (count[own] - 1)
        yield Votes(memory.scale * (x @ memory.weight.T), sums, own)


class Choice(NamedTuple):
    """A pair that was chosen.

    Attributes:
        beta: how fast votes fall.
        alpha: how much the memory counts.
        right: held rows that it classifies right.
    """

    beta: float
    alpha: float
    right: int


def exact_search(
    memory: Memory, held: Held, betas: torch.Tensor, alphas: tuple[float, float], prefer: tuple[float, float]
) -> Choice:
    """The pair with the most held rows right over all alphas between two ends, and a grid of betas.

    Of equally good pairs, the one nearest to `prefer` in the logarithms of beta and alpha, alpha a tenth of its
    stretch's width off the ends of the stretch.

    Args:
        memory: keys and texts.
        held: M rows.
        betas: (R,) float64, positive.
        alphas: lowest and highest, positive; equal where alpha is given.
        prefer: a beta and an alpha.
    """
    low, high = alphas
    if low == high:
        counts = counts_on_grid(memory, held, betas, torch.tensor([low], dtype=torch.float64))[:, 0]
        options = [(int(c), float(b), low) for c, b in zip(counts, betas, strict=True)]
    else:
        ends = [winning_intervals(v.text, v.sums, v.labels) for v in votes(memory, held, betas)]
        starts, stops = (torch.cat(side, 1) for side in zip(*ends, strict=True))
        options = [
            (most, float(beta), alpha)
            for beta, start, stop in zip(betas, starts, stops, strict=True)
            for most, alpha in [_nearest(steps_of(start, stop, low, high), prefer[1])]
        ]
    most = max(option[0] for option in options)
    good = [option for option in options if option[0] == most]
    right, beta, alpha = min(good, key=lambda o: math.log(o[1] / prefer[0]) ** 2 + math.log(o[2] / prefer[1]) ** 2)
    return Choice(beta, alpha, right)


def _nearest(steps: Steps, prefer: float) -> tuple[int, float]:
    """The most rows right, and of the alphas with as many the one nearest to `prefer` in its logarithm."""
    narrow = steps.edges[1:] < steps.edges[:-1] * (1 + _NARROW)
    narrow &= ~narrow.all()
    most, start, stop = Steps(steps.edges, steps.correct.masked_fill(narrow, -1)).stretches()
    inside = _INSIDE * (stop / start).log()
    found = torch.full_like(start, math.log(prefer)).clamp(start.log() + inside, stop.log() - inside)
    return most, float(found[(found - math.log(prefer)).abs().argmin()].exp())


def counts_on_grid(memory: Memory, held: Held, betas: torch.Tensor, alphas: torch.Tensor) -> torch.Tensor:
    """(R, G) held rows right at each beta and each of G ascending alphas: equal to re-evaluating every pair."""
    counts = torch.zeros(len(betas), len(alphas), dtype=torch.int64, device=held.x.device)
    for v in votes(memory, held, betas):
        counts += sweep_grid(v.text, v.sums, v.labels, alphas)
    return counts


class Round(NamedTuple):
    """One round of the released search: what it looked at, and its first best pair.

    Attributes:
        counts: (R, G) rows right.
        best: the pair.
    """

    counts: torch.Tensor
    best: Choice


def released_search(memory: Memory, held: Held, steps: tuple[int, int] = (500, 50)) -> list[Round]:
    """The released search of three rounds, each pair's rows counted exactly but without evaluating it.

    A round looks at ``low + i * (high - low) / steps`` of beta, 0.1 to 200 at first, and of alpha, 0.1 to 20, then at
    half to one and a half times the best. Of equals the smallest beta, then the smallest alpha, wins.

    Args:
        memory: keys and texts.
        held: M rows.
        steps: values of beta and alpha in each round.
    """
    ends, found = [(0.1, 200.0), (0.1, 20.0)], []
    for _ in range(ROUNDS):
        betas, alphas = (
            low + torch.arange(n, dtype=torch.float64) * (high - low) / n
            for (low, high), n in zip(ends, steps, strict=True)
        )
        counts = counts_on_grid(memory, held, betas, alphas)
        place = int((counts == counts.max()).flatten().int().argmax())
        beta, alpha = float(betas[place // len(alphas)]), float(alphas[place % len(alphas)])
        found.append(Round(counts, Choice(beta, alpha, int(counts.max()))))
        ends = [(0.5 * best, 1.5 * best) for best in (beta, alpha)]
    return found
