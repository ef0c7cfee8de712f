"""Small matrices are multiplied by one thread: sharing them costs more than it saves, far more on a busy machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 10_000_000
"""Multiplications per step below which one thread is used; a step of that size takes about a millisecond."""


@contextmanager
def threads_for(multiplications: int) -> Iterator[None]:
    """Let torch use one thread in this block when a step has fewer than `SMALL` multiplications."""
    threads = torch.get_num_threads()
    if multiplications >= SMALL or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
