"""A weighted sum of other heads' logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from clipwright.core.errors import DataError
from clipwright.heads.base import Head, build, describe


class BlendHead(Head):
    """``sum_k weights[k] * heads[k](...)``; each head is given the inputs it names.

    Attributes:
        weights: (K,), one per head.
    """

    weights: torch.Tensor

    def __init__(self, heads: Sequence[Head], weights: torch.Tensor | Sequence[float]) -> None:
        super().__init__()
        weights = torch.as_tensor(weights)
        if not heads or weights.shape != (len(heads),):
            raise DataError(f"a blend takes one weight per head: {len(heads)} heads, weights {tuple(weights.shape)}.")
        if len({head.n_classes for head in heads}) > 1:
            raise DataError(f"blended heads must share their classes; they have {[h.n_classes for h in heads]}.")
        self.heads = nn.ModuleList(heads)
        self.inputs = tuple(dict.fromkeys(name for head in heads for name in head.inputs))  # type: ignore[misc] # an instance narrows the class's default
        self.register_buffer("weights", weights if weights.is_floating_point() else weights.float())

    @property
    def parts(self) -> list[Head]:
        """The heads that are blended."""
        return [cast("Head", part) for part in self.heads]

    @property
    def config(self) -> dict[str, Any]:
        """The heads' descriptions."""
        return {"heads": [describe(part) for part in self.parts]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> BlendHead:
        """Heads of the same shapes, weighted zero."""
        heads = [build(part) for part in config["heads"]]
        return cls(heads, torch.zeros(len(heads)))

    @property
    def n_classes(self) -> int:
        """C."""
        return self.parts[0].n_classes

    def restrict(self, class_index: torch.Tensor) -> Head:
        """Restrict every part, so that parts that compare classes see only those left."""
        return BlendHead([part.restrict(class_index) for part in self.parts], self.weights)

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """(m, C) logits."""
        given = dict(zip(self.inputs, tensors, strict=True))
        logits = [part(*(given[name] for name in part.inputs)) for part in self.parts]
        return torch.stack([w * z for w, z in zip(self.weights, logits, strict=True)]).sum(0)
