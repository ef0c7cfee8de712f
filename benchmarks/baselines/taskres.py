"""TaskRes as released: every epoch crops and flips each support image anew, encodes it, and takes an Adam step.

The images are decoded once and kept, so no epoch reads or decodes a file; crop and resize are one Pillow call; pixels
are normalised as one tensor and encoded as one batch in inference mode.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image

Encode = Callable[[torch.Tensor], torch.Tensor]


def crop_box(width: int, height: int, rng: random.Random) -> tuple[float, float, float, float]:
    """The box of a random resized crop: 8 % to all of the area, aspect ratio 3/4 to 4/3."""
    for _ in range(10):
        area = rng.uniform(0.08, 1) * width * height
        aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = rng.randint(0, width - w), rng.randint(0, height - h)
            return left, top, left + w, top + h
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def augmented(images: Sequence[Image.Image], size: int, rng: random.Random) -> torch.Tensor:
    """(n, 3, size, size) uint8: each image cropped at random, resized bicubically, and mirrored half of the time."""
    pixels = np.empty((len(images), size, size, 3), np.uint8)
    for row, image in zip(pixels, images, strict=True):
        crop = image.resize((size, size), Image.Resampling.BICUBIC, box=crop_box(image.width, image.height, rng))
        row[:] = np.asarray(crop) if rng.random() < 0.5 else np.asarray(crop)[:, ::-1]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def fit(
    encode: Encode,
    images: Sequence[Image.Image],
    labels: torch.Tensor,
    base: torch.Tensor,
    *,
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
    learning_rates: Sequence[float],
    alpha: float = 0.5,
    logit_scale: float = 100.0,
) -> torch.Tensor:
    """(C, D) class weights after one epoch per learning rate; all images are one batch."""
    rng = random.Random(0)  # noqa: S311 - augmentation
    centre = 255 * torch.tensor(mean)[:, None, None]
    spread = 255 * torch.tensor(std)[:, None, None]
    residual = torch.zeros_like(base, requires_grad=True)
    adam = torch.optim.Adam([residual], weight_decay=5e-4, fused=True)
    for rate in learning_rates:
        with torch.inference_mode():
            x = torch.nn.functional.normalize(encode((augmented(images, size, rng).float() - centre) / spread), dim=-1)
        adam.param_groups[0]["lr"] = rate
        weight = torch.nn.functional.normalize(base + alpha * residual, dim=-1)
        loss = torch.nn.functional.cross_entropy(logit_scale * x.clone() @ weight.T, labels)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        adam.step()
    return torch.nn.functional.normalize(base + alpha * residual.detach(), dim=-1)
