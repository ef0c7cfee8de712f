"""The image tower: a small residual convolutional network at 32x32, in the form that timm's factory builds."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

NAME = "clipwright_tiny_cnn"
"""The name in timm's registry, and so in open_clip's `timm_model_name`."""


def _convolution(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """A convolution whose input is added to its output; (n, c, h, w) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = _convolution(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the block."""
        return x + self.body(x)  # type: ignore[no-any-return]  # a Sequential's call is untyped


class TinyCNN(nn.Module):
    """Seven convolutions, then the mean over positions: (n, 3, 32, 32) to (n, 256).

    Only what open_clip asks of a timm model is here: `default_cfg`, `num_features`, `reset_classifier`.
    """

    num_features = 256

    def __init__(self) -> None:
        super().__init__()
        self.default_cfg: dict[str, Any] = {"input_size": (3, 32, 32), "pool_size": None}
        self.stages = nn.Sequential(
            _convolution(3, 32, stride=2),
            _convolution(32, 64),
            _convolution(64, 128, stride=2),
            Residual(128),
            _convolution(128, 192, stride=2),
            Residual(192),
            _convolution(192, self.num_features),
        )

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Accept what open_clip calls: there is no classifier, and the pooling is always the mean.

        Raises:
            ValueError: A classifier or another pooling was asked for.
        """
        if num_classes != 0 or global_pool not in (None, "", "avg"):
            msg = f"{NAME} gives mean-pooled features only: use timm_pool 'avg' and a projection."
            raise ValueError(msg)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute features before the projection."""
        return self.stages(x).mean((2, 3))  # type: ignore[no-any-return]  # a Sequential's call is untyped


def clipwright_tiny_cnn(pretrained: bool = False, **_: object) -> TinyCNN:
    """Entry point for timm; its other options don't apply."""
    if pretrained:
        msg = f"{NAME} has no weights of its own: load the whole CLIP with clipwright.assets.tiny.load()."
        raise ValueError(msg)
    return TinyCNN()


def register() -> None:
    """Put the entry point into timm's registry, once."""
    import timm

    if not timm.is_model(NAME):
        timm.models.register_model(clipwright_tiny_cnn)
