"""What a fit returns: a head, what else the method made, and how it came about."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from clipwright.core.errors import DataError, NeedsError
from clipwright.heads.base import Head
from clipwright.task import BlackBox, Features, TowerUpdate

Source = Literal["fixed", "rule", "cross-validation", "validation", "user", "closed form"]


@dataclass
class FitTrace:
    """How a fit came about.

    Attributes:
        chosen: value of each hyper-parameter that the fit used.
        how: where each value came from.
        labels_per_class: labels used per class, validation included.
        losses: training loss per epoch, where there is training.
        loss_parts: the same for each part of the loss, where it has parts.
        curve: scores of the values among which one was chosen: ``by`` what, the values, ``score``; or empty.
        seconds: wall time of the fit.
        calls: requests that the fit made to an endpoint.
        spent: what a black box was asked for, see `clipwright.task.Spent`; empty where there was none.
        tokens: tokens of those requests and their answers.
        notes: anything the user should know, one sentence each.
        reason: why this method was picked, where one was, in one sentence.
        candidates: what else might have been picked and how it scored, best guesses first: JSON rows.
    """

    chosen: dict[str, Any] = field(default_factory=dict)
    how: dict[str, Source] = field(default_factory=dict)
    labels_per_class: tuple[int, ...] = ()
    losses: list[float] = field(default_factory=list)
    loss_parts: dict[str, list[float]] = field(default_factory=dict)
    curve: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    calls: int = 0
    spent: dict[str, int] = field(default_factory=dict)
    tokens: int = 0
    notes: list[str] = field(default_factory=list)
    reason: str = ""
    candidates: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Add the wall time of the block to `seconds`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Logits of support rows, each from a fit that did not see the row.

    Attributes:
        logits: (n, C).
        labels: (n,) int64.
        ids: n row identifiers, or None.
        folds: how many fits made them; 1 when the method looks at no labels.
    """

    logits: NDArray[np.float64]
    labels: NDArray[np.int64]
    ids: tuple[str, ...] | None
    folds: int


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a fit returns: calling it calls the head.

    Attributes:
        head: the inductive answer for any image.
        tower: what the fit changed in the image tower, whose features the head takes; or None.
        prompt: (m, d) soft prompt that a black box must be sent at prediction, or None.
        box: the black box that answers it, or None; it isn't saved.
        query_logits: (n, C) answer for `task.query` of a transductive method, or None.
        trace: how the fit came about.
        out_of_fold: logits of the support rows by fits that did not see them, where the fit made them anyway.

    Raises:
        DataError: the head or the answers hold NaN or infinity.
    """

    head: Head
    tower: TowerUpdate | None = None
    prompt: torch.Tensor | None = None
    box: BlackBox | None = None
    query_logits: torch.Tensor | None = None
    trace: FitTrace = field(default_factory=FitTrace)
    out_of_fold: OutOfFold | None = None

    def __post_init__(self) -> None:
        changed = {} if self.tower is None else self.tower.flat()
        parts = {**self.head.state_dict(), **changed, "the answers to the query": self.query_logits}
        for name, tensor in parts.items():
            if tensor is not None and tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise DataError(f"the fit came out as NaN or infinity ({name}): look for broken rows in the features.")

    @torch.inference_mode()
    def __call__(self, features: Features) -> torch.Tensor:
        """(n, C) logits of image features.

        Raises:
            NeedsError: the head takes an input that `features` lacks, or features of the tower that the fit changed.
        """
        if features.tower != ("" if self.tower is None else self.tower.digest):
            raise NeedsError(
                "these features were made by another image tower than this classifier's: encode them anew."
            )
        tensors = []
        for name in self.head.inputs:
            value = self._prompted(features) if name == "scores" and self.prompt is not None else _part(features, name)
            if value is None:
                raise NeedsError(f"this classifier needs {name} features: extract them with the images.")
            tensors.append(value)
        logits: torch.Tensor = self.head(*tensors)
        return logits

    def _prompted(self, features: Features) -> torch.Tensor:
        """(n, 1, C) scores that the black box gives the images under the prompt that was fitted."""
        assert self.prompt is not None  # noqa: S101 - the caller looked
        if self.box is None:
            raise NeedsError("this classifier asks a black box with its own prompt: load it with its endpoint at hand.")
        if features.handles is None:
            raise NeedsError("this classifier asks a black box about images: send them first, and give their handles.")
        if not features.handles:
            return torch.zeros(0, 1, self.head.n_classes)
        return self.box.prompt_scores(self.prompt[None], features.handles)[0][:, None]


def _part(features: Features, name: str) -> torch.Tensor | None:
    """What a head's input is called in `Features`; an (n, 0) clean view is none."""
    if name == "image":
        return features.x if features.dim or not len(features) else None
    value: torch.Tensor | None = getattr(features, name, None)
    return value
