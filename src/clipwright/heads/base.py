"""The contract of a head: features in, logits out, configuration and weights apart."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import torch
from torch import nn

from clipwright.core.errors import DataError, FormatError

Input = Literal["image", "pre_projection", "second", "scores"]


class Head(nn.Module):
    """A fitted classifier: ``forward(*tensors) -> logits (m, C)``.

    `forward` is made of tensor operations only, treats every row by itself and takes any number of rows, so that a
    head can be exported with a free batch size. It computes in the dtype of its own weights.

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

    def verify(self) -> None:
        """Refuse weights that were loaded but can't be those of such a head.

        Raises:
            FormatError: says what is wrong.
        """
        for name, tensor in self.state_dict().items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise FormatError(f"the saved head is damaged: {name} holds NaN or infinity.")
        for child in self.modules():
            if isinstance(child, Head) and child is not self:
                child.verify()

    def restrict(self, class_index: torch.Tensor) -> Head:
        """The head over some of the classes, in the order given.

        All columns are computed, then selected; heads whose decision depends on the competing classes override this.

        Args:
            class_index: (K,) int64 indices into the C classes.

        Raises:
            DataError: an index lies outside 0..C-1, or there are none.
        """
        return Restricted(self, checked_classes(class_index, self.n_classes))


def checked_classes(class_index: torch.Tensor, n_classes: int) -> torch.Tensor:
    """(K,) int64 class indices, refused when empty or outside 0..C-1.

    Raises:
        DataError: says what is wrong.
    """
    index = torch.as_tensor(class_index)
    if index.ndim != 1 or not len(index) or index.is_floating_point() or index.dtype == torch.bool:
        raise DataError("classes are chosen by a list of at least one class number.")
    if int(index.min()) < 0 or int(index.max()) >= n_classes:
        raise DataError(
            f"class numbers must lie in 0..{n_classes - 1}; they range from {int(index.min())} to {int(index.max())}."
        )
    return index.long()


class Restricted(Head):
    """Another head's logits, some columns only."""

    class_index: torch.Tensor

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
        return len(self.class_index)

    def verify(self) -> None:
        """Refuse columns that the wrapped head doesn't have."""
        super().verify()
        try:
            checked_classes(self.class_index, self.head.n_classes)
        except DataError as error:
            raise FormatError(f"the saved head is damaged: {error}") from error

    def restrict(self, class_index: torch.Tensor) -> Head:
        """Restrict the wrapped head to those of the columns."""
        return self.head.restrict(self.class_index[checked_classes(class_index, self.n_classes)])

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """(m, K) logits."""
        logits: torch.Tensor = self.head(*tensors)
        return logits[:, self.class_index]


def catalogue() -> dict[str, type[Head]]:
    """Every kind of head that a saved classifier may hold, by name."""
    from clipwright.heads.adapter import AdapterHead
    from clipwright.heads.blend import BlendHead
    from clipwright.heads.cache import CacheHead
    from clipwright.heads.coder import CoderHead
    from clipwright.heads.distribution_cache import DistributionCacheHead
    from clipwright.heads.fusion import FusionHead
    from clipwright.heads.kernel import KernelHead
    from clipwright.heads.linear import LinearHead
    from clipwright.heads.metric_cache import MetricCacheHead
    from clipwright.heads.neighbours import NeighbourHead
    from clipwright.heads.projected import ProjectedHead
    from clipwright.heads.refine import ChainHead, RefineHead, ScaleHead
    from clipwright.heads.rerank import RerankHead
    from clipwright.heads.shift import ShiftHead

    kinds: tuple[type[Head], ...] = (
        LinearHead,
        BlendHead,
        CacheHead,
        FusionHead,
        DistributionCacheHead,
        KernelHead,
        ShiftHead,
        ProjectedHead,
        AdapterHead,
        CoderHead,
        RerankHead,
        MetricCacheHead,
        NeighbourHead,
        RefineHead,
        ScaleHead,
        ChainHead,
        Restricted,
    )
    return {kind.__name__: kind for kind in kinds}


def describe(head: Head) -> dict[str, Any]:
    """JSON that `build` turns into a head of the same shape."""
    return {"kind": type(head).__name__, "config": head.config}


def build(description: dict[str, Any]) -> Head:
    """Make the head that `describe` described, its weights not yet set.

    Raises:
        FormatError: this clipwright knows no such head.
    """
    name = description.get("kind") if isinstance(description, dict) else None
    kind = catalogue().get(str(name))
    if kind is None:
        raise FormatError(
            f"this classifier holds a head of kind {name!r}, which this clipwright does not know: update clipwright."
        )
    return kind.from_config(description["config"])
