"""Scenes to pixels, a batch at a time in torch: warp a mask, ink it, put it on a background, spoil it like a camera."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

from clipwright.assets.renderer.atlas import Atlas
from clipwright.assets.renderer.counter import mix
from clipwright.assets.renderer.scenes import COLOURS, Scenes

SIZE = 32
"""Pixels per side of an image."""

_SCALES = torch.tensor([[0.55, 0.68], [0.74, 0.90], [0.94, 1.15]])  # drawing / (0.8 of the frame), small to large


class Renderer:
    """Renders scenes from an atlas.

    Args:
        atlas: Masks; kept as a float tensor.
        seed: Of the run. Batch `step` depends on (seed, step) alone.
    """

    def __init__(self, atlas: Atlas, seed: int) -> None:
        self._masks = torch.from_numpy(atlas.masks).float().div_(255)
        self._colours = torch.tensor(list(COLOURS.values()), dtype=torch.float32) / 255
        self._seed = seed

    def __call__(self, scenes: Scenes, step: int) -> torch.Tensor:
        """Render one batch.

        Args:
            scenes: B scenes.
            step: Counter of the batch.

        Returns:
            (B, 3, 32, 32) float32 in [0, 1].
        """
        g = torch.Generator().manual_seed(mix(self._seed, step) >> 1)
        table = torch.from_numpy(scenes.table)
        medium, colour, background, texture, size = table[:, 1:].unbind(1)
        mask = _warp(self._masks[torch.from_numpy(scenes.mask)][:, None], size, medium == 0, g)
        mask = _weight(mask, medium, g)
        jitter = 0.07 * (torch.rand(2, len(table), 3, 1, 1, generator=g) - 0.5)
        paint = (self._colours[colour][:, :, None, None] + jitter[0]).clamp(0, 1)
        ground = (self._colours[background][:, :, None, None] + jitter[1]).clamp(0, 1)
        canvas = _ground(ground, g)
        body = _ink(paint, ground, mask, texture, g)
        image = canvas + mask * (body - canvas)
        return _camera(image, medium > 0, g)


def _uniform(g: torch.Generator, low: float, high: float, *shape: int) -> torch.Tensor:
    return low + (high - low) * torch.rand(*shape, generator=g)


def _warp(masks: torch.Tensor, size: torch.Tensor, shape: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """Turn, shear, stretch, move and wobble: (B, 1, 40, 40) -> (B, 1, 32, 32)."""
    n = len(masks)
    scale = _SCALES[size, 0] + (_SCALES[size, 1] - _SCALES[size, 0]) * torch.rand(n, generator=g)
    angle, shear = _uniform(g, -0.28, 0.28, n), _uniform(g, -0.25, 0.25, n)
    shear = torch.where(shape, 0.4 * shear, shear)
    aspect = torch.exp(torch.where(shape, 0.4, 1.0) * _uniform(g, -0.28, 0.28, n))
    room = (1.08 - 0.8 * scale).clamp(min=0.04)
    move = room[:, None] * _uniform(g, -0.8, 0.8, n, 2)
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    # affine_grid wants output -> input, so this is the inverse map: unrotate, unshear, unstretch.
    linear = torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1)
    linear = torch.stack(
        [aspect[:, None] * (linear[:, 0] + shear[:, None] * linear[:, 1]), linear[:, 1] / aspect[:, None]], 1
    )
    shift = -(linear @ move[:, :, None])
    grid = functional.affine_grid(torch.cat([linear, shift], 2), [n, 1, SIZE, SIZE], align_corners=False)
    wobble = functional.interpolate(
        torch.randn(n, 2, 4, 4, generator=g), size=(SIZE, SIZE), mode="bicubic", align_corners=True
    )
    strength = _uniform(g, 0.0, 0.07, n, 1, 1, 1) * torch.where(shape, 0.5, 1.0)[:, None, None, None]
    return functional.grid_sample(masks, grid + (strength * wobble).permute(0, 2, 3, 1), align_corners=False)


def _weight(mask: torch.Tensor, medium: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """Fatten or thin the strokes of characters by up to a pixel."""
    amount = _uniform(g, -0.35, 1.0, len(mask), 1, 1, 1) * (medium > 0).float()[:, None, None, None]
    thick = functional.max_pool2d(mask, 3, 1, 1)
    thin = -functional.max_pool2d(-mask, 3, 1, 1)
    return mask + amount.clamp(min=0) * (thick - mask) + (-amount).clamp(min=0) * (thin - mask)


def _ink(
    paint: torch.Tensor, ground: torch.Tensor, mask: torch.Tensor, texture: torch.Tensor, g: torch.Generator
) -> torch.Tensor:
    """The object's surface (B, 3, 32, 32): plain, outlined, striped, dotted or checkered."""
    n = len(mask)
    axis = torch.arange(SIZE, dtype=torch.float32)
    angle = _uniform(g, 0, math.pi, n, 1, 1)
    wave = 2 * math.pi / _uniform(g, 5.0, 8.0, n, 1, 1)
    phase = _uniform(g, 0, 2 * math.pi, n, 2, 1, 1)
    u = torch.sin(wave * (axis * torch.cos(angle) + axis[:, None] * torch.sin(angle)) + phase[:, 0])
    v = torch.sin(wave * (axis[:, None] * torch.cos(angle) - axis * torch.sin(angle)) + phase[:, 1])
    inner = -functional.max_pool2d(-mask, 5, 1, 2)[:, 0]
    patterns = torch.stack(
        [torch.zeros_like(u), inner, (u * 4).clamp(0, 1), ((u + v) * 3 - 2).clamp(0, 1), (u * v * 8).clamp(0, 1)]
    )
    pattern = patterns[texture, torch.arange(n)][:, None]
    # The second colour is the background's, half way for characters' sake: their strokes must not vanish.
    light = torch.where(texture == 1, 1.0, 0.7)[:, None, None, None]
    return paint + pattern * light * (ground - paint)


