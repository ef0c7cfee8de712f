"""What a training tells of itself: the parts of its loss, step by step and as means of epochs."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from clipwright.training.loop import DivergedError

_LOGGER = logging.getLogger(__name__)


@dataclass
class StepLog:
    """What the steps of each epoch gave: sums that stay on their device until somebody asks.

    Attributes:
        names: of the parts that a step gives.
        sums: of each part over the steps of this epoch, None before the first.
        count: steps of this epoch.
        epochs: mean parts of the epochs that are over.
        last: parts of the last step that was read.
        waiting: epoch, step, learning rate and parts of the step that was not read yet.
    """

    names: list[str] = field(default_factory=list)
    sums: torch.Tensor | None = None
    count: int = 0
    epochs: list[dict[str, float]] = field(default_factory=list)
    last: dict[str, float] = field(default_factory=dict)
    waiting: tuple[int, int, float, torch.Tensor] | None = None

    def add(self, epoch: int, step: int, rate: float, parts: Mapping[str, torch.Tensor]) -> None:
        """Take the parts of a step; they are read, and checked, when the next step has been given to the device."""
        self.flush()
        self.names = list(parts)
        device = next(iter(parts.values())).device
        wide = torch.float32 if device.type == "mps" else torch.float64  # which knows no float64
        values = torch.stack([part.to(wide) for part in parts.values()])
        self.sums = values if self.sums is None else self.sums.to(values) + values
        self.count += 1
        self.waiting = epoch, step, rate, values

    def flush(self) -> None:
        """Log the last step.

        Raises:
            DivergedError: its loss is NaN or infinite.
        """
        if self.waiting is None:
            return
        (epoch, step, rate, values), self.waiting = self.waiting, None
        self.last = dict(zip(self.names, values.tolist(), strict=True))
        metrics = {"event": "step", "epoch": epoch, "step": step, "lr": rate, **self.last}
        _LOGGER.info("step %d: lr %.3e, %s", step, rate, self.line(), extra={"metrics": metrics})
        if not all(map(math.isfinite, self.last.values())):
            raise DivergedError(
                f"training diverged in epoch {epoch}, step {step} ({self.line()}): choose a smaller learning rate."
            )

    def line(self) -> str:
        """The parts of the last step in words."""
        return ", ".join(f"{name} {value:.4g}" for name, value in self.last.items())

    def close(self) -> dict[str, float]:
        """Mean parts of the epoch that ends here."""
        self.flush()
        means = [] if self.sums is None else (self.sums / self.count).tolist()
        self.epochs.append(dict(zip(self.names, means, strict=True)))
        self.sums, self.count = None, 0
        return self.epochs[-1]

    def facts(self) -> dict[str, Any]:
        """What a checkpoint notes beside the tensors."""
        sums = None if self.sums is None else self.sums.tolist()  # JSON keeps every bit of a float64
        return {"names": self.names, "sums": sums, "count": self.count, "epochs": self.epochs}

    def restore(self, facts: dict[str, Any]) -> None:
        """Go on from `facts`."""
        self.names, self.count, self.epochs = facts["names"], facts["count"], facts["epochs"]
        self.sums = None if facts["sums"] is None else torch.tensor(facts["sums"], dtype=torch.float64)
