"""Class vectors behind the tower's last matrix."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clipwright.core.errors import DataError, FormatError, NeedsError
from clipwright.fitted import Fitted
from clipwright.heads.base import describe
from clipwright.heads.io import head_state, load_head, restore_head, save_head
from clipwright.heads.linear import LinearHead
from clipwright.heads.projected import ProjectedHead
from clipwright.task import Features

WEIGHT = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-0.6, 0.8]], dtype=torch.float64)
PROJECTION = torch.tensor([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]], dtype=torch.float64)
BIAS = torch.tensor([0.0, 1.0], dtype=torch.float64)


def head(scale: float = 10) -> ProjectedHead:
    return ProjectedHead(PROJECTION, WEIGHT, BIAS, scale=scale)


def test_rows_are_projected_shifted_and_scaled_to_length_one() -> None:
    o = torch.tensor([[1.5, 1.5, 0.0], [0.0, 1.5, 3.0]], dtype=torch.float64)  # become (3, 4) and (3, 7)
    expected = torch.tensor([[6.0, 8.0, 2.8]], dtype=torch.float64)
    torch.testing.assert_close(head()(o)[:1], expected)
    length = 58**0.5
    row = torch.tensor([30.0, 70.0, 38.0], dtype=torch.float64) / length
    torch.testing.assert_close(head()(o)[1], row)


def test_it_is_a_linear_head_behind_the_projection() -> None:
    o = torch.randn(7, 3, dtype=torch.float64)
    torch.testing.assert_close(head()(o), LinearHead(WEIGHT, scale=10)(o @ PROJECTION + BIAS))
    without = ProjectedHead(PROJECTION, WEIGHT, scale=10)
    torch.testing.assert_close(without(o), LinearHead(WEIGHT, scale=10)(o @ PROJECTION))


def test_it_takes_the_features_before_the_projection() -> None:
    o = torch.randn(4, 3, dtype=torch.float64)
    fitted = Fitted(head())
    assert torch.equal(fitted(Features(o @ PROJECTION, pre_projection=o)), head()(o))
    assert fitted(Features(o[:0] @ PROJECTION, pre_projection=o[:0])).shape == (0, 3)
    with pytest.raises(NeedsError, match="pre_projection"):
        fitted(Features(o @ PROJECTION))
    small = Fitted(head().restrict(torch.tensor([2, 0])))
    assert torch.equal(small(Features(o @ PROJECTION, pre_projection=o)), head()(o)[:, [2, 0]])


def test_half_precision_rows_are_computed_in_the_heads_own() -> None:
    o = torch.randn(4, 3, dtype=torch.float16)
    assert head()(o).dtype == torch.float64
    assert ProjectedHead(PROJECTION.half(), WEIGHT.half())(o).dtype == torch.float32


@pytest.mark.parametrize("index", [torch.tensor([2, 0]), torch.tensor([1, 1, 2])])
def test_restricted_to_some_classes(index: torch.Tensor) -> None:
    o = torch.randn(5, 3, dtype=torch.float64)
    small = head().restrict(index)
    assert isinstance(small, ProjectedHead)
    assert torch.equal(small(o), head()(o)[:, index])
    with pytest.raises(DataError, match="class numbers"):
        head().restrict(torch.tensor([3]))


def test_saved_and_loaded(tmp_path: Path) -> None:
    save_head(head(), tmp_path / "head.safetensors")
    again, o = load_head(tmp_path / "head.safetensors"), torch.randn(4, 3, dtype=torch.float64)
    assert isinstance(again, ProjectedHead)
    assert torch.equal(again(o), head()(o))
    assert again.n_classes == 3
    assert again.inputs == ("pre_projection",)


def test_weights_of_another_shape_are_refused() -> None:
    state = head_state(head()) | {"projection": torch.zeros(3, 5, dtype=torch.float64)}
    with pytest.raises(FormatError, match="damaged"):
        restore_head(describe(head()), state)


@pytest.mark.parametrize(
    ("projection", "weight", "bias"),
    [
        (PROJECTION, torch.zeros(3, 4), None),
        (PROJECTION, WEIGHT[0], None),
        (PROJECTION[0], WEIGHT, None),
        (PROJECTION, WEIGHT, torch.zeros(3)),
        (PROJECTION, WEIGHT, torch.zeros(1, 2)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    projection: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> None:
    with pytest.raises(DataError, match="a projected head takes"):
        ProjectedHead(projection, weight, bias)


def test_it_can_be_exported_with_a_free_batch_size() -> None:
    exported = torch.export.export(
        head(), (torch.randn(4, 3, dtype=torch.float64),), dynamic_shapes=({0: torch.export.Dim("rows")},)
    ).module()
    o = torch.randn(9, 3, dtype=torch.float64)
    torch.testing.assert_close(exported(o), head()(o))
