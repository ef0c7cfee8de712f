"""Heads that start from class scores: a small network that corrects them, a weighted sum of several models' scores."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from clipwright.core.errors import DataError
from clipwright.heads.base import Head, Input, build, describe


def refined(z: torch.Tensor, w1: torch.Tensor, b1: torch.Tensor, w2: torch.Tensor, b2: torch.Tensor) -> torch.Tensor:
    """``z + w2 relu(w1 z + b1) + b2``: scores (..., C) corrected by a network of one hidden layer (H wide)."""
    return z + torch.relu(z @ w1.T + b1) @ w2.T + b2


class RefineHead(Head):
    """Scores corrected by a residual network, see `refined`; scores of several models are averaged first.

    Args:
        w1: (H, C), float64 stays, anything narrower becomes float32.
        b1: (H,).
        w2: (C, H).
        b2: (C,).

    Raises:
        DataError: shapes that don't fit.
    """

    inputs: ClassVar[tuple[Input, ...]] = ("scores",)
    w1: torch.Tensor
    b1: torch.Tensor
    w2: torch.Tensor
    b2: torch.Tensor

    def __init__(self, w1: torch.Tensor, b1: torch.Tensor, w2: torch.Tensor, b2: torch.Tensor) -> None:
        super().__init__()
        shapes = [tuple(t.shape) for t in (w1, b1, w2, b2)]
        if w1.ndim != 2 or shapes != [tuple(w1.shape), w1.shape[:1], tuple(w1.shape)[::-1], w1.shape[1:]]:
            raise DataError(f"a refinement takes (H, C), (H,), (C, H) and (C,); the shapes are {shapes}.")
        dtype = torch.float64 if w1.dtype == torch.float64 else torch.float32
        for name, value in (("w1", w1), ("b1", b1), ("w2", w2), ("b2", b2)):
            self.register_buffer(name, value.to(dtype).contiguous())

    @property
    def config(self) -> dict[str, Any]:
        """Sizes."""
        return {"n_classes": self.n_classes, "hidden": len(self.b1)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RefineHead:
        """An all-zero network of the given sizes, which corrects nothing."""
        hidden, classes = config["hidden"], config["n_classes"]
        zeros = torch.zeros
        return cls(zeros(hidden, classes), zeros(hidden), zeros(classes, hidden), zeros(classes))

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.b2)

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        """(m, S, C) scores to (m, C) logits."""
        return refined(scores.to(self.w1.dtype).mean(1), self.w1, self.b1, self.w2, self.b2)


class ScaleHead(Head):
    """``sum_s weight[s] * log_softmax(scores[:, s]) + bias``: scores rescaled, of several models stacked.

    Args:
        weight: (S, C), per model and class; float64 stays, anything narrower becomes float32.
        bias: (C,).

    Raises:
        DataError: shapes that don't fit.
    """

    inputs: ClassVar[tuple[Input, ...]] = ("scores",)
    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        super().__init__()
        if weight.ndim != 2 or bias.shape != weight.shape[1:]:
            shapes = tuple(weight.shape), tuple(bias.shape)
            raise DataError(f"scaling takes (S, C) weights and C biases: {shapes[0]} and {shapes[1]}.")
        dtype = torch.float64 if weight.dtype == torch.float64 else torch.float32
        self.register_buffer("weight", weight.to(dtype).contiguous())
        self.register_buffer("bias", bias.to(dtype))

    @property
    def config(self) -> dict[str, Any]:
        """Sizes."""
        return {"models": len(self.weight), "n_classes": self.n_classes}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ScaleHead:
        """All-zero weights of the given sizes."""
        return cls(torch.zeros(config["models"], config["n_classes"]), torch.zeros(config["n_classes"]))

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.bias)

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        """(m, S, C) scores to (m, C) logits."""
        return (self.weight * torch.log_softmax(scores.to(self.weight.dtype), -1)).sum(1) + self.bias


class ChainHead(Head):
    """A head on scores behind the head that makes them: ``then(first(...))``.

    Args:
        first: makes (m, C) logits of features.
        then: takes them as the scores of one model.

    Raises:
        DataError: the second head doesn't take scores.
    """

    def __init__(self, first: Head, then: Head) -> None:
        super().__init__()
        if then.inputs != ("scores",):
            raise DataError("only a head that takes scores can stand behind another head.")
        self.first, self.then = first, then
        self.inputs = first.inputs  # type: ignore[misc] # an instance narrows the class's default

    @property
    def config(self) -> dict[str, Any]:
        """Both heads' descriptions."""
        return {"first": describe(self.first), "then": describe(self.then)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> ChainHead:
        """Heads of the same shapes."""
        return cls(build(config["first"]), build(config["then"]))

    @property
    def n_classes(self) -> int:
        """C of the second head."""
        return self.then.n_classes

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """(m, C) logits."""
        logits: torch.Tensor = self.then(self.first(*tensors)[:, None])
        return logits
