"""The mathematics of transduction: Gaussian classes, a text prior and a neighbour graph, fitted in turns.

Every image i has a vector z_i of class shares. What is maximised, over the shares and the Gaussians in turn, is

    sum_i z_i . l_i / T                      l_ic: log-density of image i in class c, a Gaussian of diagonal covariance
    + sum_ij w_ij z_i . z_j / (2 k)          images that lie close together are of one class
    - sum_i KL(z_i || text prior of i)       the texts' answer, to the power of lambda

With the Gaussians fixed the second term is replaced by its tangent, which decouples the images: their shares are a
softmax. With the shares fixed, means and variances are weighted averages. T makes up for what the Gaussians leave out:
the D numbers of a feature are far from D independent pieces of evidence. Derived from Zanella et al., NeurIPS
2024; no released code was used.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from clipwright.core.neighbours import neighbour_graph, sparse
from clipwright.core.tensors import unit_rows

FLOOR = 1e-6
"""The least variance of a dimension, as a share of the mean over dimensions."""

_BLOCK = 8192  # rows in float64 at a time


@dataclass(frozen=True, eq=False)
class Gaussians:
    """Classes with one diagonal covariance.

    Attributes:
        means: (C, D).
        variance: (D,), positive.
    """

    means: torch.Tensor
    variance: torch.Tensor

    def linear(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(C, D) weights and (C,) biases: ``x . w_c + b_c`` is the log-density, without what all classes share."""
        weight = self.means / self.variance
        return weight, -(self.means * weight).sum(1) / 2

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        """(n, C) log-densities of rows, without what all classes share."""
        weight, bias = self.linear()
        return x @ weight.T.to(x.dtype) + bias.to(x.dtype)


def assign(
    scores: torch.Tensor, shares: torch.Tensor, graph: torch.Tensor, pull: torch.Tensor | float = 0.0, steps: int = 5
) -> tuple[torch.Tensor, torch.Tensor]:
    """Class shares of all images at once, given the Gaussians: the tangent step, a few times.

    Args:
        scores: (n, C) log-density over T, plus the log of the text prior; a constant per row is free.
        shares: (n, C) where to start.
        graph: (n, n) sparse, symmetric: what a neighbour's shares add, already divided by 2 k.
        pull: (n, C) what labelled neighbours add, or 0.
        steps: how often.

    Returns:
        (n, C) logits and (n, C) their softmax.
    """
    logits = scores
    for _ in range(steps):
        logits = scores + pull + torch.sparse.mm(graph, shares)
        shares = logits.softmax(1)
    return logits, shares


@dataclass(frozen=True, eq=False)
class Moments:
    """Weighted sums of rows, from which Gaussians follow; those of different rows are added.

    Attributes:
        counts: (C,) weight of each class.
        sums: (C, D) weighted sum of the rows of each class.
        squares: (D,) weighted sum of the squares of all rows.
    """

    counts: torch.Tensor
    sums: torch.Tensor
    squares: torch.Tensor

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.counts + other.counts, self.sums + other.sums, self.squares + other.squares)


def moments(x: torch.Tensor, shares: torch.Tensor, weight: float = 1.0) -> Moments:
    """Float64 sums of rows (n, D) by class shares (n, C), every row counting `weight` times."""
    zero = torch.zeros(shares.shape[1], x.shape[1], dtype=torch.float64, device=x.device)
    found = Moments(zero[:, :1].sum(1), zero, zero[:1].sum(0))
    for start in range(0, len(x), _BLOCK):
        rows, z = x[start : start + _BLOCK].double(), weight * shares[start : start + _BLOCK].double()
        found = found + Moments(z.sum(0), z.T @ rows, z.sum(1) @ rows.square())
    return found


def gaussians(found: Moments, anchor: torch.Tensor | float = 0.0, strength: float = 0.0) -> Gaussians:
    """The Gaussians of weighted rows; means have length 1.

    Args:
        found: of all rows.
        anchor: (C, D) where the mean of a class lies that has no row.
        strength: how many rows the anchor counts for.
    """
    means = unit_rows(found.sums + strength * anchor)
    spread = found.squares - 2 * (means * found.sums).sum(0) + (found.counts[:, None] * means.square()).sum(0)
    variance = (spread / found.counts.sum()).clamp(min=0)
    tiny = torch.finfo(variance.dtype).eps
    return Gaussians(means, variance.clamp(min=max(FLOOR * float(variance.mean()), tiny)))


