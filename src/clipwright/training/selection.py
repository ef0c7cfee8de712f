"""Which state of a fit is kept: the one that does best on a validation set, never on a test set."""

from __future__ import annotations

import math
from typing import Literal

import torch

from clipwright.core.tensors import unit_rows
from clipwright.task import Task

Selection = Literal["loss", "accuracy", "last"]


class BestState:
    """Looks at a linear classifier from time to time and keeps a copy of the best.

    Attributes:
        at: the epoch or step of the state that is kept; -1 = none yet.
        weight: its (C, D) weights.
        bias: its (C,) bias.
    """

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, x: torch.Tensor, y: torch.Tensor, by: Literal["loss", "accuracy"]) -> None:
        """Compare states on n labelled rows.

        Args:
            x: (n, D) image features of any length, n at least 1.
            y: (n,) int64 classes.
            by: lowest cross-entropy (of equal states the first), or highest accuracy (of equal states the last, as
                published code has it).
        """
        self.x, self.y, self.by = unit_rows(x), y, by
        self.at, self.value = -1, math.inf

    def look(self, at: int, weight: torch.Tensor, bias: torch.Tensor, *, scale: float = 1.0) -> None:
        """Keep ``scale * unit(x) @ weight.T + bias`` if it is the best so far."""
        logits = scale * (self.x.to(weight.dtype) @ weight.T) + bias
        if self.by == "accuracy":
            value = float((logits.argmax(1) != self.y).double().mean())
            better = value <= self.value
        else:
            value = float(torch.nn.functional.cross_entropy(logits, self.y))
            better = value < self.value
        if better or self.at < 0:
            self.at, self.value, self.weight, self.bias = at, value, weight.clone(), bias.clone()


def best_state(task: Task, selection: Selection) -> BestState | None:
    """What watches a fit on the task's validation set; None where it has none, or where the last state is wanted."""
    if selection == "last" or task.validation is None or not len(task.validation):
        return None
    return BestState(task.validation.x, task.validation.labels, selection)


def labels_used(task: Task) -> tuple[int, ...]:
    """Labels per class in the support and the validation set together."""
    if task.validation is None:
        return task.labels_per_class
    more = torch.bincount(task.validation.labels, minlength=task.n_classes).tolist()
    return tuple(a + b for a, b in zip(task.labels_per_class, more, strict=True))
