"""Class vectors behind a bottleneck beside the image feature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clipwright.core.errors import DataError, FormatError
from clipwright.heads.adapter import AdapterHead, adapted
from clipwright.heads.base import describe
from clipwright.heads.io import head_state, load_head, restore_head, save_head
from clipwright.heads.linear import LinearHead

WEIGHT = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-0.6, 0.8]], dtype=torch.float64)
DOWN = torch.tensor([[1.0, -1.0, 0.5], [0.5, 2.0, -1.0]], dtype=torch.float64)
UP = torch.tensor([[1.0, -2.0], [0.0, 1.0], [-1.0, 0.5]], dtype=torch.float64)


def head(**fields: Any) -> AdapterHead:
    return AdapterHead(WEIGHT, DOWN, UP, **{"ratio": 0.3, "scale": 10, **fields})


@pytest.mark.parametrize("second", [False, True])
def test_against_numpy(second: bool) -> None:
    x = torch.randn(6, 2, dtype=torch.float64)
    v = x.numpy() / np.linalg.norm(x.numpy(), axis=1, keepdims=True)
    made = np.maximum(v @ DOWN.numpy(), 0) @ UP.numpy()
    mixed = 0.7 * v + 0.3 * (np.maximum(made, 0) if second else made)
    expected = 10 * mixed / np.linalg.norm(mixed, axis=1, keepdims=True) @ WEIGHT.numpy().T
    np.testing.assert_allclose(head(second_relu=second)(x).numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("second", [False, True])
def test_the_length_of_a_row_changes_its_adapted_length_alone(second: bool) -> None:
    x = torch.randn(6, 2, dtype=torch.float64)
    small = adapted(x, DOWN, UP, 0.3, second_relu=second)
    torch.testing.assert_close(adapted(7 * x, DOWN, UP, 0.3, second_relu=second), 7 * small)
    torch.testing.assert_close(head(second_relu=second)(7 * x), head(second_relu=second)(x))


def test_nothing_out_of_the_bottleneck_is_a_linear_head() -> None:
    x = torch.randn(6, 2, dtype=torch.float64)
    expected = LinearHead(WEIGHT, scale=10)(x)
    torch.testing.assert_close(AdapterHead(WEIGHT, DOWN, torch.zeros_like(UP), ratio=0.3, scale=10)(x), expected)
    torch.testing.assert_close(head(ratio=0.0)(x), expected)


def test_rows_without_length_and_no_rows() -> None:
    assert bool(torch.isfinite(head()(torch.zeros(3, 2, dtype=torch.float64))).all())
    assert head()(torch.zeros(0, 2)).shape == (0, 3)


@pytest.mark.parametrize("index", [torch.tensor([2, 0]), torch.tensor([1, 1, 2])])
def test_restricted_to_some_classes(index: torch.Tensor) -> None:
    x = torch.randn(5, 2, dtype=torch.float64)
    small = head(second_relu=True).restrict(index)
    assert isinstance(small, AdapterHead)
    assert torch.equal(small(x), head(second_relu=True)(x)[:, index])
    with pytest.raises(DataError, match="class numbers"):
        head().restrict(torch.tensor([3]))


@pytest.mark.parametrize("second", [False, True])
def test_saved_and_loaded(tmp_path: Path, second: bool) -> None:
    save_head(head(second_relu=second), tmp_path / "head.safetensors")
    again, x = load_head(tmp_path / "head.safetensors"), torch.randn(4, 2, dtype=torch.float64)
    assert isinstance(again, AdapterHead)
    assert again.second_relu is second
    assert torch.equal(again(x), head(second_relu=second)(x))
    assert again.n_classes == 3


def test_weights_of_another_shape_are_refused() -> None:
    state = head_state(head()) | {"up": torch.zeros(2, 3, dtype=torch.float64)}
    with pytest.raises(FormatError, match="damaged"):
        restore_head(describe(head()), state)


@pytest.mark.parametrize(
    ("weight", "down", "up"), [(WEIGHT, DOWN, DOWN), (WEIGHT.T, DOWN, UP), (WEIGHT[0], DOWN, UP), (WEIGHT, DOWN[0], UP)]
)
def test_shapes_that_do_not_fit_are_refused(weight: torch.Tensor, down: torch.Tensor, up: torch.Tensor) -> None:
    with pytest.raises(DataError, match="an adapter takes"):
        AdapterHead(weight, down, up, ratio=0.3)


def test_it_can_be_exported_with_a_free_batch_size() -> None:
    exported = torch.export.export(
        head(), (torch.randn(4, 2, dtype=torch.float64),), dynamic_shapes=({0: torch.export.Dim("rows")},)
    ).module()
    x = torch.randn(9, 2, dtype=torch.float64)
    torch.testing.assert_close(exported(x), head()(x))
