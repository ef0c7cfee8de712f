"""Exact nearest neighbours by blocked matrix products, and the sparse graph of images that lie close together."""

from __future__ import annotations

import torch

from clipwright.core.errors import DataError

_BLOCK = 1 << 22  # similarities in memory at a time


def nearest(rows: torch.Tensor, keys: torch.Tensor, k: int, *, same: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """The k keys most similar to each row, by dot product; nothing is approximated.

    Args:
        rows: (n, D), of length 1 where cosines are wanted.
        keys: (m, D).
        k: how many, at least 1; fewer where there are fewer keys.
        same: rows and keys are the same images, so that row i leaves out key i.

    Returns:
        (n, k') similarities, largest first, and (n, k') int64 which keys.

    Raises:
        DataError: k is below 1, or `same` with different numbers of rows and keys.
    """
    if k < 1 or (same and len(rows) != len(keys)):
        raise DataError(f"ask for at least one neighbour, of as many keys as rows where they are the same; k is {k}.")
    found = min(k, len(keys) - same) if len(keys) else 0
    values, index = rows.new_zeros(len(rows), found), torch.zeros(len(rows), found, dtype=torch.int64)
    if not found:
        return values, index.to(rows.device)
    index = index.to(rows.device)
    step = max(1, _BLOCK // len(keys))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        similar = rows[part] @ keys.T
        if same:
            at = torch.arange(len(similar), device=rows.device)
            similar[at, at + start] = -torch.inf
        values[part], index[part] = similar.topk(found, 1)
    return values, index


def sparse(index: torch.Tensor, values: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """A coalesced sparse matrix: entries at the same place are added.

    Args:
        index: (2, e) int64 rows and columns.
        values: (e,).
        shape: of the matrix.
    """
    made = torch.sparse_coo_tensor(index, values, shape, check_invariants=True)
    return made.coalesce()


def neighbour_graph(x: torch.Tensor, k: int) -> torch.Tensor:
    """(n, n) sparse matrix W: w_ij is the cosine of rows i and j where j is among the k nearest of i, else 0.

    Negative cosines count as 0, so that W holds no repulsion. W isn't symmetric; ``W + W'`` is.

    Args:
        x: (n, D) rows of length 1.
        k: neighbours of each row, itself left out.
    """
    values, index = nearest(x, x, k, same=True)
    rows = torch.arange(len(x), device=x.device).repeat_interleave(index.shape[1])
    return sparse(torch.stack([rows, index.flatten()]), values.clamp(min=0).flatten(), (len(x), len(x)))
