"""Cosine or linear classifier."""

from __future__ import annotations

from typing import Any

import torch

from clipwright.core.errors import DataError
from clipwright.core.tensors import unit_rows
from clipwright.heads.base import Head


class LinearHead(Head):
    """``scale * unit(x) @ weight.T + bias``; CLIP's zero-shot classifier where the rows of `weight` are unit texts.

    Args:
        weight: (C, D), used as it is; float64 stays, anything narrower becomes float32.
        bias: (C,), added last; None = zero.
        scale: multiplies the products; CLIP's logit scale.
        normalize: whether rows of x are first scaled to length 1.

    Raises:
        DataError: shapes that don't fit.
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
        if weight.ndim != 2 or (bias is not None and bias.shape != weight.shape[:1]):
            shape = None if bias is None else tuple(bias.shape)
            raise DataError(f"a linear head takes (C, D) weights and C biases: {tuple(weight.shape)} and {shape}.")
        weight = weight if weight.dtype == torch.float64 else weight.float()
        self.normalize = normalize
        self.register_buffer("weight", weight)
        self.register_buffer("bias", weight.new_zeros(len(weight)) if bias is None else bias.to(weight.dtype))
        self.register_buffer("scale", torch.tensor(scale, dtype=weight.dtype, device=weight.device))

    @property
    def config(self) -> dict[str, Any]:
        """Sizes and whether rows are normalised."""
        return {"n_classes": self.n_classes, "dim": int(self.weight.shape[1]), "normalize": self.normalize}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LinearHead:
        """An all-zero head of the given sizes."""
        return cls(torch.zeros(config["n_classes"], config["dim"]), normalize=bool(config["normalize"]))

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(m, D) image features to (m, C) logits."""
        rows = unit_rows(x) if self.normalize else x
        return self.scale * (rows.to(self.weight.dtype) @ self.weight.T) + self.bias
