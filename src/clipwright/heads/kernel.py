"""Kernel expansion: what each stored key adds to every class, by how close the image is to the key."""

from __future__ import annotations

from typing import Any

import torch

from clipwright.core.errors import DataError
from clipwright.core.tensors import unit_rows
from clipwright.heads.base import Head, checked_classes

_BLOCK = 2048  # keys looked at together: bounds the memory of a large batch


def radial_kernel(x: torch.Tensor, keys: torch.Tensor, beta: torch.Tensor | float) -> torch.Tensor:
    """(m, N) ``exp(-beta * (1 - x . k))``: the radial basis function of unit rows, ``exp(-beta / 2 * |x - k|^2)``.

    Args:
        x: (m, D) rows of length 1.
        keys: (N, D) rows of length 1.
        beta: how fast it falls, positive.
    """
    return torch.exp(beta * (x @ keys.T - 1))


class KernelHead(Head):
    """``sum over keys i: exp(-beta * (1 - unit(x) . k_i)) * v_i``.

    Args:
        keys: (N, D), used as they are; float64 stays, anything narrower becomes float32.
        values: (N, C), what each key adds to each class.
        beta: how fast a key's say falls with its distance.

    Raises:
        DataError: shapes that don't fit.
    """

    keys: torch.Tensor
    values: torch.Tensor
    beta: torch.Tensor

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, *, beta: float) -> None:
        super().__init__()
        if keys.ndim != 2 or values.ndim != 2 or len(keys) != len(values):
            shapes = tuple(keys.shape), tuple(values.shape)
            raise DataError(f"a kernel head takes (N, D) keys and (N, C) values: {shapes[0]} and {shapes[1]}.")
        keys = keys if keys.dtype == torch.float64 else keys.float()
        self.register_buffer("keys", keys)
        self.register_buffer("values", values.to(keys.dtype).contiguous())  # as it will be when loaded
        self.register_buffer("beta", torch.tensor(beta, dtype=keys.dtype, device=keys.device))

    @property
    def config(self) -> dict[str, Any]:
        """Sizes."""
        return {"n_keys": len(self.keys), "dim": int(self.keys.shape[1]), "n_classes": self.n_classes}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> KernelHead:
        """An all-zero head of the given sizes."""
        keys, classes = config["n_keys"], config["n_classes"]
        return cls(torch.zeros(keys, config["dim"]), torch.zeros(keys, classes), beta=0.0)

    @property
    def n_classes(self) -> int:
        """C."""
        return int(self.values.shape[1])

    def restrict(self, class_index: torch.Tensor) -> Head:
        """The head over some of the classes: fewer columns of `values`."""
        index = checked_classes(class_index, self.n_classes).to(self.values.device)
        return KernelHead(self.keys, self.values[:, index], beta=float(self.beta))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(m, D) image features to (m, C) logits."""
        u = unit_rows(x).to(self.keys.dtype)
        logits = u.new_zeros(x.shape[0], self.n_classes)
        for start in range(0, len(self.keys), _BLOCK):
            part = slice(start, start + _BLOCK)
            logits = logits + radial_kernel(u, self.keys[part], self.beta) @ self.values[part]
        return logits
