"""CODER's zero-shot classifier: the mean of a class's text cosines, its names counting once by the nearest of them."""

from __future__ import annotations

from typing import Any

import torch

from clipwright.core.errors import DataError
from clipwright.core.tensors import unit_rows
from clipwright.heads.base import Head, checked_classes


class CoderHead(Head):
    """``scale * (u . weight_c + share_c * max over s of u . names_cs)``, u the image feature scaled to length 1.

    With A_c the texts that describe class c, ``weight_c = sum(A_c) / (|A_c| + 1)`` and ``share_c = 1 / (|A_c| + 1)``
    make this the mean over all cosines, the names and synonyms of the class counting as one.

    Args:
        weight: (C, D), used as it is; float64 stays, anything narrower becomes float32.
        names: (C, S, D) names and synonyms, used as they are; a class with fewer than S repeats one of them.
        share: (C,), how much the nearest name counts.
        scale: multiplies the scores; CLIP's logit scale.

    Raises:
        DataError: shapes that don't fit.
    """

    weight: torch.Tensor
    names: torch.Tensor
    share: torch.Tensor
    scale: torch.Tensor

    def __init__(self, weight: torch.Tensor, names: torch.Tensor, share: torch.Tensor, *, scale: float = 100.0) -> None:
        super().__init__()
        shapes = [tuple(t.shape) for t in (weight, names, share)]
        fits = weight.ndim == 2 and names.ndim == 3 and (names.shape[0], names.shape[2]) == tuple(weight.shape)
        if not fits or not names.shape[1] or share.shape != weight.shape[:1]:
            raise DataError(f"a CODER head takes (C, D) weights, (C, S, D) names and C shares: {shapes}.")
        weight = weight if weight.dtype == torch.float64 else weight.float()
        self.register_buffer("weight", weight.contiguous())
        self.register_buffer("names", names.to(weight.dtype).contiguous())
        self.register_buffer("share", share.to(weight.dtype).contiguous())
        self.register_buffer("scale", torch.tensor(scale, dtype=weight.dtype, device=weight.device))

    @property
    def config(self) -> dict[str, Any]:
        """Sizes."""
        return {
            "n_classes": self.n_classes,
            "dim": int(self.weight.shape[1]),
            "n_names": int(self.names.shape[1]),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> CoderHead:
        """An all-zero head of the given sizes."""
        classes, dim, names = (config[name] for name in ("n_classes", "dim", "n_names"))
        return cls(torch.zeros(classes, dim), torch.zeros(classes, names, dim), torch.zeros(classes))

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.weight)

    def restrict(self, class_index: torch.Tensor) -> Head:
        """The head over some of the classes: a class's score depends on its own texts alone."""
        index = checked_classes(class_index, self.n_classes).to(self.weight.device)
        return CoderHead(self.weight[index], self.names[index], self.share[index], scale=float(self.scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(m, D) image features to (m, C) logits."""
        u = unit_rows(x).to(self.weight.dtype)
        cosines = u @ self.names.flatten(0, 1).T
        nearest = cosines.reshape(x.shape[0], *self.names.shape[:2]).amax(2)
        return self.scale * (u @ self.weight.T + self.share * nearest)
