"""Small tensor functions that several rooms share."""

from __future__ import annotations

import torch


def unit_rows(x: torch.Tensor) -> torch.Tensor:
    """Rows of `x` (..., D) scaled to length 1, in float32 or wider; zero rows stay zero."""
    x = x if x.dtype in {torch.float32, torch.float64} else x.float()
    return torch.nn.functional.normalize(x, dim=-1)