def _ground(colour: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """The background (B, 3, 32, 32): flat, shaded along a direction, or cloudy."""
    n = len(colour)
    clouds = functional.interpolate(
        torch.randn(n, 1, 5, 5, generator=g), size=(SIZE, SIZE), mode="bilinear", align_corners=True
    )
    tilt = _uniform(g, -1, 1, n, 2, 1, 1)
    axis = torch.linspace(-1, 1, SIZE)
    slope = (tilt[:, :1] * axis + tilt[:, 1:] * axis[:, None]).reshape(n, 1, SIZE, SIZE)
    kind = torch.randint(0, 4, (n,), generator=g)
    strengths = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.12, 0.0], [0.0, 0.07]])[kind]
    return (colour + strengths[:, 0, None, None, None] * slope + strengths[:, 1, None, None, None] * clouds).clamp(0, 1)


def _camera(image: torch.Tensor, character: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """Low resolution, blur, noise, brightness and contrast."""
    n = len(image)
    fate = torch.rand(n, generator=g)
    for low, high, side in ((0.0, 0.1, 16), (0.1, 0.28, 12), (0.28, 0.46, 10)):
        rows = torch.nonzero((fate >= low) & (fate < high) & (character | (side > 12)))[:, 0]
        if len(rows):
            small = functional.interpolate(image[rows], size=(side, side), mode="area")
            image[rows] = functional.interpolate(small, size=(SIZE, SIZE), mode="bicubic", align_corners=False)
    rows = torch.nonzero(fate > 0.8)[:, 0]
    if len(rows):
        image[rows] = functional.avg_pool2d(functional.pad(image[rows], (1, 1, 1, 1), mode="replicate"), 3, 1)
    image = image + _uniform(g, 0, 0.06, n, 1, 1, 1) * torch.randn(image.shape, generator=g)
    gain, offset = _uniform(g, 0.85, 1.1, n, 1, 1, 1), _uniform(g, -0.06, 0.06, n, 1, 1, 1)
    return (gain * image + offset).clamp(0, 1)


def to_uint8(images: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Convert rendered images to pixels.

    Args:
        images: (B, 3, H, W) float in [0, 1].

    Returns:
        (B, H, W, 3) uint8.
    """
    return np.asarray(images.mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy())
