"""Class vectors behind a shift of the images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clipwright.core.errors import DataError
from clipwright.heads.io import load_head, save_head
from clipwright.heads.shift import ShiftHead

WEIGHT = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-0.6, 0.8]], dtype=torch.float64)
SHIFT = torch.tensor([0.0, 4.0], dtype=torch.float64)


def test_rows_at_a_given_length() -> None:
    head = ShiftHead(WEIGHT, SHIFT, scale=10, length=3)
    found = head(torch.tensor([[5.0, 0.0], [0.5, 0.0]], dtype=torch.float64))  # both become (3, 0) + (0, 4)
    torch.testing.assert_close(found, torch.tensor([[6.0, 8.0, 2.8]] * 2, dtype=torch.float64))


def test_rows_as_they_come() -> None:
    head = ShiftHead(WEIGHT, SHIFT, scale=10, length=0)
    found = head(torch.tensor([[3.0, 0.0], [0.0, 1.0]], dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor([[6.0, 8.0, 2.8], [0.0, 10.0, 8.0]], dtype=torch.float64))


def test_saved_and_loaded(tmp_path: Path) -> None:
    head = ShiftHead(WEIGHT, SHIFT, scale=10, length=3)
    save_head(head, tmp_path / "head.safetensors")
    again, x = load_head(tmp_path / "head.safetensors"), torch.randn(4, 2, dtype=torch.float64)
    assert isinstance(again, ShiftHead)
    assert torch.equal(again(x), head(x))
    assert again.n_classes == 3


@pytest.mark.parametrize("shift", [torch.zeros(3), torch.zeros(1, 2)])
def test_a_shift_of_another_width_is_refused(shift: torch.Tensor) -> None:
    with pytest.raises(DataError, match="a shift takes"):
        ShiftHead(WEIGHT, shift)
