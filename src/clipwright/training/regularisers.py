"""What keeps the embeddings of a batch spread out: variance per dimension, and no covariance between dimensions."""

from __future__ import annotations

import torch

from clipwright.core.errors import UsageError

_EPSILON = 1e-7  # RegFT's; VICReg has 1e-4


def _centred(embeddings: torch.Tensor) -> torch.Tensor:
    """(B, D) rows without their mean, in float32 or wider."""
    if embeddings.ndim != 2 or len(embeddings) < 2:
        raise UsageError(
            f"variance and covariance need at least 2 embeddings in a batch, of shape (B, D); these have shape "
            f"{tuple(embeddings.shape)}: leave incomplete batches out, or set the weights of both to 0."
        )
    wide = embeddings if embeddings.dtype in {torch.float32, torch.float64} else embeddings.float()
    return wide - wide.mean(0)


def variance_loss(embeddings: torch.Tensor) -> torch.Tensor:
    """How far the standard deviation of each dimension falls short of 1: ``mean_j max(0, 1 - sqrt(S_jj + 1e-7))``.

    S is the unbiased covariance of the rows. Source: VICReg (Bardes et al., ICLR 2022), the form of RegFT, which looks
    at raw image embeddings.

    Args:
        embeddings: (B, D) raw embeddings of a whole batch, B at least 2.

    Returns:
        A scalar in [0, 1), float32 or wider whatever autocast says.

    Raises:
        UsageError: there are fewer than 2 rows.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        x = _centred(embeddings)
        deviation = (x.square().sum(0) / (len(x) - 1) + _EPSILON).sqrt()
        return (1 - deviation).clamp_min(0).mean()


def covariance_loss(embeddings: torch.Tensor) -> torch.Tensor:
    """Mean squared covariance of two dimensions: ``sum_{i != j} S_ij^2 / (D (D - 1))``.

    VICReg divides by D instead. Source: as `variance_loss`.

    Args:
        embeddings: (B, D) raw embeddings of a whole batch, B at least 2.

    Returns:
        A scalar that is at least 0, float32 or wider whatever autocast says; 0 for D = 1.

    Raises:
        UsageError: there are fewer than 2 rows.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        x = _centred(embeddings)
        dim = x.shape[1]
        covariance = x.T @ x / (len(x) - 1)
        # The diagonal is taken out before squaring: subtracting its squares afterwards would cancel digits.
        apart = covariance - torch.diag(covariance.diagonal())
        return apart.square().sum() / max(1, dim * (dim - 1))
