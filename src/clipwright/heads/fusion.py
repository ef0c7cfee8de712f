"""Memories of one or two image towers, each believed as far as it agrees with the class texts on the image at hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from clipwright.core.errors import DataError, FormatError
from clipwright.core.tensors import unit_rows
from clipwright.heads.base import Head, Restricted, checked_classes

_BLOCK = 2048  # keys looked at together: bounds the memory of a large batch
_FLAT = 16  # rounding errors of the largest value, below which a spread is none


def standardised(p: torch.Tensor) -> torch.Tensor:
    """(..., C) scores less their mean over the classes, divided by their unbiased standard deviation.

    Where all classes score the same, up to rounding, there is no deviation to divide by, and the result is 0.
    """
    centred = p - p.mean(-1, keepdim=True)
    variance = centred.square().sum(-1, keepdim=True) / max(1, p.shape[-1] - 1)
    noise = _FLAT * torch.finfo(p.dtype).eps * p.detach().abs().amax(-1, keepdim=True)
    flat = variance <= noise.square()
    return centred.masked_fill(flat, 0) / torch.where(flat, 1, variance).sqrt()


def fuse(text: torch.Tensor, votes: Sequence[torch.Tensor]) -> torch.Tensor:
    """The standardised votes of G memories, weighted for each image by a softmax of their agreement with the texts.

    Agreement is the sum over the classes of the product of both standardised scores: C - 1 times their correlation.

    Args:
        text: (m, C) logits of the class texts.
        votes: G tensors (..., m, C), a memory's votes for each class; only their shape over the classes counts.

    Returns:
        (..., m, C).
    """
    shapes = torch.stack([standardised(v) for v in votes])
    agreement = (shapes * standardised(text)).sum(-1)
    return (agreement.softmax(0)[..., None] * shapes).sum(0)


def key_votes(
    x: torch.Tensor,
    keys: torch.Tensor,
    key_class: torch.Tensor,
    key_weight: torch.Tensor,
    n_classes: int,
    *,
    beta: torch.Tensor | float,
) -> torch.Tensor:
    """``sum over keys k of class c: key_weight_k * exp(-beta * (nearest - x . k))``, nearest the largest ``x . k``.

    A factor per image changes nothing once votes are standardised; this one keeps them from vanishing at a large beta.

    Args:
        x: (m, Q) unit image features.
        keys: (N, Q).
        key_class: (N,) int64.
        key_weight: (N,).
        n_classes: C.
        beta: positive.

    Returns:
        (m, C), differentiable in the keys.
    """
    nearest = x.new_full((x.shape[0],), torch.finfo(x.dtype).min / 4)
    votes = x.new_zeros(n_classes, x.shape[0])
    for start in range(0, len(key_class), _BLOCK):
        part = slice(start, start + _BLOCK)
        product = keys[part] @ x.T
        before, nearest = nearest, torch.maximum(nearest, product.detach().amax(0))
        new = torch.exp(beta * (product - nearest)) * key_weight[part, None]
        votes = (votes * torch.exp(beta * (before - nearest))).index_add(0, key_class[part], new)
    return votes.T


class FusionHead(Head):
    """``p_0 + alpha * sum over towers g of pi_g * z(p_g)``.

    p_0 is ``scale * u . W``; p_g the votes of tower g's keys, ``sum over keys k of class c: key_weight_k *
    exp(-beta * (1 - v_g . k))``; z standardises over the classes; pi is the softmax over the towers of
    ``sum over c of z(p_g) * z(p_0)``. u and v are image features scaled to length 1. With a single tower pi is 1.

    What is standardised depends on which classes compete: a restricted head does it over those left.

    Args:
        weight: (C, D), used as it is; float64 stays, anything narrower becomes float32.
        keys: (N, D), used as they are.
        key_class: (N,) int64, the class that each key speaks for.
        alpha: how much the memories count, in units of the text logits.
        beta: how fast a key's vote falls with its distance.
        scale: multiplies the products with `weight`; CLIP's logit scale.
        second_keys: (N, D2) the same images as another tower sees them, or None.
        key_weight: (N,), the vote of each key; None = 1.

    Raises:
        DataError: shapes that don't fit.

    Source: Zhang et al., Prompt, Generate, then Cache, CVPR 2023, section 3.3.
    """

    weight: torch.Tensor
    keys: torch.Tensor
    second_keys: torch.Tensor
    key_class: torch.Tensor
    key_weight: torch.Tensor
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
        second_keys: torch.Tensor | None = None,
        key_weight: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        votes = torch.ones_like(key_class) if key_weight is None else key_weight
        second = keys if second_keys is None else second_keys
        shapes = [tuple(t.shape) for t in (weight, keys, second, key_class, votes)]
        n, dims = len(key_class), [len(s) for s in shapes]
        if dims != [2, 2, 2, 1, 1] or shapes[1] != (n, weight.shape[1]) or {len(second), len(votes)} != {n}:
            raise DataError(f"a fusion head takes (C, D) weights, N keys of each tower, N classes and votes: {shapes}.")
        weight = weight if weight.dtype == torch.float64 else weight.float()
        self.has_second = second_keys is not None
        self.inputs = ("image", "second") if self.has_second else ("image",)  # type: ignore[misc] # an instance widens it
        self.register_buffer("weight", weight.contiguous())
        self.register_buffer("keys", keys.to(weight.dtype).contiguous())
        if self.has_second:
            self.register_buffer("second_keys", second.to(weight.dtype).contiguous())
        self.register_buffer("key_class", key_class.long())
        self.register_buffer("key_weight", votes.to(weight.dtype))
        for name, value in (("alpha", alpha), ("beta", beta), ("scale", scale)):
            self.register_buffer(name, torch.tensor(value, dtype=weight.dtype, device=weight.device))

    @property
    def config(self) -> dict[str, Any]:
        """Sizes."""
        return {
            "n_classes": self.n_classes,
            "dim": int(self.weight.shape[1]),
            "second_dim": int(self.second_keys.shape[1]) if self.has_second else None,
            "n_keys": len(self.key_class),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> FusionHead:
        """An all-zero head of the given sizes."""
        classes, dim, second, keys = (config[name] for name in ("n_classes", "dim", "second_dim", "n_keys"))
        return cls(
            torch.zeros(classes, dim),
            torch.zeros(keys, dim),
            torch.zeros(keys, dtype=torch.int64),
            alpha=0.0,
            beta=0.0,
            second_keys=None if second is None else torch.zeros(keys, second),
        )

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.weight)

    def verify(self) -> None:
        """Refuse keys of classes that there are none of."""
        super().verify()
        if len(self.key_class) and not 0 <= int(self.key_class.min()) <= int(self.key_class.max()) < self.n_classes:
            raise FormatError(f"the saved head is damaged: key_class must lie in 0..{self.n_classes - 1}.")

    def restrict(self, class_index: torch.Tensor) -> Head:
        """The head over some of the classes, holding only their keys; scores are standardised over these classes."""
        index = checked_classes(class_index, self.n_classes).to(self.key_class.device)
        classes, place = torch.unique(index, return_inverse=True)
        if len(classes) < len(index):  # a class asked for twice still competes once
            return Restricted(self.restrict(classes), place)
        place = self.key_class.new_full((self.n_classes,), -1)
        place[index] = torch.arange(len(index), device=index.device)
        kept = place[self.key_class] >= 0
        return FusionHead(
            self.weight[index],
            self.keys[kept],
            place[self.key_class[kept]],
            alpha=float(self.alpha),
            beta=float(self.beta),
            scale=float(self.scale),
            second_keys=self.second_keys[kept] if self.has_second else None,
            key_weight=self.key_weight[kept],
        )

    def forward(self, x: torch.Tensor, second: torch.Tensor | None = None) -> torch.Tensor:
        """(m, D) image features, and (m, D2) of the second tower where the head has one, to (m, C) logits."""
        towers = [(x, self.keys)]
        if self.has_second:
            if second is None:
                raise DataError("this fusion head compares images in two towers: give the second one's features too.")
            towers.append((second, self.second_keys))
        rows = [unit_rows(seen).to(self.weight.dtype) for seen, _ in towers]
        text = self.scale * (rows[0] @ self.weight.T)
        votes = [
            key_votes(v, keys, self.key_class, self.key_weight, self.n_classes, beta=self.beta)
            for v, (_, keys) in zip(rows, towers, strict=True)
        ]
        return text + self.alpha * fuse(text, votes)
