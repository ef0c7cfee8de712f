"""Tip-Adapter's search of (beta, alpha) by re-evaluating every pair: the published loop, written to be fast.

What doesn't depend on the pair is computed once: the products with the keys, the text logits, the one-hot labels. The
released code computes the products anew for each of the pairs.
"""

from __future__ import annotations

import torch


class Search:
    """Validation rows against a memory.

    Args:
        x: (M, D) unit validation features.
        labels: (M,) int64.
        keys: (N, D) unit support features.
        key_class: (N,) int64.
        texts: (C, D) unit class texts.
        segments: sum each class's votes instead of multiplying them with one-hot labels, which is faster still.
    """

    def __init__(
        self,
        x: torch.Tensor,
        labels: torch.Tensor,
        keys: torch.Tensor,
        key_class: torch.Tensor,
        texts: torch.Tensor,
        *,
        segments: bool = False,
    ) -> None:
        self.labels, self.key_class, self.classes, self.segments = labels, key_class, len(texts), segments
        self.text_logits = 100 * x @ texts.T
        self.distance = 1 - (keys @ x.T if segments else x @ keys.T)
        self.one_hot = torch.nn.functional.one_hot(key_class, len(texts)).to(x.dtype)
        self.kernel = torch.empty_like(self.distance)

    def right(self, beta: float, alpha: float) -> int:
        """Rows classified right at one pair."""
        kernel = torch.mul(self.distance, -beta, out=self.kernel).exp_()
        if self.segments:
            sums = kernel.new_zeros(self.classes, kernel.shape[1]).index_add_(0, self.key_class, kernel).T
        else:
            sums = kernel @ self.one_hot
        return int(((self.text_logits + alpha * sums).argmax(1) == self.labels).sum())
