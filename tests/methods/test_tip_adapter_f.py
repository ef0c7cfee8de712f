"""Tip-Adapter-F against an independent reference with gradients by hand, and its rules."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from clipwright.methods.example import example
from clipwright.methods.tip_adapter import TipAdapter
from clipwright.methods.tip_adapter_f import TipAdapterF
from clipwright.task import Need, Task


def case(shots: int = 3, *needs: Need, **options: Any) -> Task:
    return dataclasses.replace(example({Need.TEXT, Need.LABELS, *needs}, shots=shots, **options).task, logit_scale=20.0)


def keys(task: Task, **fields: Any) -> torch.Tensor:
    found: torch.Tensor = TipAdapterF(beta=2.0, alpha=3.0, **fields).fit(task).head.state_dict()["keys"]
    return found


def by_hand(task: Task, steps: int, beta: float, alpha: float) -> np.ndarray:
    """AdamW written out, the gradient from d logit_c / d key_i = alpha * beta * vote_i * x for i in class c."""
    assert task.support is not None
    assert task.text is not None
    x, y = task.support.unit_x().numpy(), task.support.labels.numpy()
    onehot, texts = np.eye(task.n_classes)[y], task.text.classifier().numpy()
    found, first, second = x.copy(), np.zeros_like(x), np.zeros_like(x)
    for t in range(steps):
        rate = 1e-3 / 2 * (1 + math.cos(math.pi * t / steps))
        votes = np.exp(-beta * (1 - x @ found.T))
        logits = task.logit_scale * x @ texts.T + alpha * votes @ onehot
        p = np.exp(logits - logits.max(1, keepdims=True))
        wrong = (p / p.sum(1, keepdims=True) - onehot) / len(x)
        gradient = alpha * beta * ((wrong @ onehot.T) * votes).T @ x
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        step = first / (1 - 0.9 ** (t + 1)) / (np.sqrt(second / (1 - 0.999 ** (t + 1))) + 1e-4)
        found = found - rate * 0.01 * found - rate * step
    return found


def test_keys_are_those_of_the_reference() -> None:
    task = case()
    np.testing.assert_allclose(keys(task), by_hand(task, 20, 2.0, 3.0), rtol=0, atol=1e-12)


def test_without_validation_the_last_epoch_stands_and_the_pair_it_was_trained_with() -> None:
    task = case()
    fitted, untuned = TipAdapterF().fit(task), TipAdapter().fit(task)
    for name in ("beta", "alpha"):
        assert fitted.trace.chosen[name] == untuned.trace.chosen[name]
        assert fitted.trace.how[name] == "cross-validation"
    assert len(fitted.trace.losses) == 20
    assert fitted.trace.losses[-1] < fitted.trace.losses[0]
    assert fitted.trace.labels_per_class == (3,) * 5
    assert not fitted.trace.notes


def test_validation_rows_choose_epoch_and_pair() -> None:
    made = example({Need.TEXT, Need.LABELS}, shots=3)
    task = dataclasses.replace(made.task, validation=made.test)
    fitted = TipAdapterF(epochs=5).fit(task)
    assert fitted.trace.how["beta"] == fitted.trace.how["alpha"] == "validation"
    assert fitted.trace.labels_per_class == (7,) * 5
    assert "of 5 was kept: the best on the validation set." in fitted.trace.notes[0]


def test_the_first_of_equally_good_epochs_is_kept() -> None:
    """A rate that changes no decision: every epoch is as good, so the first is kept."""
    made = example({Need.TEXT, Need.LABELS}, shots=3)
    task = dataclasses.replace(made.task, validation=made.test)
    fitted = TipAdapterF(epochs=5, learning_rate=1e-12).fit(task)
    assert fitted.trace.notes[0].startswith("Epoch 1 of 5")


def test_batches_and_seed() -> None:
    task = case()
    small = keys(task, batch_size=4)
    assert torch.equal(small, keys(task, batch_size=4))
    assert not torch.equal(small, keys(dataclasses.replace(task, seed=1), batch_size=4))
    assert not torch.equal(small, keys(task))


def test_views_are_trained_on_unless_switched_off() -> None:
    task = case(3, Need.VIEWS)
    assert torch.equal(keys(task, use_views=False), keys(case()))
    assert not torch.equal(keys(task), keys(case()))


@pytest.mark.parametrize("shots", [1, 2])
def test_fitting_inside_inference_mode_is_fine(shots: int) -> None:
    expected = keys(case(shots))
    with torch.inference_mode():
        assert torch.equal(keys(case(shots)), expected)
