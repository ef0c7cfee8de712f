"""Key-value classifier: a cosine classifier plus a memory of labelled images."""

from __future__ import annotations

from typing import Any

import torch

from clipwright.core.errors import DataError, FormatError
from clipwright.core.tensors import unit_rows
from clipwright.heads.base import Head, checked_classes

_BLOCK = 2048  # keys looked at together: bounds the memory of a large batch


class CacheHead(Head):
    """``scale * u . W + alpha * sum over keys k of class c: key_weight_k * exp(-beta * (1 - v . k))``.

    u is the image feature scaled to length 1; v is u, or, where the head names channels, those channels of u scaled to
    length 1.

    Args:
        weight: (C, D), used as it is; float64 stays, anything narrower becomes float32.
        keys: (N, Q), used as they are; Q = D without channels.
        key_class: (N,) int64, the class that each key speaks for.
        alpha: how much the memory counts.
        beta: how fast a key's vote falls with its distance.
        scale: multiplies the products with `weight`; CLIP's logit scale.
        key_weight: (N,), the vote of each key; None = 1.
        channels: (Q,) int64 channels of the image feature that keys are compared with; None = all.

    Raises:
        DataError: shapes that don't fit.
    """

    weight: torch.Tensor
    keys: torch.Tensor
    key_class: torch.Tensor
    key_weight: torch.Tensor
    channels: torch.Tensor
    alpha: torch.Tensor
    beta: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self,
        weight: torch.Tensor,
        keys: torch.Tensor,
        key_class: torch.Tensor,
        *,
        alpha: float,
        beta: float,
        scale: float = 100.0,
        key_weight: torch.Tensor | None = None,
        channels: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        width = weight.shape[-1] if channels is None else len(channels)
        shapes = [tuple(t.shape) for t in (weight, keys, key_class)]
        if [len(s) for s in shapes] != [2, 2, 1] or shapes[1] != (len(key_class), width):
            raise DataError(f"a cache head takes (C, D) weights, (N, {width}) keys and N classes: {shapes}.")
        if key_weight is not None and key_weight.shape != key_class.shape:
            raise DataError(f"a cache head takes one weight per key: {len(key_class)} keys, {tuple(key_weight.shape)}.")
        weight = weight if weight.dtype == torch.float64 else weight.float()
        self.has_channels = channels is not None
        self.register_buffer("weight", weight.contiguous())
        self.register_buffer("keys", keys.to(weight.dtype).contiguous())
        self.register_buffer("key_class", key_class.long())
        votes = weight.new_ones(len(key_class)) if key_weight is None else key_weight.to(weight.dtype)
        self.register_buffer("key_weight", votes)
        if channels is not None:
            self.register_buffer("channels", channels.long())
        for name, value in (("alpha", alpha), ("beta", beta), ("scale", scale)):
            self.register_buffer(name, torch.tensor(value, dtype=weight.dtype, device=weight.device))

    @property
    def config(self) -> dict[str, Any]:
        """Sizes."""
        return {
            "n_classes": self.n_classes,
            "dim": int(self.weight.shape[1]),
            "n_keys": len(self.key_class),
            "n_channels": len(self.channels) if self.has_channels else None,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CacheHead:
        """An all-zero head of the given sizes."""
        classes, dim, keys, channels = (config[name] for name in ("n_classes", "dim", "n_keys", "n_channels"))
        return cls(
            torch.zeros(classes, dim),
            torch.zeros(keys, dim if channels is None else channels),
            torch.zeros(keys, dtype=torch.int64),
            alpha=0.0,
            beta=0.0,
            channels=None if channels is None else torch.zeros(channels, dtype=torch.int64),
        )

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.weight)

    def verify(self) -> None:
        """Refuse keys of classes, and channels of features, that there are none of."""
        super().verify()
        parts = [("key_class", self.n_classes)]
        if self.has_channels:
            parts.append(("channels", int(self.weight.shape[1])))
        for name, size in parts:
            index = getattr(self, name)
            if len(index) and (int(index.min()) < 0 or int(index.max()) >= size):
                raise FormatError(f"the saved head is damaged: {name} must lie in 0..{size - 1}.")

    def restrict(self, class_index: torch.Tensor) -> Head:
        """The head over some of the classes, holding only their keys."""
        index = checked_classes(class_index, self.n_classes).to(self.key_class.device)
        if len(torch.unique(index)) < len(index):  # a class asked for twice can't own its keys twice
            return super().restrict(class_index)
        place = self.key_class.new_full((self.n_classes,), -1)
        place[index] = torch.arange(len(index), device=index.device)
        kept = place[self.key_class] >= 0
        return CacheHead(
            self.weight[index],
            self.keys[kept],
            place[self.key_class[kept]],
            alpha=float(self.alpha),
            beta=float(self.beta),
            scale=float(self.scale),
            key_weight=self.key_weight[kept],
            channels=self.channels if self.has_channels else None,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(m, D) image features to (m, C) logits."""
        u = unit_rows(x).to(self.weight.dtype)
        v = unit_rows(u[:, self.channels]) if self.has_channels else u
        memory = u.new_zeros(self.n_classes, x.shape[0])
        for start in range(0, len(self.key_class), _BLOCK):
            part = slice(start, start + _BLOCK)
            votes = torch.exp(self.beta * (self.keys[part] @ v.T - 1)) * self.key_weight[part, None]
            memory = memory.index_add(0, self.key_class[part], votes)
        return self.scale * (u @ self.weight.T) + self.alpha * memory.T
