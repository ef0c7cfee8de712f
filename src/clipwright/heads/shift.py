"""Class vectors behind a shift that all images share."""

from __future__ import annotations

from typing import Any

import torch

from clipwright.core.errors import DataError
from clipwright.core.tensors import unit_rows
from clipwright.heads.base import Head


class ShiftHead(Head):
    """``scale * unit(row + shift) @ weight.T``, with `row` the image feature at a given length, or as it comes.

    Attributes:
        weight: (C, D) class vectors.
        shift: (D,) what is added to each image feature.
        scale: what multiplies the product, a scalar.
        length: what image features are scaled to before the shift is added; 0 = as they come.
    """

    weight: torch.Tensor
    shift: torch.Tensor
    scale: torch.Tensor
    length: torch.Tensor

    def __init__(self, weight: torch.Tensor, shift: torch.Tensor, *, scale: float = 100.0, length: float = 1.0) -> None:
        super().__init__()
        if weight.ndim != 2 or shift.shape != weight.shape[1:]:
            raise DataError(f"a shift takes (C, D) weights and D numbers: {tuple(weight.shape)}, {tuple(shift.shape)}.")
        weight = weight if weight.dtype == torch.float64 else weight.float()
        self.register_buffer("weight", weight)
        self.register_buffer("shift", shift.to(weight.dtype))
        self.register_buffer("scale", torch.tensor(scale, dtype=weight.dtype, device=weight.device))
        self.register_buffer("length", torch.tensor(length, dtype=weight.dtype, device=weight.device))

    @property
    def config(self) -> dict[str, Any]:
        """Sizes."""
        return {"n_classes": self.n_classes, "dim": int(self.weight.shape[1])}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ShiftHead:
        """An all-zero head of the given sizes."""
        return cls(torch.zeros(config["n_classes"], config["dim"]), torch.zeros(config["dim"]))

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(m, D) image features to (m, C) logits."""
        rows = x.to(self.weight.dtype)
        rows = torch.where(self.length > 0, self.length * unit_rows(rows), rows)
        return self.scale * (unit_rows(rows + self.shift) @ self.weight.T)
