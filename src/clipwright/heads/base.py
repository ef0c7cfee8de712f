"""The contract of a head: features in, logits out, configuration and weights apart."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import torch
from torch import nn

from clipwright.core.errors import FormatError

Input = Literal["image", "pre_projection", "second", "scores"]


class Head(nn.Module):
    """A fitted classifier: ``forward(*tensors) -> logits (m, C)``.

    Attributes:
        inputs: what `forward` takes, in order.
    """

    inputs: ClassVar[tuple[Input, ...]] = ("image",)

    @property
    def config(self) -> dict[str, Any]:
        """JSON from which `from_config` makes a head of the same shape."""
        raise NotImplementedError

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make a head of the shape that `config` describes, its weights not yet set."""
        return cls(**config)

    @property
    def n_classes(self) -> int:
        """C, the number of logits per row."""
        raise NotImplementedError

    def restrict(self, class_index: torch.Tensor) -> Head:
        """The head over some of the classes, in the order given.

        All columns are computed, then selected; heads whose decision depends on the competing classes override this.

        Args:
            class_index: (K,) int64 indices into the C classes.
        """
        return Restricted(self, class_index)


class Restricted(Head):
    """Another head's logits, some columns only."""

    def __init__(self, head: Head, class_index: torch.Tensor) -> None:
        super().__init__()
        self.head = head
        self.inputs = head.inputs  # type: ignore[misc] # an instance narrows the class's default
        self.register_buffer("class_index", class_index.long())

    @property
    def config(self) -> dict[str, Any]:
        """The wrapped head's description and the number of columns."""
        return {"head": describe(self.head), "n_classes": self.n_classes}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make the wrapped head, then the selection."""
        return cls(build(config["head"]), torch.zeros(config["n_classes"], dtype=torch.int64))

    @property
    def n_classes(self) -> int:
        """K, the number of columns kept."""
        return len(self.class_index)  # type: ignore[arg-type] # a buffer

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """(m, K) logits."""
        logits: torch.Tensor = self.head(*tensors)
        return logits[:, self.class_index]  # type: ignore[index] # a buffer


def catalogue() -> dict[str, type[Head]]:
    """Every kind of head that a saved classifier may hold, by name."""
    from clipwright.heads.blend import BlendHead
    from clipwright.heads.linear import LinearHead

    return {kind.__name__: kind for kind in (LinearHead, BlendHead, Restricted)}


def describe(head: Head) -> dict[str, Any]:
    """JSON that `build` turns into a head of the same shape."""
    return {"kind": type(head).__name__, "config": head.config}


def build(description: dict[str, Any]) -> Head:
    """Make the head that `describe` described, its weights not yet set.

    Raises:
        FormatError: this clipwright knows no such head.
    """
    kind = catalogue().get(str(description.get("kind")))
    if kind is None:
        raise FormatError(
            f"this classifier holds a head of kind {description.get('kind')!r}, which this clipwright does not "
            "know: update clipwright."
        )
    return kind.from_config(description["config"])
