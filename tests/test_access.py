"""What a fit changed in a tower: whole tensors, factors, their digest, and what is refused."""

from __future__ import annotations

import pytest
import torch

from clipwright.access import TowerUpdate
from clipwright.core.errors import DataError


def update() -> TowerUpdate:
    return TowerUpdate("x", "d", {"b": torch.ones(2)}, {"a": (torch.ones(3, 1), torch.ones(1, 4))})


def test_flat_and_back() -> None:
    made = update()
    again = TowerUpdate.from_flat("x", "d", made.flat())
    assert list(made.flat()) == ["a::down", "a::up", "b"]
    assert again.digest == made.digest
    assert TowerUpdate("x", "d", {"b": torch.zeros(2)}).digest != TowerUpdate("x", "d", {"b": torch.ones(2)}).digest
    assert TowerUpdate("x", "d", {"n": torch.tensor(3)}).digest  # a counter has no dimension


def test_apply_changes_in_place() -> None:
    state = {"a": torch.zeros(3, 2, 2), "b": torch.zeros(2), "c": torch.zeros(1)}
    update().apply(state)
    assert torch.equal(state["a"], torch.ones(3, 2, 2))
    assert torch.equal(state["b"], torch.ones(2))
    assert torch.equal(state["c"], torch.zeros(1))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"a": torch.zeros(3, 4)}, "has no b"),
        ({"a": torch.zeros(3, 4), "b": torch.zeros(3)}, "has no b"),
        ({"b": torch.zeros(2), "a": torch.zeros(3, 5)}, "another model"),
    ],
)
def test_another_model_is_refused(state: dict[str, torch.Tensor], said: str) -> None:
    with pytest.raises(DataError, match=said):
        update().apply(state)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(DataError, match="changes nothing"):
        TowerUpdate("x", "d", {})
    with pytest.raises(DataError, match="as a whole and by factors"):
        TowerUpdate("x", "d", {"a": torch.ones(1)}, {"a": (torch.ones(1, 1), torch.ones(1, 1))})
