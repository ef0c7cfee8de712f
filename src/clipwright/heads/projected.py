"""Class vectors behind a tower's last matrix: a cosine classifier of features before the projection."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from clipwright.core.errors import DataError
from clipwright.core.tensors import unit_rows
from clipwright.heads.base import Head, Input, checked_classes


class ProjectedHead(Head):
    """``scale * unit(o @ projection + bias) @ weight.T`` of features o before the tower's last matrix.

    Args:
        projection: (D', D), used as it is; float64 stays, anything narrower becomes float32.
        weight: (C, D) class vectors, used as they are.
        bias: (D,), added after the projection; None = zero.
        scale: multiplies the products; CLIP's logit scale.

    Raises:
        DataError: shapes that don't fit.
    """

    inputs: ClassVar[tuple[Input, ...]] = ("pre_projection",)

    projection: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self,
        projection: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        *,
        scale: float = 100.0,
    ) -> None:
        super().__init__()
        fits = projection.ndim == 2 and weight.ndim == 2 and weight.shape[1:] == projection.shape[1:]
        if not fits or (bias is not None and bias.shape != projection.shape[1:]):
            shapes = [None if t is None else tuple(t.shape) for t in (projection, weight, bias)]
            raise DataError(f"a projected head takes a (D', D) projection, (C, D) weights and D biases: {shapes}.")
        projection = projection if projection.dtype == torch.float64 else projection.float()
        self.register_buffer("projection", projection.contiguous())
        self.register_buffer("weight", weight.to(projection.dtype).contiguous())
        zero = projection.new_zeros(projection.shape[1])
        self.register_buffer("bias", zero if bias is None else bias.to(projection.dtype).contiguous())
        self.register_buffer("scale", torch.tensor(scale, dtype=projection.dtype, device=projection.device))

    @property
    def config(self) -> dict[str, Any]:
        """Sizes."""
        width, dim = self.projection.shape
        return {"n_classes": self.n_classes, "dim": int(dim), "width": int(width)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ProjectedHead:
        """An all-zero head of the given sizes."""
        return cls(torch.zeros(config["width"], config["dim"]), torch.zeros(config["n_classes"], config["dim"]))

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.weight)

    def restrict(self, class_index: torch.Tensor) -> Head:
        """The head over some of the classes: fewer class vectors."""
        index = checked_classes(class_index, self.n_classes).to(self.weight.device)
        return self.with_classes(self.weight[index], float(self.scale))

    def with_classes(self, weight: torch.Tensor, scale: float) -> ProjectedHead:
        """The head with other (C, D) class vectors behind the same projection."""
        return ProjectedHead(self.projection, weight, self.bias, scale=scale)

    def forward(self, o: torch.Tensor) -> torch.Tensor:
        """(m, D') features before the projection to (m, C) logits."""
        rows = unit_rows(o.to(self.weight.dtype) @ self.projection + self.bias)
        return self.scale * (rows @ self.weight.T)
