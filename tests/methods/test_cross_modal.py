"""CrossModal against an independent reference, and its rules."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from clipwright.methods.cross_modal import CrossModal, drawn, warm_cosine
from clipwright.methods.example import example
from clipwright.task import Need, Task, TextFeatures


def case(counts: tuple[int, ...] = (3, 3, 3, 3, 3), *, validation: bool = False) -> Task:
    made = example({Need.TEXT, Need.LABELS})
    assert made.task.support is not None
    rows = torch.cat([torch.arange(3 * c, 3 * c + n) for c, n in enumerate(counts)])
    return Task(made.task.class_names, made.task.text, made.task.support[rows], made.test if validation else None)


def weights(task: Task, **fields: Any) -> torch.Tensor:
    weight: torch.Tensor = CrossModal(**fields).fit(task).head.state_dict()["weight"]
    return weight


def reference(x: np.ndarray, y: np.ndarray, t: np.ndarray, ty: np.ndarray, w: np.ndarray, steps: int) -> np.ndarray:
    """AdamW with the gradient written out, images and texts as one weighted set of samples."""
    samples, labels = np.concatenate([x, t]), np.concatenate([y, ty])
    share = np.concatenate([np.full(len(x), 0.5 / len(x)), np.full(len(t), 0.5 / len(t))])
    m, v = np.zeros_like(w), np.zeros_like(w)
    for s in range(steps):
        rate = 1e-4 / 2 * (1 + math.cos(math.pi * s / steps))
        if s < steps // 10:
            rate = 1e-5 + 9e-5 * s / (steps // 10)
        z = 100 * samples @ w.T
        p = np.exp(z - z.max(1, keepdims=True))
        g = 100 * ((p / p.sum(1, keepdims=True) - np.eye(len(w))[labels]) * share[:, None]).T @ samples
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        step = m / (1 - 0.9 ** (s + 1)) / (np.sqrt(v / (1 - 0.999 ** (s + 1))) + 1e-8)
        w = w * (1 - rate * 0.01) - rate * step
    return w


@pytest.mark.parametrize("texts", ["class", "all"])
@pytest.mark.parametrize("counts", [(3, 3, 3, 3, 3), (3, 1, 2, 1, 3)])
def test_the_fit_equals_the_reference(counts: tuple[int, ...], texts: str) -> None:
    task = case(counts)
    assert task.support is not None
    assert task.text is not None
    start = task.text.classifier().numpy()
    rows = torch.nn.functional.normalize(task.text.x, dim=1).numpy()
    t, ty = (start, np.arange(5)) if texts == "class" else (rows, task.text.classes.numpy())
    expected = reference(task.support.unit_x().numpy(), task.support.labels.numpy(), t, ty, start, 60)
    found = weights(task, steps=60, texts=texts).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)


def test_rates_rise_for_fifty_steps_and_then_follow_the_cosine() -> None:
    rates = warm_cosine(1e-3, 1000)
    assert len(rates) == 1000
    assert rates[0] == 1e-5
    assert rates[25] == pytest.approx(1e-5 + 0.5 * 9.9e-4)
    assert rates[500] == pytest.approx(5e-4)
    assert rates[-1] < 1e-8
    assert all(b <= a for a, b in itertools.pairwise(rates[50:]))
    assert warm_cosine(1e-3, 1) == [1e-3]
    assert len(warm_cosine(1e-6, 20)) == 20
    assert max(warm_cosine(1e-6, 20)) <= 1e-6


def test_texts_alone_keep_the_zero_shot_order_where_it_is_right() -> None:
    task = case()
    assert task.text is not None
    found = weights(task, text_share=1.0)
    start = task.text.classifier()
    assert bool((100 * start @ found.T).argmax(1).eq(torch.arange(5)).all())
    assert not torch.equal(found, weights(task, text_share=0.0))


@pytest.mark.parametrize(
    "fields",
    [
        {"learning_rate": 1e-3},
        {"steps": 7},
        {"weight_decay": 0.5},
        {"text_share": 0.1},
        {"texts": "all"},
        {"batch_size": 4},
        {"wise_ft": 0.5},
        {"averaging": "raw_mean"},
    ],
)
def test_every_switch_switches(fields: dict[str, Any]) -> None:
    made = case()
    assert made.text is not None
    lengths = 1 + torch.arange(len(made.text), dtype=made.text.x.dtype)[:, None] / 3
    task = Task(made.class_names, TextFeatures(made.text.x * lengths, made.text.classes), made.support)
    assert not torch.equal(weights(task, **fields), weights(task))


def test_all_of_wise_ft_is_zero_shot() -> None:
    task = case()
    assert task.text is not None
    torch.testing.assert_close(weights(task, wise_ft=1.0), task.text.classifier())


def test_batches_are_drawn_without_replacement_and_by_the_seed() -> None:
    rows = drawn(300, 256, 0, "images")
    first, again, other = rows(0), drawn(300, 256, 0, "images")(0), drawn(300, 256, 1, "images")(0)
    assert first is not None
    assert len(set(first.tolist())) == 256
    assert again is not None
    assert torch.equal(first, again)
    assert other is not None
    assert not torch.equal(first, other)
    assert drawn(256, 256, 0, "images")(0) is None


@pytest.mark.parametrize("selection", ["loss", "accuracy", "last"])
def test_the_validation_set_chooses_the_step(selection: Any) -> None:
    task = case(validation=True)
    trace = CrossModal(selection=selection, learning_rate=1e-2, steps=250).fit(task).trace
    selected = selection != "last"
    assert trace.how["step"] == ("validation" if selected else "rule")
    assert trace.chosen["step"] in ({99, 199, 249} if selected else {249})
    assert trace.labels_per_class == ((7,) * 5 if selected else (3,) * 5)


def test_the_loss_falls() -> None:
    losses = CrossModal().fit(case()).trace.losses
    assert len(losses) == 1000
    assert losses[-1] < losses[0]


def test_fitting_inside_inference_mode_is_fine() -> None:
    expected = weights(case(validation=True), texts="all")
    with torch.inference_mode():
        assert torch.equal(weights(case(validation=True), texts="all"), expected)
