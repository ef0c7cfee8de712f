"""Small tensor functions."""

from __future__ import annotations

import torch

from clipwright.core.tensors import unit_rows


def test_rows_get_length_one_and_zero_stays_zero() -> None:
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1e-20, 0.0]])
    assert torch.allclose(unit_rows(x)[0], torch.tensor([0.6, 0.8]))
    assert unit_rows(x)[1].tolist() == [0.0, 0.0]


def test_narrow_types_are_widened_and_wide_ones_kept() -> None:
    assert unit_rows(torch.ones(1, 2, dtype=torch.float16)).dtype == torch.float32
    assert unit_rows(torch.ones(1, 2, dtype=torch.bfloat16)).dtype == torch.float32
    assert unit_rows(torch.ones(1, 2, dtype=torch.float64)).dtype == torch.float64
    assert unit_rows(torch.ones(2, 3, 4)).norm(dim=-1).allclose(torch.ones(2, 3))
