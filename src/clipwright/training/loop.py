"""The one optimiser loop: parameters, batches, a loss, an optimiser, a learning rate per epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch

from clipwright.core.errors import ClipwrightError

Batch = TypeVar("Batch")


class DivergedError(ClipwrightError):
    """The training loss became NaN or infinite."""


def train(
    optimizer: torch.optim.Optimizer,
    loss: Callable[[Batch], torch.Tensor],
    batches: Callable[[int], Iterable[Batch]],
    learning_rates: Sequence[float],
    *,
    after_epoch: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Minimise `loss`, one optimiser step per batch.

    Each parameter group runs at the epoch's learning rate times its own ``lr_factor`` (1 where it names none).

    Args:
        optimizer: holds the parameters.
        loss: a batch to its mean loss, a scalar that parameters in the optimiser produced.
        batches: the batches of an epoch, in order.
        learning_rates: one per epoch; as many epochs are run.
        after_epoch: called with the epoch and its loss, to log or to save.

    Returns:
        The mean loss over the batches of each epoch, each taken before its step; NaN for an epoch without batches.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    losses: list[float] = []
    for epoch, rate in enumerate(learning_rates):
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("lr_factor", 1.0)
        seen: list[torch.Tensor] = []
        for batch in batches(epoch):
            optimizer.zero_grad(set_to_none=True)
            with torch.enable_grad():
                value = loss(batch)
            value.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
            optimizer.step()
            seen.append(value.detach())
        mean = float(torch.stack(seen).mean()) if seen else math.nan
        if seen and not math.isfinite(mean):
            raise DivergedError(f"training diverged in epoch {epoch} (loss {mean}): choose a smaller learning rate.")
        losses.append(mean)
        if after_epoch is not None:
            after_epoch(epoch, mean)
    return losses
