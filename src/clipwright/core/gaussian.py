"""Gaussian classes that share one covariance: statistics that stream, the linear discriminant, and leave-one-out.

Everything is computed in float64 from counts, sums and the Gram matrix, so no more than one block of rows is in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from clipwright.core.errors import DataError


@dataclass(frozen=True, eq=False)
class ClassStatistics:
    """What a Gaussian with one covariance needs to know of labelled rows; two are merged by adding their fields.

    Attributes:
        counts: (C,) float64 rows of each class.
        sums: (C, D) float64 sum of the rows of each class.
        gram: (D, D) float64 sum of ``x x'`` over all rows.
    """

    counts: torch.Tensor
    sums: torch.Tensor
    gram: torch.Tensor

    @property
    def rows(self) -> int:
        """N, the number of rows."""
        return int(self.counts.sum())

    @property
    def means(self) -> torch.Tensor:
        """(C, D) class means; zero where a class has no row."""
        return self.sums / self.counts.clamp(min=1)[:, None]

    def within(self) -> torch.Tensor:
        """(D, D) scatter of the rows around their class means."""
        return self.gram - self.sums.T @ self.means

    def total(self) -> torch.Tensor:
        """(D, D) scatter of the rows around the mean of all rows."""
        whole = self.sums.sum(0)
        return self.gram - torch.outer(whole, whole) / max(self.rows, 1)


def class_statistics(blocks: Iterable[tuple[torch.Tensor, torch.Tensor]], n_classes: int) -> ClassStatistics:
    """Statistics of rows that come in blocks, such as the shards of a store; each block is read once and let go.

    Args:
        blocks: pairs of (m, D) rows, used as they are (not normalised), and (m,) int64 classes in 0..C-1.
        n_classes: C.

    Raises:
        DataError: there is no block, or a label lies outside the classes.
    """
    counts = torch.zeros(n_classes, dtype=torch.float64)
    sums = gram = torch.zeros(0)
    for x, y in blocks:
        rows = x.double()
        if not gram.numel():
            sums, gram = rows.new_zeros(n_classes, rows.shape[1]), rows.new_zeros(rows.shape[1], rows.shape[1])
            counts = counts.to(rows.device)
        if len(y) and (int(y.min()) < 0 or int(y.max()) >= n_classes):
            raise DataError(f"labels must lie in 0..{n_classes - 1}; they range from {int(y.min())} to {int(y.max())}.")
        counts += torch.bincount(y, minlength=n_classes)
        sums.index_add_(0, y, rows)
        gram.addmm_(rows.T, rows)
    if not gram.numel():
        raise DataError("there are no rows to take statistics of.")
    return ClassStatistics(counts, sums, gram)


def shrunk_covariance(scatter: torch.Tensor, rows: int) -> torch.Tensor:
    """``S/(n-1) + tr(S)/(n-1)^2 I``: the covariance whose inverse is Kubokawa and Srivastava's, up to a scale.

    The published precision is ``D ((n-1) C + tr(C) I)^-1`` with ``C = S/(n-1)``. That is D/(n-1) times the inverse of
    this covariance, a factor that depends on how many rows there are and that is left out here.

    Args:
        scatter: (D, D) sum of ``(x - m)(x - m)'`` over the rows.
        rows: n, at least 2.

    Source: Kubokawa and Srivastava, Estimation of the precision matrix of a singular Wishart distribution and its
    application in high-dimensional data, Journal of Multivariate Analysis 2008; Wang et al. 2024, section 3.
    """
    ridge = scatter.trace() / (rows - 1)
    return (scatter + ridge * torch.eye(len(scatter), dtype=scatter.dtype, device=scatter.device)) / (rows - 1)


def linear_discriminant(means: torch.Tensor, covariance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """``x . w_c + b_c``: the log-posterior of equally likely Gaussian classes, up to what is common to all classes.

    Args:
        means: (C, D).
        covariance: (D, D), positive definite.

    Returns:
        (C, D) ``w_c = covariance^-1 m_c`` and (C,) ``b_c = -m_c . w_c / 2``.

    Raises:
        DataError: the covariance isn't positive definite.
    """
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if int(failed):
        raise DataError("the covariance of the features is singular: are all labelled images the same?")
    weight = torch.cholesky_solve(means.T, factor).T
    return weight, -(means * weight).sum(1) / 2


class LeaveOneOut:
    """The discriminant of each image by the fit without that image, in closed form.

    An image has V rows (its views), all of which are left out together. Taking them away changes the scatter by a
    matrix of rank V and the ridge with its trace; in the eigenbasis of the scatter both cost no more than scoring does.
    The result is that of refitting, to rounding.

    Args:
        statistics: of all rows.

    Source: Woodbury's identity on the scatter of `ClassStatistics.within`.
    """

    def __init__(self, statistics: ClassStatistics) -> None:
        self.values, self.basis = torch.linalg.eigh(statistics.within())
        self.means = statistics.means @ self.basis
        self.counts, self.rows = statistics.counts, statistics.rows

    def __call__(self, probe: torch.Tensor, rows: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """(m, C) discriminants of m images, each by the fit on `shrunk_covariance` without its own rows.

        Args:
            probe: (m, D) what is scored.
            rows: (m, V, D) the rows of each image among the statistics.
            y: (m,) int64 classes; each must have rows of another image.
        """
        views, left = rows.shape[1], self.rows - rows.shape[1]
        p, r = probe.double() @ self.basis, rows.double() @ self.basis - self.means[y][:, None]
        others = (self.counts[y] - views)[:, None]
        sums = r.sum(1)
        own = self.means[y] - sums / others  # (m, D) mean of the image's class without it
        spread = ((1 + views / others).sqrt() - 1) / views
        gone = r + (spread * sums)[:, None]  # (m, V, D); the scatter loses gone' gone, the move of the mean included
        ridge = (self.values.sum() - gone.square().sum((1, 2))) / (left - 1)
        inverse = 1 / (self.values + ridge[:, None])  # (m, D), of the ridged scatter before the loss
        scaled = gone * inverse[:, None]
        eye = torch.eye(views, dtype=scaled.dtype, device=scaled.device)
        factor = torch.linalg.cholesky(eye - scaled @ gone.mT)
        gain = torch.linalg.solve_triangular(factor, scaled, upper=False)  # the inverse gains gain' gain
        along, weighted = (gain * p[:, None]).sum(-1), p * inverse
        moved = gain @ self.means.T  # (m, V, C)
        found = weighted @ self.means.T + (along[..., None] * moved).sum(1)
        found -= (inverse @ self.means.T.square() + moved.square().sum(1)) / 2
        moved_own = (gain * own[:, None]).sum(-1)
        at_own = (weighted * own).sum(1) + (along * moved_own).sum(1)
        at_own -= ((inverse * own.square()).sum(1) + moved_own.square().sum(1)) / 2
        found[torch.arange(len(y), device=y.device), y] = at_own
        scores: torch.Tensor = (left - 1) * found
        return scores
