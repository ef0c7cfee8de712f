"""The image towers of open_clip, taken apart before their last matrix."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class ImageTower:
    """An image tower and, where there is one, its last matrix.

    Attributes:
        module: holds all of the tower's weights.
        body: (b, 3, H, W) normalised pixels to (b, D') features before the projection, or (b, D) where there is none.
        take: takes a module of the same kind apart.
        weight: gives the (D', D) projection, or is None where the tower has no last matrix.
        bias: gives the (D,) vector added after the projection, or None.
    """

    module: nn.Module
    body: Callable[[torch.Tensor], torch.Tensor]
    take: Callable[[Any], ImageTower]
    weight: Callable[[], torch.Tensor] | None = None
    bias: Callable[[], torch.Tensor | None] = lambda: None

    def __call__(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(b, D) features and (b, D') features before the projection or None; the projection is done in float32."""
        body = self.body(pixels).float()
        if self.weight is None:
            return body, None
        bias = self.bias()
        features = body @ self.weight().float()
        return (features if bias is None else features + bias.float()), body

    def copied(self) -> ImageTower:
        """The same tower with weights of its own."""
        return self.take(copy.deepcopy(self.module))


def open_clip_tower(model: Any) -> ImageTower:
    """Take apart the image tower of an open_clip model (`CLIP`, `CustomTextCLIP`, `CoCa`)."""
    return take_visual(model.visual)


def take_visual(visual: Any) -> ImageTower:
    """Take apart what open_clip calls ``visual``."""
    from open_clip.modified_resnet import ModifiedResNet
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import VisionTransformer

    if isinstance(visual, VisionTransformer) and visual.proj is not None:
        return ImageTower(visual, lambda pixels: _vit_body(visual, pixels), take_visual, lambda: visual.proj)
    if isinstance(visual, ModifiedResNet):
        last = visual.attnpool.c_proj
        return ImageTower(
            visual,
            lambda pixels: _resnet_body(visual, pixels),
            take_visual,
            lambda: last.weight.T,
            lambda: last.bias,
        )
    if isinstance(visual, TimmModel) and isinstance(getattr(visual.head, "proj", None), nn.Linear):
        last = visual.head.proj
        before = [layer for name, layer in visual.head.named_children() if name != "proj"]
        return ImageTower(
            visual,
            lambda pixels: _through(before, visual.trunk(pixels)),
            take_visual,
            lambda: last.weight.T,
            lambda: last.bias,
        )
    return ImageTower(visual, lambda pixels: _first(visual(pixels)), take_visual)


def _first(answer: Any) -> torch.Tensor:
    """CoCa's tower gives the tokens besides."""
    features: torch.Tensor = answer[0] if isinstance(answer, tuple) else answer
    return features


def _through(layers: list[nn.Module], x: torch.Tensor) -> torch.Tensor:
    for layer in layers:
        x = layer(x)
    return x


def _vit_body(visual: Any, pixels: torch.Tensor) -> torch.Tensor:
    """(b, width) pooled token, as the tower's own forward has it just before the projection."""
    pooled: torch.Tensor = visual._pool(visual.transformer(visual._embeds(pixels)))[0]
    return pooled


def _resnet_body(visual: Any, pixels: torch.Tensor) -> torch.Tensor:
    """(b, E) attention-pooled features; only the mean token asks, as only its answer is used."""
    x = visual.stem(pixels)
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        x = layer(x)
    pool = visual.attnpool
    x = x.flatten(2).transpose(1, 2)  # (b, positions, E)
    x = torch.cat([x.mean(1, keepdim=True), x], 1) + pool.positional_embedding.to(x.dtype)
    rows, _, width = x.shape

    def heads(y: torch.Tensor) -> torch.Tensor:
        return y.view(rows, -1, pool.num_heads, width // pool.num_heads).transpose(1, 2)

    asked = nn.functional.scaled_dot_product_attention(
        heads(pool.q_proj(x[:, :1])), heads(pool.k_proj(x)), heads(pool.v_proj(x))
    )
    return asked.transpose(1, 2).reshape(rows, width)
