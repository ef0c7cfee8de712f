"""Which rows each optimiser step sees: shuffled batches and drawn views, a function of seed and epoch alone."""

from __future__ import annotations

from collections.abc import Callable

import torch

from clipwright.core.errors import UsageError
from clipwright.core.rng import Key, generator

Batches = Callable[[int], list[torch.Tensor]]


def split_batches(order: torch.Tensor, batch_size: int, *, drop_last: bool) -> list[torch.Tensor]:
    """Cut an order of rows into batches.

    Args:
        order: (n,) int64 rows in the order in which they are seen.
        batch_size: rows per batch, at least 1.
        drop_last: leave out an incomplete last batch, unless it is the only one.

    Returns:
        int64 rows of each batch; one batch of all rows when n <= `batch_size`.
    """
    if batch_size < 1:
        raise UsageError(f"batch_size must be at least 1; it is {batch_size}.")
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if drop_last and len(batches) > 1 and len(batches[-1]) < batch_size:
        batches.pop()
    return batches


def shuffled_batches(n: int, batch_size: int, *, drop_last: bool, seed: int, key: tuple[Key, ...]) -> Batches:
    """Batches of n rows, shuffled anew each epoch.

    Where one batch holds all rows their order can't matter, so they stay as they are.

    Args:
        n: number of rows.
        batch_size: rows per batch, at least 1.
        drop_last: leave out an incomplete last batch, unless it is the only one.
        seed: the task's seed.
        key: what the order is for, such as ``("taskres", "order")``.

    Returns:
        A function from the epoch to the rows of each batch; equal arguments give equal batches.
    """
    if n <= batch_size:
        whole = split_batches(torch.arange(n), batch_size, drop_last=drop_last)
        return lambda _: whole

    def batches(epoch: int) -> list[torch.Tensor]:
        order = torch.from_numpy(generator(seed, *key, epoch).permutation(n))
        return split_batches(order, batch_size, drop_last=drop_last)

    return batches


def random_views(views: torch.Tensor, *, seed: int, key: tuple[Key, ...]) -> Callable[[int], torch.Tensor]:
    """One stored view of each image per epoch, drawn evenly and with replacement.

    Args:
        views: (n, V, D) stored views.
        seed: the task's seed.
        key: what the draw is for.

    Returns:
        A function from the epoch to (n, D).
    """
    n, count = views.shape[:2]
    rows = torch.arange(n)

    def draw(epoch: int) -> torch.Tensor:
        return views[rows, torch.from_numpy(generator(seed, *key, epoch).integers(0, count, n))]

    return draw
