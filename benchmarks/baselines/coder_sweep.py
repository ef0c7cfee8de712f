"""CODER's search of (beta, alpha) by evaluating every point, written to be fast.

Affinities don't depend on the point and are computed once; the released code computes the product of all text cosines
anew for each of its 75,000 points.
"""

from __future__ import annotations

import torch


def text_affinity(texts: torch.Tensor, x: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """(M, N) products of unit vectors of T text cosines: what the Gram form gives without the T cosines."""
    seen, known = (torch.nn.functional.normalize(rows @ texts.T, dim=1) for rows in (x, keys))
    return seen @ known.T


class Search:
    """Validation rows against a memory.

    Args:
        x: (M, D) unit validation features.
        labels: (M,) int64.
        keys: (N, D) unit support features.
        key_class: (N,) int64.
        weight: (C, D) unit class vectors.
        texts: (T, D) unit texts.
    """

    def __init__(
        self,
        *,
        x: torch.Tensor,
        labels: torch.Tensor,
        keys: torch.Tensor,
        key_class: torch.Tensor,
        weight: torch.Tensor,
        texts: torch.Tensor,
    ) -> None:
        self.labels, self.key_class, self.classes = labels, key_class, len(weight)
        self.text_logits = 100 * x @ weight.T
        affinity = text_affinity(texts, x, keys)
        low, high = affinity.amin(1, keepdim=True), affinity.amax(1, keepdim=True)
        self.distance = 1 - (affinity - low) / (high - low)
        self.turned = self.distance.T.contiguous()
        self.one_hot = torch.nn.functional.one_hot(key_class, len(weight)).to(x.dtype)
        self.kernel, self.turned_kernel = torch.empty_like(self.distance), torch.empty_like(self.turned)

    def point(self, beta: float, alpha: float) -> int:
        """Rows right at one point, by the published product with one-hot labels."""
        sums = torch.mul(self.distance, -beta, out=self.kernel).exp_() @ self.one_hot
        return self._right(sums, alpha)

    def point_by_class(self, beta: float, alpha: float) -> int:
        """Rows right at one point, each class's votes summed instead."""
        return self._right(self._sums(beta), alpha)

    def beta(self, beta: float, alphas: list[float]) -> list[int]:
        """Rows right at all alphas of one beta, the votes computed once for all of them."""
        sums = self._sums(beta)
        return [self._right(sums, alpha) for alpha in alphas]

    def _sums(self, beta: float) -> torch.Tensor:
        kernel = torch.mul(self.turned, -beta, out=self.turned_kernel).exp_()
        return kernel.new_zeros(self.classes, kernel.shape[1]).index_add_(0, self.key_class, kernel).T.contiguous()

    def _right(self, sums: torch.Tensor, alpha: float) -> int:
        return int((torch.add(self.text_logits, sums, alpha=alpha).argmax(1) == self.labels).sum())
