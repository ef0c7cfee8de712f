"""RegFT's step as one would write it: forward, loss, backward, clip, AdamW, all on the whole batch."""

from __future__ import annotations

import torch
from torch import nn


def loss_of(embeddings: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, variance and covariance with the weights of RegFT."""
    n, dim = embeddings.shape
    centred = embeddings - embeddings.mean(0)
    covariance = centred.T @ centred / (n - 1)
    deviation = (covariance.diagonal() + 1e-7).sqrt()
    variance = torch.relu(1 - deviation).mean()
    off = (covariance - covariance.diagonal().diag()).square().sum() / (dim * (dim - 1))
    return nn.functional.cross_entropy(logits, labels) + 0.16 * variance + 0.02 * off


def step(
    tower: nn.Module,
    head: nn.Module,
    optimizer: torch.optim.Optimizer,
    pixels: torch.Tensor,
    labels: torch.Tensor,
    *,
    bf16: bool = False,
) -> float:
    """One step; the loss before it."""
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=bf16):
        embeddings = tower(pixels)
    embeddings = embeddings.float()
    loss = loss_of(embeddings, head(embeddings), labels)
    loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    return float(loss.detach())
