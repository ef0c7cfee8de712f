"""Class vectors behind a small network that changes the image feature."""

from __future__ import annotations

from typing import Any

import torch

from clipwright.core.errors import DataError
from clipwright.core.tensors import unit_rows
from clipwright.heads.base import Head, checked_classes


def adapted(
    rows: torch.Tensor,
    down: torch.Tensor,
    up: torch.Tensor,
    ratio: torch.Tensor | float,
    *,
    second_relu: bool = False,
) -> torch.Tensor:
    """``(1 - ratio) * v + ratio * relu(v @ down) @ up``: a bottleneck without biases beside the feature itself.

    Its direction doesn't depend on the length of v, because every part of it is homogeneous.

    Args:
        rows: (m, D) features v.
        down: (D, H).
        up: (H, D).
        ratio: share of the bottleneck, 0..1.
        second_relu: whether the bottleneck's output is rectified too.

    Returns:
        (m, D), not normalised.
    """
    made = torch.relu(rows @ down) @ up
    return (1 - ratio) * rows + ratio * (torch.relu(made) if second_relu else made)


class AdapterHead(Head):
    """``scale * unit(adapted(unit(x))) @ weight.T``, see `adapted`.

    Args:
        weight: (C, D) class vectors, used as they are; float64 stays, anything narrower becomes float32.
        down: (D, H), into the bottleneck.
        up: (H, D), out of it.
        ratio: share of the bottleneck, 0..1.
        scale: multiplies the products; CLIP's logit scale.
        second_relu: whether the bottleneck's output is rectified too.

    Raises:
        DataError: shapes that don't fit.
    """

    weight: torch.Tensor
    down: torch.Tensor
    up: torch.Tensor
    ratio: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self,
        weight: torch.Tensor,
        down: torch.Tensor,
        up: torch.Tensor,
        *,
        ratio: float,
        scale: float = 100.0,
        second_relu: bool = False,
    ) -> None:
        super().__init__()
        shapes = [tuple(t.shape) for t in (weight, down, up)]
        if [len(s) for s in shapes] != [2, 2, 2] or shapes[1] != shapes[2][::-1] or shapes[0][1] != shapes[1][0]:
            raise DataError(f"an adapter takes (C, D) weights, (D, H) and (H, D): {shapes}.")
        weight = weight if weight.dtype == torch.float64 else weight.float()
        self.second_relu = second_relu
        for name, value in (("weight", weight), ("down", down), ("up", up)):
            self.register_buffer(name, value.to(weight.dtype).contiguous())
        for name, number in (("ratio", ratio), ("scale", scale)):
            self.register_buffer(name, torch.tensor(number, dtype=weight.dtype, device=weight.device))

    @property
    def config(self) -> dict[str, Any]:
        """Sizes and whether the output is rectified."""
        dim, hidden = self.down.shape
        sizes = {"n_classes": self.n_classes, "dim": int(dim), "hidden": int(hidden)}
        return {**sizes, "second_relu": self.second_relu}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AdapterHead:
        """An all-zero head of the given sizes."""
        classes, dim, hidden = (config[name] for name in ("n_classes", "dim", "hidden"))
        parts = torch.zeros(classes, dim), torch.zeros(dim, hidden), torch.zeros(hidden, dim)
        return cls(*parts, ratio=0.0, second_relu=bool(config["second_relu"]))

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.weight)

    def restrict(self, class_index: torch.Tensor) -> Head:
        """The head over some of the classes: fewer class vectors."""
        index = checked_classes(class_index, self.n_classes).to(self.weight.device)
        return self.with_classes(self.weight[index], float(self.scale))

    def with_classes(self, weight: torch.Tensor, scale: float) -> AdapterHead:
        """The head with other (C, D) class vectors behind the same adapter."""
        ratio = float(self.ratio)
        return AdapterHead(weight, self.down, self.up, ratio=ratio, scale=scale, second_relu=self.second_relu)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(m, D) image features to (m, C) logits."""
        rows = unit_rows(x).to(self.weight.dtype)
        changed = adapted(rows, self.down, self.up, self.ratio, second_relu=self.second_relu)
        return self.scale * (unit_rows(changed) @ self.weight.T)
