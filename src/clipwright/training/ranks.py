"""Several processes that train one model: who has which rows, and what they exchange; one process is the plain case."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import distributed

_BUCKET = 1 << 24  # elements summed in one message: 64 MB of float32


def world() -> tuple[int, int]:
    """This process's rank and the number of processes; (0, 1) where torch.distributed is not initialised."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def share(rows: torch.Tensor) -> torch.Tensor:
    """The consecutive part of the first dimension that this process works on; parts differ by one row at most."""
    rank, size = world()
    return rows.tensor_split(size)[rank] if size > 1 else rows


def gather_rows(rows: torch.Tensor) -> tuple[torch.Tensor, int]:
    """The (b_r, D) rows of all ranks, one after another, on every rank.

    A rank without rows may give shape (0, 0).

    Returns:
        (B, D) rows, without gradient, and the place of this rank's first one.
    """
    rank, size = world()
    rows = rows.detach()
    if size == 1:
        return rows, 0
    mine = torch.tensor([*rows.shape, int(rows.dtype == torch.float64)], device=rows.device)
    shapes = [torch.empty_like(mine) for _ in range(size)]
    distributed.all_gather(shapes, mine)
    table = torch.stack(shapes).cpu()
    counts = table[:, 0].tolist()
    width = int(table[:, 1].max())
    wide = torch.float64 if bool(table[:, 2].any()) else torch.float32
    # Ranks may have unequal numbers of rows, which not every backend can exchange: all send as many as the longest.
    padded = torch.zeros(max(counts), width, dtype=wide, device=rows.device)
    if len(rows):
        padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in range(size)]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)]), sum(counts[:rank])


def sum_gradients(parameters: Sequence[torch.nn.Parameter]) -> None:
    """Replace the gradient of each parameter by its sum over all ranks; one that no rank has stays None."""
    if world()[1] == 1 or not parameters:
        return
    present = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32, device=parameters[0].device)
    distributed.all_reduce(present, op=distributed.ReduceOp.MAX)
    wanted = [p for p, any_has in zip(parameters, present.tolist(), strict=True) if any_has]
    for bucket in _buckets(wanted):
        for p in bucket:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        flat = torch.cat([p.grad.flatten() for p in bucket if p.grad is not None])
        distributed.all_reduce(flat)
        start = 0
        for p in bucket:
            p.grad = flat[start : start + p.numel()].view_as(p).clone()
            start += p.numel()


def _buckets(parameters: Iterable[torch.nn.Parameter]) -> list[list[torch.nn.Parameter]]:
    """Parameters in order, cut where the type or the device changes or a message is full."""
    buckets: list[list[torch.nn.Parameter]] = []
    filled = 0
    for p in parameters:
        last = buckets[-1][-1] if buckets else None
        if last is None or (last.dtype, last.device) != (p.dtype, p.device) or filled + p.numel() > _BUCKET:
            buckets.append([])
            filled = 0
        buckets[-1].append(p)
        filled += p.numel()
    return buckets


def same_everywhere(tensors: Iterable[torch.Tensor]) -> None:
    """Overwrite tensors with those of rank 0, so that all ranks go on from one state."""
    if world()[1] > 1:
        with torch.no_grad():
            for tensor in tensors:
                whole = tensor.detach().contiguous()
                distributed.broadcast(whole, 0)
                tensor.copy_(whole)


def agree(value: int, device: torch.device) -> bool:
    """Whether all ranks have the same number; all must ask."""
    if world()[1] == 1:
        return True
    extremes = torch.tensor([value, -value], device=device)
    distributed.all_reduce(extremes, op=distributed.ReduceOp.MAX)
    return int(extremes[0]) == -int(extremes[1])
