from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from clipwright.backbones.base import ImageFeatures
from clipwright.backbones.image_tower import ImageTower, open_clip_tower, take_visual

Saved = Callable[[str], tuple[Any, Path]]


@pytest.mark.parametrize("name", ["small-vit", "small-resnet", "small-timm", "small-coca"])
@torch.inference_mode()
def test_the_tower_in_two_parts_is_the_tower(name: str, save_weights: Saved) -> None:
    model, _ = save_weights(name)
    tower = open_clip_tower(model)
    size = model.visual.image_size
    side = size if isinstance(size, int) else size[0]
    pixels = torch.randn(2, 3, side, side, generator=torch.manual_seed(0))
    features, body = tower(pixels)
    torch.testing.assert_close(features, model.encode_image(pixels, normalize=False), atol=1e-5, rtol=1e-5)
    assert tower.weight is not None
    assert body is not None
    assert body.shape == (2, tower.weight().shape[0])


@torch.inference_mode()
def test_changed_weights_are_used_at_once(save_weights: Saved) -> None:
    model, _ = save_weights("small-vit")
    tower = open_clip_tower(model)
    pixels = torch.zeros(1, 3, 32, 32)
    before, _ = tower(pixels)
    kept = model.visual.proj.clone()
    try:
        model.visual.proj.mul_(2)
        after, _ = tower(pixels)
    finally:
        model.visual.proj.copy_(kept)
    torch.testing.assert_close(after, 2 * before)


def test_projection_is_done_in_float32() -> None:
    weight, body = torch.randn(8, 4), torch.randn(3, 8).bfloat16()
    tower = ImageTower(torch.nn.Identity(), lambda pixels: pixels, take_visual, lambda: weight, lambda: torch.ones(4))
    features, before = tower(body)
    assert features.dtype == torch.float32
    assert before is not None
    torch.testing.assert_close(features, before @ weight + 1)


def test_without_a_projection_there_is_nothing_before_it() -> None:
    features, before = ImageTower(torch.nn.Identity(), lambda pixels: pixels, take_visual)(torch.ones(1, 4))
    assert before is None
    assert ImageFeatures(features).pre_projection is None
