"""CLIPAdapter against an independent reference, its start, and its rules."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch

from clipwright.core.errors import ClipwrightError, NeedsError
from clipwright.heads.adapter import AdapterHead
from clipwright.heads.linear import LinearHead
from clipwright.methods import make
from clipwright.methods.clip_adapter import CLIPAdapter
from clipwright.methods.clip_adapter_fit import Bottleneck, adapter_fit, initial_bottleneck
from clipwright.methods.example import Example, example
from clipwright.methods.zero_shot import ZeroShot
from clipwright.task import Features, Need, Task
from clipwright.training.loop import DivergedError

NEEDS = {Need.TEXT, Need.LABELS}
SIDES: tuple[Any, ...] = ("image", "text", "both")


def case(counts: tuple[int, ...] = (3, 3, 3, 3, 3), **options: Any) -> Example:
    made = example(NEEDS, **options)
    assert made.task.support is not None
    rows = torch.cat([torch.arange(3 * c, 3 * c + n) for c, n in enumerate(counts)])
    return Example(dataclasses.replace(made.task, support=made.task.support[rows]), made.test)


def logits(made: Example, **fields: Any) -> torch.Tensor:
    return CLIPAdapter(**fields).fit(made.task)(made.test)


# ---- an independent reference -----------------------------------------------------------------------------------

Weights = dict[str, list[np.ndarray]]  # of a side: into the bottleneck, out of it


class Half:
    """One side: what goes in, what comes out, and how a gradient of what comes out becomes one of the weights."""

    def __init__(self, v: np.ndarray, weights: list[np.ndarray] | None, ratio: float, second: bool) -> None:
        self.v, self.weights, self.ratio, self.second = v, weights, ratio, second
        if weights is None:
            self.out = v
            return
        down, up = weights
        self.h = np.maximum(v @ down, 0)
        self.made = self.h @ up
        mixed = (1 - ratio) * v + ratio * (np.maximum(self.made, 0) if second else self.made)
        self.length = np.sqrt((mixed**2).sum(1, keepdims=True))
        self.out = mixed / self.length

    def gradients(self, g: np.ndarray) -> list[np.ndarray]:
        assert self.weights is not None
        g = self.ratio * (g - (g * self.out).sum(1, keepdims=True) * self.out) / self.length
        g = g * (self.made > 0) if self.second else g
        return [self.v.T @ ((g @ self.weights[1].T) * (self.h > 0)), self.h.T @ g]


def backward(
    v: np.ndarray, t: np.ndarray, y: np.ndarray, weights: Weights, ratios: dict[str, float], second: bool, s: float
) -> tuple[float, Weights]:
    """Loss and gradients of both sides."""
    image, text = (Half(x, weights.get(n), ratios[n], second) for n, x in (("image", v), ("text", t)))
    z = s * image.out @ text.out.T
    z = z - z.max(1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    error = s * (np.exp(log_p) - np.eye(len(t))[y]) / len(y)
    found = {"image": (image, error @ text.out), "text": (text, error.T @ image.out)}
    return float(-log_p[np.arange(len(y)), y].mean()), {n: found[n][0].gradients(found[n][1]) for n in weights}


def inputs(task: Task) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    assert task.support is not None
    assert task.text is not None
    v = task.support.x.double().numpy()
    return v / np.linalg.norm(v, axis=1, keepdims=True), task.text.classifier().numpy(), task.support.labels.numpy()


def reference(task: Task, weights: Weights, *, epochs: int, sgd: bool, decay: float, second: bool) -> Weights:
    """Full-batch Adam or heavy-ball SGD at 1e-3 with half a cosine; weight decay is added to the gradient."""
    v, t, y = inputs(task)
    weights = {n: [w.copy() for w in pair] for n, pair in weights.items()}
    state = {n: [(np.zeros_like(w), np.zeros_like(w)) for w in pair] for n, pair in weights.items()}
    for e in range(epochs):
        rate = 1e-3 / 2 * (1 + math.cos(math.pi * e / epochs))
        _, gradients = backward(v, t, y, weights, {"image": 0.2, "text": 0.3}, second, task.logit_scale)
        for n, pair in gradients.items():
            for i, gradient in enumerate(pair):
                g, (m, q) = gradient + decay * weights[n][i], state[n][i]
                m, q = (0.9 * m + g, q) if sgd else (0.9 * m + 0.1 * g, 0.999 * q + 0.001 * g**2)
                state[n][i] = m, q
                adam = m / (1 - 0.9 ** (e + 1)) / (np.sqrt(q / (1 - 0.999 ** (e + 1))) + 1e-8)
                weights[n][i] = weights[n][i] - rate * (m if sgd else adam)
    return weights


@pytest.mark.parametrize("second", [False, True])
def test_the_reference_has_the_gradient_of_its_loss(second: bool) -> None:
    rng = np.random.default_rng(0)
    weights = {n: [rng.normal(size=(4, 3)), rng.normal(size=(3, 4))] for n in ("image", "text")}
    v, t, y = rng.normal(size=(6, 4)), rng.normal(size=(3, 4)), np.array([0, 1, 2, 0, 1, 2])
    ratios = {"image": 0.3, "text": 0.6}
    _, found = backward(v, t, y, weights, ratios, second, 5.0)
    for n, pair in weights.items():
        for k, w in enumerate(pair):
            for i, j in np.ndindex(*w.shape):
                values = []
                for step in (1e-6, -1e-6):
                    w[i, j] += step
                    values.append(backward(v, t, y, weights, ratios, second, 5.0)[0])
                    w[i, j] -= step
                assert found[n][k][i, j] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-7)


def start_of(task: Task, side: str, second: bool) -> Weights:
    assert task.support is not None
    sides = ("image", "text") if side == "both" else (side,)
    dim = task.support.dim
    begin = {
        n: initial_bottleneck(dim, dim // 4, 0.5, seed=task.seed, side=n, random_up=second, dtype=torch.float64)
        for n in sides
    }
    return {n: [b.down.numpy(), b.up.numpy()] for n, b in begin.items()}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("counts", [(3, 3, 3, 3, 3), (3, 1, 2, 1, 3)])
@pytest.mark.parametrize(("sgd", "second", "decay"), [(False, False, 0.0), (True, True, 0.01), (False, True, 0.01)])
def test_the_fit_equals_the_reference(
    counts: tuple[int, ...], side: Any, sgd: bool, second: bool, decay: float
) -> None:
    made = case(counts)
    weights = reference(made.task, start_of(made.task, side, second), epochs=60, sgd=sgd, decay=decay, second=second)
    v = made.test.x.numpy()
    image = Half(v / np.linalg.norm(v, axis=1, keepdims=True), weights.get("image"), 0.2, second)
    text = Half(inputs(made.task)[1], weights.get("text"), 0.3, second)
    found = logits(
        made,
        side=side,
        alpha=0.2,
        beta=0.3,
        learning_rate=1e-3,
        epochs=60,
        optimizer="sgd" if sgd else "adam",
        weight_decay=decay,
        legacy_second_relu=second,
    )
    np.testing.assert_allclose(found.numpy(), made.task.logit_scale * image.out @ text.out.T, rtol=0, atol=1e-6)


def test_float32_comes_close() -> None:
    wide, narrow = logits(case()), logits(case(dtype=torch.float32))
    assert narrow.dtype == torch.float32
    assert float((narrow.double() - wide).abs().max()) <= 1e-3 * float(wide.abs().max())


# ---- the start --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", SIDES)
def test_a_vanishing_learning_rate_leaves_zero_shot(side: Any) -> None:
    made = case()
    expected = ZeroShot().fit(made.task)(made.test)
    torch.testing.assert_close(logits(made, side=side, learning_rate=1e-15), expected, rtol=0, atol=1e-9)
    assert not torch.allclose(logits(made, side=side, learning_rate=1e-15, legacy_start=True), expected)


def test_the_rectified_output_does_not_stand_still() -> None:
    trace = CLIPAdapter(legacy_second_relu=True).fit(case().task).trace
    assert trace.losses[-1] < trace.losses[0]


def test_the_start_is_drawn_by_the_seed_and_the_side() -> None:
    def drawn(seed: int, side: str) -> Bottleneck:
        return initial_bottleneck(64, 16, 0.2, seed=seed, side=side, random_up=True, dtype=torch.float64)

    first = drawn(0, "image")
    assert torch.equal(first.down, drawn(0, "image").down)
    for other in (drawn(1, "image"), drawn(0, "text")):
        assert not torch.equal(first.down, other.down)
        assert not torch.equal(first.up, other.up)
    assert float(first.down.abs().max()) == pytest.approx(1 / 8, rel=0.02)  # 1 / sqrt(D)
    assert float(first.up.abs().max()) == pytest.approx(1 / 4, rel=0.02)  # 1 / sqrt(H)


# ---- invariances and rules --------------------------------------------------------------------------------------


def test_the_length_of_each_image_does_not_matter() -> None:
    made = case()
    assert made.task.support is not None
    x = made.task.support.x * torch.linspace(0.1, 9, 15, dtype=torch.float64)[:, None]
    task = dataclasses.replace(made.task, support=Features(x, made.task.support.y))
    torch.testing.assert_close(logits(Example(task, made.test)), logits(made), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    "fields",
    [
        {"side": "text"},
        {"side": "both"},
        {"alpha": 0.6},
        {"reduction": 2},
        {"learning_rate": 1e-4},
        {"epochs": 7},
        {"batch_size": 4},
        {"optimizer": "sgd"},
        {"weight_decay": 0.1},
        {"schedule": "dassl"},
        {"averaging": "raw_mean"},
        {"legacy_start": True},
        {"legacy_second_relu": True},
    ],
)
def test_every_switch_switches(fields: dict[str, Any]) -> None:
    assert not torch.equal(logits(case(), **fields), logits(case()))


def test_switches_that_need_another_one() -> None:
    for common, fields in (({"side": "text"}, {"beta": 0.6}), ({"batch_size": 4}, {"legacy_drop_last": True})):
        assert not torch.equal(logits(case(), **common, **fields), logits(case(), **common))


@pytest.mark.parametrize(("side", "kind"), [("image", AdapterHead), ("both", AdapterHead), ("text", LinearHead)])
def test_the_head_holds_what_prediction_needs(side: Any, kind: type) -> None:
    assert type(CLIPAdapter(side=side, epochs=2).fit(case().task).head) is kind


def test_narrow_features_keep_a_bottleneck() -> None:
    head = CLIPAdapter(epochs=2, reduction=8).fit(case(dim=3).task).head
    assert head.config == {"n_classes": 5, "dim": 3, "hidden": 1, "second_relu": False}


class TestViews:
    """One stored view of each image per epoch."""

    def test_they_are_trained_on_unless_switched_off(self) -> None:
        made = example({*NEEDS, Need.VIEWS})
        assert torch.equal(logits(made, use_views=False), logits(case()))
        assert not torch.equal(logits(made), logits(case()))
        assert Need.VIEWS in CLIPAdapter().requires().optional
        assert not CLIPAdapter(use_views=False).requires().optional

    def test_a_single_view_is_the_clean_one(self) -> None:
        made = case()
        support = made.task.support
        assert support is not None
        for views in (support.x[:, None], support.x[:, None][:, :0]):
            task = dataclasses.replace(made.task, support=dataclasses.replace(support, views=views))
            assert torch.equal(logits(Example(task, made.test)), logits(made))


def test_the_loss_falls_and_every_epoch_is_told() -> None:
    trace = CLIPAdapter().fit(case().task).trace
    assert len(trace.losses) == 200
    assert trace.losses[-1] < trace.losses[0]
    assert trace.labels_per_class == (3,) * 5
    assert trace.how.pop("learning_rate") == "rule"
    assert trace.chosen["learning_rate"] == pytest.approx(5e-4 * 8)  # 16 dimensions
    assert set(trace.how.values()) == {"fixed"}


def test_a_diverging_fit_says_so() -> None:
    with pytest.raises(DivergedError, match="smaller learning rate"):
        logits(case(), learning_rate=1e308, optimizer="sgd", legacy_start=True)


def test_fitting_inside_inference_mode_is_fine() -> None:
    expected = logits(case(), side="both")
    with torch.inference_mode():
        assert torch.equal(logits(case(), side="both"), expected)


def test_batches_may_be_given_as_lists() -> None:
    x, texts = torch.randn(4, 6, dtype=torch.float64), torch.eye(2, 6, dtype=torch.float64)
    start = initial_bottleneck(6, 2, 0.2, seed=0, side="image", dtype=torch.float64)
    order = [[torch.tensor([0, 1]), torch.tensor([2, 3])]] * 3
    image, text, losses = adapter_fit(
        x, torch.arange(4) % 2, texts, image=start, text=None, batches=order, learning_rates=[1e-2] * 3
    )
    assert image is not None
    assert text is None
    assert len(losses) == 3
    assert not bool(start.up.any())  # what was given stays as it was
    assert bool(image.up.any())


def test_it_extends_to_other_classes_by_their_texts() -> None:
    made = case()
    assert made.task.text is not None
    order = [3, 1]
    other = Task(("class 3", "class 1"), made.task.text.of_classes(order), logit_scale=made.task.logit_scale)
    fitted = CLIPAdapter().fit(made.task)
    for known in (fitted, dataclasses.replace(fitted, head=fitted.head.restrict(torch.tensor([0, 1])))):
        extended = CLIPAdapter().extend(known, other)
        torch.testing.assert_close(extended(made.test), fitted(made.test)[:, order], rtol=0, atol=1e-9)
        assert extended.trace.labels_per_class == (0, 0)
    with pytest.raises(NeedsError, match="only with side='image'"):
        CLIPAdapter(side="both").extend(CLIPAdapter(side="both").fit(made.task), other)


@pytest.mark.parametrize(
    ("field", "value"),
    [("alpha", 0), ("alpha", 1.1), ("beta", 0), ("reduction", 0), ("learning_rate", 0), ("side", "left")],
)
def test_fields_are_checked(field: str, value: Any) -> None:
    with pytest.raises(ClipwrightError, match=field):
        make("CLIPAdapter", **{field: value})
