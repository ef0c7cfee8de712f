"""The state that does best on a validation set is kept."""

from __future__ import annotations

import pytest
import torch

from clipwright.task import Features, Task
from clipwright.training.selection import BestState, best_state, labels_used

X = torch.eye(2, dtype=torch.float64)
Y = torch.tensor([0, 1])
BIAS = torch.zeros(2, dtype=torch.float64)


def looked(by: str, *scales: float) -> BestState:
    best = BestState(7 * X, Y, by)  # type: ignore[arg-type] # one of the two
    for at, scale in enumerate(scales):
        best.look(at, scale * X, BIAS)
    return best


def test_the_lowest_loss_wins_and_of_equals_the_first() -> None:
    assert looked("loss", 1, 3, 3, 2).at == 1


def test_the_highest_accuracy_wins_and_of_equals_the_last() -> None:
    best = looked("accuracy", -1, 3, 1, -2)
    assert best.at == 2
    assert torch.equal(best.weight, X)


def test_what_is_kept_is_a_copy() -> None:
    best, weight = BestState(X, Y, "loss"), X.clone()
    best.look(0, weight, BIAS, scale=5.0)
    weight.zero_()
    assert torch.equal(best.weight, X)


def test_the_first_state_is_kept_even_if_its_loss_is_infinite() -> None:
    best = looked("loss", float("inf"))
    assert best.at == 0


@pytest.mark.parametrize("selection", ["loss", "last"])
def test_nothing_watches_where_there_is_nothing_to_watch(selection: str) -> None:
    rows = Features(X, Y)
    tasks = [Task(("a", "b"), None, rows), Task(("a", "b"), None, rows, rows[:0]), Task(("a", "b"), None, rows, rows)]
    found = [best_state(task, selection) is not None for task in tasks]  # type: ignore[arg-type] # one of the three
    assert found == [False, False, selection == "loss"]
    assert [labels_used(task) for task in tasks] == [(1, 1), (1, 1), (2, 2)]
