"""Exact sweeps: how many rows ``a + alpha * b`` classifies right as a function of alpha, and sums of exponentials.

A row's true class wins against one other class on a half-line of alphas, hence against all of them on an interval.
Counting intervals replaces re-evaluating the logits at each alpha of a grid, and needs no grid at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

INTERPOLATION_ERROR = 1e-12
"""Largest error of `exponential_sums` per unit of weight, far below what float32 logits resolve."""


def winning_intervals(a: torch.Tensor, b: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The alphas at which each row's true class has the largest of ``a + alpha * b``, alone or with others.

    Args:
        a: (M, C) finite logits at alpha = 0.
        b: (..., M, C) finite logits that alpha multiplies.
        labels: (M,) int64 true classes.

    Returns:
        (..., M) lowest and highest alpha in float64, ends included, infinite where there is no bound; a lowest above
        the highest means never. A class that equals the true one at every alpha counts for the earlier of the two, as
        `argmax` has it.
    """
    a, b = a.double(), b.double()
    own = labels[:, None]
    lead = a.gather(1, own) - a
    slope = b.gather(-1, own.expand(*b.shape[:-1], 1)) - b
    alpha = -lead / slope  # where the true class and the other are equal
    low = torch.where(slope > 0, alpha, -math.inf).amax(-1)
    high = torch.where(slope < 0, alpha, math.inf).amin(-1)
    level = slope == 0
    if int(level.sum()) > slope[..., 0].numel():  # besides the true class itself
        earlier = torch.arange(a.shape[1], device=a.device) < own
        never = (level & ((lead < 0) | ((lead == 0) & earlier))).any(-1)
        low, high = low.masked_fill(never, math.inf), high.masked_fill(never, -math.inf)
    return low, high


def sweep_grid(a: torch.Tensor, b: torch.Tensor, labels: torch.Tensor, alphas: torch.Tensor) -> torch.Tensor:
    """How many rows ``a + alpha * b`` classifies right at each alpha of a grid, the first of equal logits winning.

    Args:
        a: (M, C) finite logits at alpha = 0.
        b: (..., M, C) finite logits that alpha multiplies.
        labels: (M,) int64 true classes.
        alphas: (G,) ascending.

    Returns:
        (..., G) int64 counts, 0..M.
    """
    grid = alphas.double()
    low, high = winning_intervals(a, b, labels)
    start, stop = torch.searchsorted(grid, low), torch.searchsorted(grid, high, right=True)
    size = len(grid) + 1
    batch = torch.arange(math.prod(low.shape[:-1]), device=grid.device) * size
    place = batch.reshape(*low.shape[:-1], 1)
    held = start < stop
    opened = torch.bincount((start + place)[held], minlength=len(batch) * size)
    closed = torch.bincount((stop + place)[held], minlength=len(batch) * size)
    counts = (opened - closed).reshape(*low.shape[:-1], size).cumsum(-1)[..., :-1]
    for end, others in ((low, held), (high, held & (high > low))):
        _take_ties(counts, a, b, labels, grid=grid, end=end, on_grid=others & torch.isin(end, grid))
    return counts


def _take_ties(
    counts: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    labels: torch.Tensor,
    *,
    grid: torch.Tensor,
    end: torch.Tensor,
    on_grid: torch.Tensor,
) -> None:
    """Take the rows off `counts` whose interval ends on the grid because an earlier class is as large there."""
    where = on_grid.nonzero(as_tuple=True)
    if not len(where[-1]):
        return
    alpha, own = end[where][:, None], labels[where[-1]][:, None]
    lead, slope = a[where[-1]].double(), b[where].double()
    lead, slope = lead.gather(1, own) - lead, slope.gather(1, own) - slope
    earlier = torch.arange(a.shape[1], device=a.device) < own
    lost = ((-lead / slope == alpha) & earlier).any(1).long()
    place = torch.searchsorted(grid, alpha[:, 0])
    counts.index_put_((*where[:-1], place), -lost, accumulate=True)


@dataclass(frozen=True, eq=False)
class Steps:
    """Rows classified right as a step function of alpha.

    Attributes:
        edges: (K + 1,) float64, ascending and distinct; the first and last are the ends of the range swept.
        correct: (K,) int64 rows right between neighbouring edges; at an edge itself a tie may count differently.
    """

    edges: torch.Tensor
    correct: torch.Tensor

    def stretches(self) -> tuple[int, torch.Tensor, torch.Tensor]:
        """The most rows right, and the lower and upper ends of each stretch of alphas that has as many, ascending."""
        most = int(self.correct.max())
        good = torch.cat([torch.tensor([False]), (self.correct == most).cpu(), torch.tensor([False])])
        start = (good[1:] & ~good[:-1]).nonzero()[:, 0]
        stop = (good[:-1] & ~good[1:]).nonzero()[:, 0]
        edges = self.edges.cpu()
        return most, edges[start], edges[stop]

    def best(self) -> tuple[float, int]:
        """The middle of the widest stretch with the most rows right (the lowest of equally wide), and those rows."""
        most, start, stop = self.stretches()
        widest = int((stop - start).argmax())
        return float((start[widest] + stop[widest]) / 2), most