def text_anchor(x: torch.Tensor, shares: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """(C, D) what a class mean is before any image of the class was seen: halfway from the text to where images lie.

    Texts and images lie in different parts of the space. The texts' differences, moved to the mean of the images and
    stretched to fit them (least squares), say where the images of a class should be: a class whose mean lies there
    competes on a par with those that have images. At the text itself, far from all images, no image would be given
    to the class. Between the two, a class without images takes few images from others, and one with few is found.

    Args:
        x: (n, D) rows of length 1.
        shares: (n, C) class shares by the texts alone.
        text: (C, D) class texts of length 1.

    Source: the text as the anchor of a mean is Zanella et al., CVPR 2025; the rest is ours.
    """
    centre = x.mean(0)
    offset = text - shares.mean(0) @ text
    along = ((x - centre) @ offset.T * shares).sum()
    stretch = (along / (shares.sum(0) @ offset.square().sum(1)).clamp(min=1e-12)).clamp(min=0)
    return unit_rows(text + unit_rows(centre + stretch * offset))


def confident_shares(logits: torch.Tensor, count: int) -> torch.Tensor:
    """(n, C) shares of the `count` most confident images of each class, 0 elsewhere; all shares where `count` is 0.

    Confidence is the margin to the other classes together. It orders images as their shares do, and still tells
    them apart where shares are rounded to 1.

    Args:
        logits: (n, C) of the text prior.
        count: images per class, or 0.
    """
    shares = logits.softmax(1)
    if not count or count >= len(logits):
        return shares
    first = logits.argmax(1, keepdim=True)
    others = logits.scatter(1, first, -torch.inf).logsumexp(1, keepdim=True)
    log_shares = logits.log_softmax(1)
    margin = log_shares - torch.log1p(-shares)
    margin = margin.scatter(1, first, logits.gather(1, first) - others)
    kept = torch.zeros_like(shares).scatter_(0, margin.topk(count, 0).indices, 1.0)
    return shares * kept


def affinities(x: torch.Tensor, labelled: torch.Tensor, classes: torch.Tensor, k: int) -> tuple[torch.Tensor, ...]:
    """How neighbours pull: ``(W + W') / (2 k)`` of all rows together, cut where labels are known.

    Args:
        x: (n, D) rows of length 1 without labels.
        labelled: (m, D) rows of length 1 with labels.
        classes: (m, C) one-hot labels.
        k: neighbours of each row.

    Returns:
        (n, n) sparse graph, and (n, C) what labelled neighbours add.
    """
    n = len(x)
    found = neighbour_graph(torch.cat([x, labelled]) if len(labelled) else x, k)
    (i, j), values = found.indices(), found.values() / (2 * k)
    i, j, values = torch.cat([i, j]), torch.cat([j, i]), torch.cat([values, values])
    inside, across = (i < n) & (j < n), (i < n) & (j >= n)
    pull = classes.new_zeros(n, classes.shape[1])
    pull.index_add_(0, i[across], values[across, None].to(classes.dtype) * classes[j[across] - n])
    return sparse(torch.stack([i, j])[:, inside], values[inside], (n, n)), pull


def transduce(
    x: torch.Tensor,
    prior: torch.Tensor,
    first: torch.Tensor,
    graph: torch.Tensor,
    *,
    pull: torch.Tensor | float = 0.0,
    labelled: Moments | None = None,
    anchor: torch.Tensor | float = 0.0,
    strength: float = 0.0,
    temperature: float = 50.0,
    class_prior: float = 0.0,
    rounds: int = 10,
) -> tuple[torch.Tensor, Gaussians, torch.Tensor]:
    """Shares and Gaussians in turns.

    Args:
        x: (n, D) rows of length 1.
        prior: (n, C) logits of the text prior, lambda times what it says.
        first: (n, C) shares that the first means are made of.
        graph: (n, n) sparse and symmetric, see `affinities`.
        pull: (n, C) what labelled neighbours add.
        labelled: sums of the labelled rows.
        anchor: (C, D), see `text_anchor`.
        strength: how many rows the anchor of a class counts for.
        temperature: T.
        class_prior: how much the logarithm of a class's share of all images counts.
        rounds: of both.

    Returns:
        (n, C) logits, the Gaussians, and (C,) what the class prior adds to each class.
    """
    shares = prior.softmax(1)
    start = moments(x, first)
    means = gaussians(start + labelled if labelled else start, anchor, strength).means
    found = Gaussians(means, torch.full_like(means[0], 1 / x.shape[1]))
    common = torch.zeros_like(means[:, 0])
    for _ in range(rounds):
        scores = prior + found.scores(x) / temperature + common.to(x.dtype)
        shares = assign(scores, shares, graph, pull)[1]
        held = moments(x, shares) + labelled if labelled else moments(x, shares)
        found = gaussians(held, anchor, strength)
        common = class_prior * ((held.counts + 1) / (held.counts.sum() + len(common))).log()
    scores = prior + found.scores(x) / temperature + common.to(x.dtype)
    return assign(scores, shares, graph, pull)[0], found, common
