"""Key-value classifier in another metric: images are compared by how texts see them."""

from __future__ import annotations

from typing import Any

import torch

from clipwright.core.errors import DataError, FormatError
from clipwright.core.tensors import unit_rows
from clipwright.heads.base import Head

LEVEL = 1e-6
"""Affinities that differ by less than this count as equal: there is nothing to stretch."""


def stretched(affinity: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """Affinities stretched so that the farthest key of each image has 0 and the nearest 1; all 0 where all are equal.

    Args:
        affinity: (..., N) in -1..1; NaN is left out of both ends and stays NaN.
        dim: along which the keys lie.
    """
    off = affinity.isnan()
    low = affinity.masked_fill(off, torch.inf).amin(dim, keepdim=True)
    high = affinity.masked_fill(off, -torch.inf).amax(dim, keepdim=True)
    level = high - low < LEVEL
    return torch.where(level, torch.zeros_like(affinity), (affinity - low) / torch.where(level, 1.0, high - low))


class MetricCacheHead(Head):
    """``scale * u . W + alpha * sum over keys k of class c: exp(-beta * (1 - stretched(z . k)))``.

    u is the image feature scaled to length 1, z is ``projection @ u`` scaled to length 1, and `stretched` makes the
    farthest of all keys 0 and the nearest 1, for each image by itself.

    Args:
        weight: (C, D), used as it is; float64 stays, anything narrower becomes float32.
        projection: (Q, D).
        keys: (N, Q), used as they are, N at least 1.
        key_class: (N,) int64, the class that each key speaks for.
        alpha: how much the memory counts.
        beta: how fast a key's vote falls with its distance.
        scale: multiplies the products with `weight`; CLIP's logit scale.

    Raises:
        DataError: shapes that don't fit.
    """

    weight: torch.Tensor
    projection: torch.Tensor
    keys: torch.Tensor
    key_class: torch.Tensor
    alpha: torch.Tensor
    beta: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self,
        weight: torch.Tensor,
        projection: torch.Tensor,
        keys: torch.Tensor,
        key_class: torch.Tensor,
        *,
        alpha: float,
        beta: float,
        scale: float = 100.0,
    ) -> None:
        super().__init__()
        shapes = [tuple(t.shape) for t in (weight, projection, keys, key_class)]
        fits = [len(s) for s in shapes] == [2, 2, 2, 1] and weight.shape[1] == projection.shape[1]
        if not fits or shapes[2] != (len(key_class), projection.shape[0]) or not len(key_class):
            raise DataError(
                f"a metric cache head takes (C, D) weights, a (Q, D) projection, (N, Q) keys and N classes: {shapes}."
            )
        weight = weight if weight.dtype == torch.float64 else weight.float()
        self.register_buffer("weight", weight.contiguous())
        self.register_buffer("projection", projection.to(weight.dtype).contiguous())
        self.register_buffer("keys", keys.to(weight.dtype).contiguous())
        self.register_buffer("key_class", key_class.long())
        for name, value in (("alpha", alpha), ("beta", beta), ("scale", scale)):
            self.register_buffer(name, torch.tensor(value, dtype=weight.dtype, device=weight.device))

    @property
    def config(self) -> dict[str, Any]:
        """Sizes."""
        width, dim = self.projection.shape
        return {"n_classes": self.n_classes, "dim": int(dim), "width": int(width), "n_keys": len(self.keys)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MetricCacheHead:
        """An all-zero head of the given sizes."""
        classes, dim, width, keys = (config[name] for name in ("n_classes", "dim", "width", "n_keys"))
        return cls(
            torch.zeros(classes, dim),
            torch.zeros(width, dim),
            torch.zeros(keys, width),
            torch.zeros(keys, dtype=torch.int64),
            alpha=0.0,
            beta=0.0,
        )

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.weight)

    def verify(self) -> None:
        """Refuse keys of classes that there are none of."""
        super().verify()
        if int(self.key_class.min()) < 0 or int(self.key_class.max()) >= self.n_classes:
            raise FormatError(f"the saved head is damaged: key_class must lie in 0..{self.n_classes - 1}.")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(m, D) image features to (m, C) logits."""
        u = unit_rows(x).to(self.weight.dtype)
        near = stretched(unit_rows(u @ self.projection.T) @ self.keys.T)
        votes = torch.exp(self.beta * (near - 1)).T
        memory = u.new_zeros(self.n_classes, x.shape[0]).index_add(0, self.key_class, votes)
        return self.scale * (u @ self.weight.T) + self.alpha * memory.T
