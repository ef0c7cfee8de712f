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

_SCALES = ((0.55, 0.68), (0.74, 0.90), (0.94, 1.15))  # drawing / (0.8 of the frame), small to large


class Renderer:
    """Renders scenes from an atlas.

    Args:
        atlas: Masks; kept as a float tensor.
        seed: Of the run. Batch `step` depends on (seed, step) and the kind of device alone.
        device: Where to compute.
    """

    def __init__(self, atlas: Atlas, seed: int, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._masks = torch.from_numpy(atlas.masks).float().div_(255).to(self._device)
        self._colours = (torch.tensor(list(COLOURS.values()), dtype=torch.float32) / 255).to(self._device)
        self._seed = seed

    def __call__(self, scenes: Scenes, step: int) -> torch.Tensor:
        """Render one batch.

        Args:
            scenes: B scenes.
            step: Counter of the batch.

        Returns:
            (B, 3, 32, 32) float32 in [0, 1].
        """
        g = torch.Generator(self._device).manual_seed(mix(self._seed, step) >> 1)
        table = torch.from_numpy(scenes.table).to(self._device)
        medium, colour, background, texture, size, weight, quality = table[:, 1:].unbind(1)
        mask = _warp(self._masks[torch.from_numpy(scenes.mask).to(self._device)][:, None], size, medium == 0, g)
        mask = _weight(mask, weight, medium > 0, g)
        jitter = _uniform(g, -0.035, 0.035, 2, len(table), 3, 1, 1)
        paint = (self._colours[colour][:, :, None, None] + jitter[0]).clamp(0, 1)
        ground = (self._colours[background][:, :, None, None] + jitter[1]).clamp(0, 1)
        canvas = _ground(ground, g)
        body = paint + _pattern(mask, texture, medium > 0, g) * (ground - paint)
        image = canvas + mask * (body - canvas)
        return _camera(image, quality, medium > 0, g)


def _uniform(g: torch.Generator, low: float, high: float, *shape: int) -> torch.Tensor:
    return low + (high - low) * torch.rand(*shape, generator=g, device=g.device)


def _warp(masks: torch.Tensor, size: torch.Tensor, shape: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """Turn, shear, stretch, move and wobble: (B, 1, 40, 40) -> (B, 1, 32, 32)."""
    n = len(masks)
    low, high = torch.tensor(_SCALES, device=g.device)[size].unbind(1)
    scale = low + (high - low) * _uniform(g, 0, 1, n)
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
        torch.randn(n, 2, 4, 4, generator=g, device=g.device), size=(SIZE, SIZE), mode="bicubic", align_corners=True
    )
    strength = _uniform(g, 0.0, 0.07, n, 1, 1, 1) * torch.where(shape, 0.5, 1.0)[:, None, None, None]
    return functional.grid_sample(masks, grid + (strength * wobble).permute(0, 2, 3, 1), align_corners=False)


def _weight(mask: torch.Tensor, weight: torch.Tensor, character: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """Thin the strokes of characters by up to half a pixel, or fatten them by up to a pixel and a half."""
    low, high = torch.tensor([[-0.55, -0.1, 0.6], [-0.15, 0.35, 1.5]], device=g.device)[:, weight]
    amount = (low + (high - low) * _uniform(g, 0, 1, len(mask))) * character.float()
    amount = amount[:, None, None, None]
    thick = functional.max_pool2d(mask, 3, 1, 1)
    thicker = functional.max_pool2d(thick, 3, 1, 1)
    thin = -functional.max_pool2d(-mask, 3, 1, 1)
    up, more, down = amount.clamp(0, 1), (amount - 1).clamp(min=0), (-amount).clamp(min=0)
    inked: torch.Tensor = mask + up * (thick - mask) + more * (thicker - thick) + down * (thin - mask)
    return inked


def _pattern(mask: torch.Tensor, texture: torch.Tensor, character: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """How much of the ground's colour the surface takes (B, 1, 32, 32): plain, outlined, striped, dotted, checkered."""
    n = len(mask)
    axis = torch.arange(SIZE, dtype=torch.float32, device=g.device)
    angle = _uniform(g, 0, math.pi, n, 1, 1)
    wave = 2 * math.pi / _uniform(g, 5.0, 8.0, n, 1, 1)
    phase = _uniform(g, 0, 2 * math.pi, n, 2, 1, 1)
    u = torch.sin(wave * (axis * torch.cos(angle) + axis[:, None] * torch.sin(angle)) + phase[:, 0])
    v = torch.sin(wave * (axis[:, None] * torch.cos(angle) - axis * torch.sin(angle)) + phase[:, 1])
    inner = -functional.max_pool2d(-mask, 5, 1, 2)[:, 0]
    patterns = torch.stack(
        [torch.zeros_like(u), inner, (u * 4).clamp(0, 1), ((u + v) * 3 - 2).clamp(0, 1), (u * v * 8).clamp(0, 1)]
    )
    # Not all the way for characters: their strokes must not vanish.
    light = torch.where(character, 0.6, torch.where(texture == 1, 1.0, 0.9))[:, None, None]
    return (patterns[texture, torch.arange(n, device=g.device)] * light)[:, None]


def _ground(colour: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """The background (B, 3, 32, 32): flat, shaded along a direction, or cloudy."""
    n = len(colour)
    clouds = functional.interpolate(
        torch.randn(n, 1, 5, 5, generator=g, device=g.device), size=(SIZE, SIZE), mode="bilinear", align_corners=True
    )
    tilt = _uniform(g, -1, 1, n, 2, 1, 1)
    axis = torch.linspace(-1, 1, SIZE, device=g.device)
    slope = (tilt[:, :1] * axis + tilt[:, 1:] * axis[:, None]).reshape(n, 1, SIZE, SIZE)
    kind = torch.randint(0, 4, (n,), generator=g, device=g.device)
    strengths = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.12, 0.0], [0.0, 0.07]], device=g.device)[kind]
    return (colour + strengths[:, 0, None, None, None] * slope + strengths[:, 1, None, None, None] * clouds).clamp(0, 1)


def _camera(image: torch.Tensor, quality: torch.Tensor, character: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    """Blur, low resolution or noise, as the scene says; brightness, contrast and a little noise in any case."""
    n = len(image)
    fate = _uniform(g, 0, 1, n)
    # A drawing in 10 cells can still be read when it is a character; a shape needs more.
    side = torch.where(character, torch.where(fate < 0.22, 16, torch.where(fate < 0.6, 12, 10)), 14)
    for cells in (16, 14, 12, 10):
        rows = torch.nonzero((quality == 2) & (side == cells))[:, 0]
        if len(rows):
            small = functional.interpolate(image[rows], size=(cells, cells), mode="area")
            image[rows] = functional.interpolate(small, size=(SIZE, SIZE), mode="bicubic", align_corners=False)
    rows = torch.nonzero(quality == 1)[:, 0]
    for _ in range(2):
        if len(rows):
            image[rows] = functional.avg_pool2d(functional.pad(image[rows], (1, 1, 1, 1), mode="replicate"), 3, 1)
    level = torch.where(quality == 3, 0.08, 0.0) + _uniform(g, 0, 0.04, n)
    image = image + level[:, None, None, None] * torch.randn(image.shape, generator=g, device=g.device)
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
