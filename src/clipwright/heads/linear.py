"""Cosine or linear classifier."""

from __future__ import annotations

from typing import Any

import torch

from clipwright.core.tensors import unit_rows
from clipwright.heads.base import Head


class LinearHead(Head):
    """``scale * unit(x) @ weight.T + bias``; CLIP's zero-shot classifier where the rows of `weight` are unit texts.

    Attributes:
        weight: (C, D), used as it is.
        bias: (C,), added last.
        scale: multiplies the products; CLIP's logit scale.
        normalize: whether rows of x are first scaled to length 1.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        *,
        scale: float = 100.0,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        self.normalize = normalize
        self.register_buffer("weight", weight)
        self.register_buffer("bias", weight.new_zeros(len(weight)) if bias is None else bias)
        self.register_buffer("scale", torch.tensor(scale, dtype=weight.dtype))

    @property
    def config(self) -> dict[str, Any]:
        """Sizes and whether rows are normalised."""
        return {"n_classes": self.n_classes, "dim": int(self.weight.shape[1]), "normalize": self.normalize}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LinearHead:
        """An all-zero head of the given sizes."""
        return cls(torch.zeros(config["n_classes"], config["dim"]), normalize=config["normalize"])

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(m, D) image features to (m, C) logits."""
        rows = unit_rows(x) if self.normalize else x
        return self.scale * (rows.to(self.weight.dtype) @ self.weight.T) + self.bias
