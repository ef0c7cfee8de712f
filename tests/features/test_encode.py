"""Encoding pixels in batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from clipwright.features.encode import Encoder


@pytest.mark.parametrize("limit", [1, 4, 7, 100])
def test_batches_change_nothing(conv: Any, rng: np.random.Generator, limit: int) -> None:
    backbone = conv().load()
    pixels = rng.integers(0, 256, (11, 3, 16, 16), dtype=np.uint8)
    x, before = Encoder(backbone, limit)(pixels)
    expected = backbone.images(torch.from_numpy(pixels))
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, expected.x.numpy(), atol=1e-6)
    assert before is not None
    np.testing.assert_allclose(before, expected.pre_projection.numpy(), atol=1e-6)
    assert max(backbone.batches[:-1]) <= limit
