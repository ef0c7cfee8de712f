"""Colours are changed as torchvision changes them, as often, and from the generator alone."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from clipwright.backbones.jitter import jitter, recoloured
from clipwright.core.rng import generator


def picture(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 20, 3), dtype=np.uint8), "RGB")


@pytest.mark.parametrize("seed", range(6))
def test_each_change_is_torchvisions(seed: int) -> None:
    from torchvision.transforms import functional

    rng = np.random.default_rng(seed)
    image, turn, order = picture(seed), float(rng.uniform(-0.1, 0.1)), rng.permutation(4).tolist()
    factors = rng.uniform(0.5, 1.5, 3).tolist()
    expected = image
    changes = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)
    for what in order:
        amount = turn if what == 3 else factors[what]
        expected = (functional.adjust_hue if what == 3 else changes[what])(expected, amount)
    np.testing.assert_array_equal(recoloured(image, factors, turn, order), expected)


def test_how_often_colours_change() -> None:
    image, rng, draws = picture(), generator(0, "often"), 1500
    kept = grey = 0
    for _ in range(draws):
        pixels = np.asarray(jitter(image, rng))
        is_grey = bool((pixels == pixels[..., :1]).all())
        grey += is_grey
        kept += np.array_equal(pixels, np.asarray(image))
    deviation = (draws * 0.2 * 0.8) ** 0.5
    assert abs(grey - 0.2 * draws) < 5 * deviation
    assert abs(kept - 0.2 * 0.8 * draws) < 5 * deviation


def test_one_generator_gives_one_image() -> None:
    first, second, other = (np.asarray(jitter(picture(), generator(seed, "a"))) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
