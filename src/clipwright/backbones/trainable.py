"""Copies of a backbone's towers that can be trained: float32, from uint8 pixels or tokens to raw features."""

from __future__ import annotations

import torch
from torch import nn

from clipwright.backbones.image_tower import ImageTower
from clipwright.backbones.text_tower import TextTower


class ImageModule(nn.Module):
    """(b, 3, H, W) uint8 pixels to (b, D) raw features, with gradients.

    Args:
        tower: the tower to copy.
        mean: (1, 3, 1, 1), of pixels in [0, 1].
        std: (1, 3, 1, 1).
    """

    _mean: torch.Tensor
    _std: torch.Tensor

    def __init__(self, tower: ImageTower, mean: torch.Tensor, std: torch.Tensor) -> None:
        super().__init__()
        self._parts = tower.copied()
        self.tower = self._parts.module.float().requires_grad_(True)
        self.register_buffer("_mean", mean, persistent=False)
        self.register_buffer("_std", std, persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(b, D) float32 features of uint8 pixels, wherever they are."""
        x = pixels.to(self._mean.device, non_blocking=True).float().div_(255).sub_(self._mean).div_(self._std)
        return self._parts(x.contiguous(memory_format=torch.channels_last))[0]


class TextModule(nn.Module):
    """(b, l) tokens to (b, D) raw features, with gradients; the logit scale isn't trained.

    Args:
        tower: the tower to copy.
        device: where it runs.
    """

    def __init__(self, tower: TextTower, device: torch.device) -> None:
        super().__init__()
        self._parts, module = tower.copied()
        self.tower = module.float().requires_grad_(True)
        for name, parameter in module.named_parameters():
            if name.rpartition(".")[2] in {"logit_scale", "logit_bias"}:
                parameter.requires_grad_(False)
        self._device = device

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(b, D) float32 features."""
        return self._parts.encode(tokens.to(self._device)).float()