def sweep(a: torch.Tensor, b: torch.Tensor, labels: torch.Tensor, low: float, high: float) -> Steps:
    """How many rows ``a + alpha * b`` classifies right for every alpha between two ends.

    Args:
        a: (M, C) finite logits at alpha = 0.
        b: (M, C) finite logits that alpha multiplies.
        labels: (M,) int64 true classes.
        low: lower end, finite.
        high: upper end, finite and above `low`.
    """
    return steps_of(*winning_intervals(a, b, labels), low, high)


def steps_of(starts: torch.Tensor, stops: torch.Tensor, low: float, high: float) -> Steps:
    """How many intervals of alphas hold each alpha between two ends.

    Args:
        starts: (M,) lowest alphas, as `winning_intervals` gives them.
        stops: (M,) highest alphas.
        low: lower end, finite.
        high: upper end, finite and above `low`.
    """
    held = (starts < stops) & (starts < high) & (stops > low)
    starts, stops = starts[held].clamp(low, high), stops[held].clamp(low, high)
    ends = torch.tensor([low, high], dtype=torch.float64, device=starts.device)
    edges = torch.unique(torch.cat([starts, stops, ends]))
    change = torch.zeros(len(edges), dtype=torch.int64, device=edges.device)
    one = torch.ones(len(starts), dtype=torch.int64, device=edges.device)
    change.index_add_(0, torch.searchsorted(edges, starts), one)
    change.index_add_(0, torch.searchsorted(edges, stops), -one)
    return Steps(edges, change.cumsum(0)[:-1])


def segment_exponentials(
    distance: torch.Tensor,
    segment: torch.Tensor,
    segments: int,
    rate: float,
    weight: torch.Tensor | None = None,
    *,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """``sum over i in segment s of weight[i] * exp(-rate * distance[i, m])``.

    Args:
        distance: (N, M); infinity contributes nothing (at a positive rate).
        segment: (N,) int64 in 0..segments-1.
        segments: S.
        rate: multiplies the distances.
        weight: (N,), or None for ones.
        out: (N, M) memory to work in, overwritten.

    Returns:
        (S, M) sums in the dtype of `distance`.
    """
    kernel = torch.mul(distance, -rate, out=out).exp_()
    if weight is not None:
        kernel *= weight[:, None]
    return distance.new_zeros(segments, distance.shape[1]).index_add_(0, segment, kernel)


def exponential_sums(
    distance: torch.Tensor,
    segment: torch.Tensor,
    segments: int,
    rates: torch.Tensor,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """`segment_exponentials` at many rates, from few of them.

    Each sum is a smooth function of the rate, so its values at Chebyshev points of the range give it everywhere: in
    float64, and with an error below `INTERPOLATION_ERROR` of the largest exponential per unit of weight.

    Args:
        distance: (N, M); infinity contributes nothing.
        segment: (N,) int64 in 0..segments-1.
        segments: S.
        rates: (R,) positive.
        weight: (N,), or None for ones.

    Returns:
        (R, M, S) float64.
    """
    distance, rates = distance.double(), rates.double()
    weight = None if weight is None else weight.double()
    points, matrix = _interpolation(distance, rates)
    kernel = torch.empty_like(distance)
    sums = [segment_exponentials(distance, segment, segments, float(p), weight, out=kernel).T for p in points]
    values = torch.stack(sums)
    return values if matrix is None else (matrix @ values.flatten(1)).reshape(-1, *values.shape[1:])


def _interpolation(distance: torch.Tensor, rates: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Rates at which to evaluate, and the (R, K) matrix that takes values there to `rates`; None = at `rates`."""
    if len(rates) < 3 or not distance.numel():
        return rates, None
    low, high = float(rates.min()), float(rates.max())
    near, far = float(distance.min()), float(torch.where(distance == math.inf, -math.inf, distance).max())
    if not math.isfinite(near + far):
        return rates, None
    trial = torch.linspace(near, far, 33, dtype=torch.float64)
    exact = torch.exp(-rates[:, None].cpu() * trial)
    for count in range(8, len(rates), 4):
        angle = (2 * torch.arange(count, dtype=torch.float64) + 1) * (math.pi / (2 * count))
        points = (low + high) / 2 + (high - low) / 2 * angle.cos()
        matrix = _barycentric(points, angle, rates.cpu())
        error = (matrix @ torch.exp(-points[:, None] * trial) - exact).abs().max() / exact.max()
        if float(error) <= INTERPOLATION_ERROR:
            return points.to(rates.device), matrix.to(rates.device)
    return rates, None


def _barycentric(points: torch.Tensor, angle: torch.Tensor, rates: torch.Tensor) -> torch.Tensor:
    """(R, K) the polynomial through values at Chebyshev points of the first kind, at `rates`.

    Source: Berrut and Trefethen, Barycentric Lagrange Interpolation, SIAM Review 2004, equations 4.2 and 5.3.
    """
    weight = angle.sin() * torch.where(torch.arange(len(points)) % 2 == 0, 1.0, -1.0)
    gap = rates[:, None] - points
    terms = weight / torch.where(gap == 0, 1.0, gap)
    matrix = terms / terms.sum(1, keepdim=True)
    return torch.where((gap == 0).any(1, keepdim=True), (gap == 0).double(), matrix)
