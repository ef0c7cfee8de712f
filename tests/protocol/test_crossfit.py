"""Held-out logits of several methods on the same folds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from clipwright.methods import make
from clipwright.methods.example import example
from clipwright.protocol.crossfit import cross_fit, support_folds
from clipwright.task import Features, Need, Task


def task_of(shots: int) -> tuple[Task, Features]:
    task = example({Need.TEXT, Need.LABELS}, shots=shots).task
    assert task.support is not None
    return task, task.support


def test_each_row_is_scored_by_a_fit_without_it() -> None:
    task, support = task_of(6)
    found = cross_fit({"NearestMean": make("NearestMean"), "ZeroShot": make("ZeroShot")}, task, 3)
    assert found is not None
    assert found.folds == 3
    dealt = support_folds(support, 5, 3, task.seed)
    for fold in range(3):
        held = np.flatnonzero(dealt == fold)
        inside = replace(task, support=support[np.flatnonzero(dealt != fold)])
        expected = make("NearestMean").fit(inside)(support[held])
        np.testing.assert_allclose(found.logits["NearestMean"][held], expected)
    np.testing.assert_allclose(found.logits["ZeroShot"], make("ZeroShot").fit(task)(support))
    assert set(found.seconds) == {"NearestMean", "ZeroShot"}


def test_classes_with_one_row_are_never_held_out() -> None:
    task, support = task_of(4)
    keep = (support.labels != 2) | (torch.arange(len(support)) == int((support.labels == 2).nonzero()[0]))
    dealt = support_folds(support[keep], 5, 4, 0)
    assert (dealt[support[keep].labels.numpy() == 2] == -1).all()
    found = cross_fit({"NearestMean": make("NearestMean")}, replace(task, support=support[keep]), 4)
    assert found is not None
    assert 2 not in found.labels
    assert len(found.rows) == 16


@pytest.mark.parametrize("shots", [1])
def test_one_row_each_can_not_be_held_out(shots: int) -> None:
    assert cross_fit({"NearestMean": make("NearestMean")}, task_of(shots)[0]) is None
