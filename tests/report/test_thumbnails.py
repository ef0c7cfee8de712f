"""Thumbnails of pictures of every kind."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from clipwright.report.thumbnails import SIZE, data_uri


def _back(uri: str) -> Image.Image:
    head, body = uri.split(",", 1)
    assert head in {"data:image/png;base64", "data:image/jpeg;base64"}
    return Image.open(io.BytesIO(base64.b64decode(body)))


def test_a_photograph_shrinks_to_a_few_kilobytes(rng: np.random.Generator) -> None:
    noise = Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)).resize((1600, 1200))
    uri, small = data_uri(noise)
    assert max(_back(uri).size) == SIZE
    assert not small
    assert len(uri) < 20_000


def test_a_tiny_picture_keeps_its_pixels(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 255, (8, 8), dtype=np.uint8)
    uri, small = data_uri(Image.fromarray(pixels))
    assert small
    np.testing.assert_array_equal(np.asarray(_back(uri))[:, :, 0], pixels)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"])
def test_every_mode_becomes_a_picture(mode: str) -> None:
    uri, _ = data_uri(Image.new(mode, (300, 3)))
    assert _back(uri).size == (SIZE, 2)
