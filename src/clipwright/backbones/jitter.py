"""Colours shaken as LatteCLIP's training does: brightness, contrast, saturation and hue, and grey now and then."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageEnhance

STRENGTH, HUE = 0.5, 0.1
JITTERED, GREY = 0.8, 0.2
"""Shares of the images whose colours are changed, and which become grey."""

_ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


def jitter(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """An RGB image in other colours.

    The distribution of torchvision's ``ColorJitter(0.5, 0.5, 0.5, 0.1)`` at a probability of 0.8, followed by
    ``RandomGrayscale(0.2)``; all numbers are drawn from `rng`, as many for each image.

    Args:
        image: an RGB image.
        rng: all randomness comes from here.
    """
    changed, grey = rng.random(2)
    factors = rng.uniform(1 - STRENGTH, 1 + STRENGTH, 3)
    turn, order = float(rng.uniform(-HUE, HUE)), rng.permutation(4).tolist()
    if changed < JITTERED:
        image = recoloured(image, factors.tolist(), turn, order)
    return image.convert("L").convert("RGB") if grey < GREY else image


def recoloured(image: Image.Image, factors: list[float], turn: float, order: list[int]) -> Image.Image:
    """An RGB image with its colours changed.

    Args:
        image: an RGB image.
        factors: of brightness, contrast and saturation, at least 0; 1 = as it is.
        turn: what is added to the hue, in full turns.
        order: of 0 (brightness), 1 (contrast), 2 (saturation) and 3 (hue).
    """
    for what in order:
        image = _turned(image, turn) if what == 3 else _ENHANCERS[what](image).enhance(factors[what])
    return image


def _turned(image: Image.Image, turn: float) -> Image.Image:
    hue, saturation, value = image.convert("HSV").split()
    turned = np.asarray(hue, dtype=np.uint8) + np.uint8(int(turn * 255) % 256)  # goes round
    return Image.merge("HSV", (Image.fromarray(turned), saturation, value)).convert("RGB")
