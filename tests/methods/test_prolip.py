"""ProLIP against an independent reference, its limits, and the projection's way from images to a saved classifier."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import clipwright
from clipwright.core.errors import DataError, NeedsError
from clipwright.heads.projected import ProjectedHead
from clipwright.methods import make
from clipwright.methods.example import Example, example
from clipwright.methods.prolip import PENALTIES, ProLIP, prolip_fit
from clipwright.methods.zero_shot import ZeroShot
from clipwright.task import Features, Need, Task
from clipwright.training.loop import DivergedError

NEEDS = {Need.TEXT, Need.LABELS, Need.PRE_PROJECTION}


def case(counts: tuple[int, ...] = (3, 3, 3, 3, 3), *, bias: bool = False, **options: Any) -> Example:
    """The example with so many labels per class, and with a bias after the projection where asked."""
    made = example(NEEDS, **options)
    assert made.task.support is not None
    rows = torch.cat([torch.arange(3 * c, 3 * c + n) for c, n in enumerate(counts)])
    task = dataclasses.replace(made.task, support=made.task.support[rows])
    if not bias:
        return Example(task, made.test)
    shift = torch.linspace(-2, 2, made.test.dim, dtype=made.test.x.dtype)
    assert task.support is not None
    support, test = (dataclasses.replace(f, x=f.x + shift) for f in (task.support, made.test))
    return Example(dataclasses.replace(task, support=support, projection_bias=shift), test)


def head_of(task: Task, **fields: Any) -> ProjectedHead:
    head = ProLIP(**fields).fit(task).head
    assert isinstance(head, ProjectedHead)
    return head


# ---- an independent reference -----------------------------------------------------------------------------------


def gradient(
    w: np.ndarray, o: np.ndarray, y: np.ndarray, t: np.ndarray, b: np.ndarray, w0: np.ndarray, penalty: float, s: float
) -> tuple[float, np.ndarray]:
    """Loss and gradient in W: the softmax's error goes back through the unit length, then through the product."""
    x = o @ w + b
    length = np.sqrt((x**2).sum(1, keepdims=True))
    u = x / length
    z = s * u @ t.T
    z = z - z.max(1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    loss = -log_p[np.arange(len(y)), y].mean() + penalty * ((w - w0) ** 2).sum()
    error = (np.exp(log_p) - np.eye(len(t))[y]) / len(y)
    back = s * error @ t
    back = (back - (back * u).sum(1, keepdims=True) * u) / length
    return float(loss), o.T @ back + 2 * penalty * (w - w0)


def reference(
    task: Task, *, rate: float, epochs: int, penalty: float, factor: float | None = None
) -> tuple[np.ndarray, list[float]]:
    """Adam with the gradient written out, half a cosine, epsilon 1e-4, W0 and b times a factor; in float64."""
    assert task.support is not None
    assert task.support.pre_projection is not None
    assert task.text is not None
    assert task.projection is not None
    o, y = task.support.pre_projection.double().numpy(), task.support.labels.numpy()
    texts = task.text.x.double().numpy().reshape(-1, task.n_classes, task.support.dim)
    t = (texts / np.linalg.norm(texts, axis=2, keepdims=True)).mean(0)
    t /= np.linalg.norm(t, axis=1, keepdims=True)
    w0 = task.projection.double().numpy()
    b = np.zeros(w0.shape[1]) if task.projection_bias is None else task.projection_bias.double().numpy()
    if factor is None:
        factor = np.linalg.norm(o, axis=1).mean() / np.linalg.norm(o @ w0 + b, axis=1).mean()
    w0, b = factor * w0, factor * b
    w, m, v = w0.copy(), np.zeros_like(w0), np.zeros_like(w0)
    losses = []
    for e in range(epochs):
        loss, g = gradient(w, o, y, t, b, w0, penalty, task.logit_scale)
        losses.append(loss)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        step = m / (1 - 0.9 ** (e + 1)) / (np.sqrt(v / (1 - 0.999 ** (e + 1))) + 1e-4)
        w = w - rate / 2 * (1 + math.cos(math.pi * e / epochs)) * step
    return w / factor, losses


def test_the_reference_has_the_gradient_of_its_loss() -> None:
    rng = np.random.default_rng(0)
    o, w, w0, b = rng.normal(size=(6, 4)), *rng.normal(size=(2, 4, 3)), rng.normal(size=3)
    t, y = rng.normal(size=(5, 3)), np.array([0, 1, 2, 3, 4, 1])
    _, g = gradient(w, o, y, t, b, w0, 0.3, 7.0)
    for i, j in np.ndindex(*w.shape):
        step = np.zeros_like(w)
        step[i, j] = 1e-6
        up, down = (gradient(w + d, o, y, t, b, w0, 0.3, 7.0)[0] for d in (step, -step))
        assert g[i, j] == pytest.approx((up - down) / 2e-6, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("counts", [(3, 3, 3, 3, 3), (3, 1, 2, 1, 3)])
@pytest.mark.parametrize(("penalty", "weight"), [("auto", 1.0), ("1/N", 1.0), ("1/N2", 2.0), (0.02, None), (0, None)])
def test_the_fit_equals_the_reference(counts: tuple[int, ...], bias: bool, penalty: Any, weight: float | None) -> None:
    task = case(counts, bias=bias).task
    shots = sum(counts) / 5
    value = penalty if weight is None else 1 / shots**weight
    expected, losses = reference(task, rate=1e-3, epochs=60, penalty=value)
    fitted = ProLIP(penalty=penalty, epochs=60).fit(task)
    np.testing.assert_allclose(fitted.head.state_dict()["projection"].numpy(), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(fitted.trace.losses, losses, rtol=1e-9, atol=1e-12)
    assert fitted.trace.chosen["penalty"] == pytest.approx(value)
    assert fitted.trace.how["penalty"] == ("rule" if weight else "user")


def test_the_penalty_of_the_default_follows_the_logit_scale() -> None:
    task = dataclasses.replace(case().task, logit_scale=27.0)
    expected, _ = reference(task, rate=1e-3, epochs=300, penalty=0.27**2 / 3)
    fitted = ProLIP().fit(task)
    np.testing.assert_allclose(fitted.head.state_dict()["projection"].numpy(), expected, rtol=0, atol=1e-8)
    assert fitted.trace.chosen["penalty"] == pytest.approx(0.27**2 / 3)


def test_as_published_the_projection_is_tuned_at_its_own_size() -> None:
    task = case().task
    expected, _ = reference(task, rate=1e-4, epochs=60, penalty=1 / 3, factor=1.0)
    found = head_of(task, learning_rate=1e-4, epochs=60, penalty="1/N", projection_scale=1)
    np.testing.assert_allclose(found.projection.numpy(), expected, rtol=0, atol=1e-9)


def test_float32_comes_close() -> None:
    wide = ProLIP().fit(case().task)(case().test)
    narrow = ProLIP().fit(case(dtype=torch.float32).task)(case(dtype=torch.float32).test)
    assert narrow.dtype == torch.float32
    assert float((narrow.double() - wide).abs().max()) <= 1e-3 * float(wide.abs().max())


# ---- limits and invariances -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("fields", [{"learning_rate": 1e-15}, {"penalty": 1e8}])
def test_no_step_or_an_endless_penalty_is_zero_shot(fields: dict[str, Any], bias: bool) -> None:
    made = case(bias=bias)
    found, expected = ProLIP(**fields).fit(made.task)(made.test), ZeroShot().fit(made.task)(made.test)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 if "penalty" in fields else 1e-9)


def test_a_stronger_penalty_keeps_the_projection_nearer() -> None:
    task = case().task
    assert task.projection is not None
    far = [float((head_of(task, penalty=p).projection - task.projection).norm()) for p in (0.0, 0.01, 1.0, 100.0)]
    assert far == sorted(far, reverse=True)
    assert far[-1] < 0.1 * far[0]


@pytest.mark.parametrize("factor", [0.01, 30.0])
def test_a_factor_on_the_projection_changes_no_answer(factor: float) -> None:
    made = case(bias=True)
    task = made.task
    assert task.projection is not None
    assert task.projection_bias is not None
    other = dataclasses.replace(
        task, projection=factor * task.projection, projection_bias=factor * task.projection_bias
    )
    torch.testing.assert_close(ProLIP().fit(other)(made.test), ProLIP().fit(task)(made.test), rtol=0, atol=1e-8)
    published = ProLIP(projection_scale=1, penalty="1/N")
    assert not torch.allclose(published.fit(other)(made.test), published.fit(task)(made.test))


def test_the_loss_falls_and_every_epoch_is_told() -> None:
    trace = ProLIP().fit(case().task).trace
    assert len(trace.losses) == 300
    assert trace.losses[-1] < trace.losses[0]
    assert trace.labels_per_class == (3,) * 5
    assert trace.how["projection_scale"] == "rule"
    assert trace.chosen["projection_scale"] > 0


@pytest.mark.parametrize(
    "fields",
    [{"learning_rate": 1e-4}, {"epochs": 7}, {"penalty": "1/N2"}, {"projection_scale": 3.0}, {"averaging": "raw_mean"}],
)
def test_every_switch_switches(fields: dict[str, Any]) -> None:
    task = case().task
    assert not torch.equal(head_of(task, **fields).projection, head_of(task).projection)


# ---- the validation set -----------------------------------------------------------------------------------------


def with_validation(made: Example) -> Task:
    return dataclasses.replace(made.task, validation=made.test)


@pytest.mark.parametrize("selection", ["loss", "accuracy"])
def test_the_validation_set_chooses_the_penalty(selection: Any) -> None:
    made = case()
    task = with_validation(made)
    trace = ProLIP(penalty="validation", selection=selection, epochs=40).fit(task).trace
    worth = []
    for penalty in PENALTIES:
        logits = head_of(made.task, penalty=penalty, epochs=40)(made.test.pre_projection)
        loss = float(torch.nn.functional.cross_entropy(logits, made.test.labels))
        worth.append(loss if selection == "loss" else float((logits.argmax(1) != made.test.labels).double().mean()))
    assert trace.chosen["penalty"] == PENALTIES[int(np.argmin(worth))]  # of equals the first
    assert trace.how["penalty"] == "validation"
    assert trace.labels_per_class == (7,) * 5


def test_without_a_validation_set_the_rule_stands() -> None:
    task = case().task
    fitted = ProLIP(penalty="validation").fit(task)
    assert fitted.trace.how["penalty"] == "rule"
    assert fitted.trace.labels_per_class == (3,) * 5
    assert torch.equal(fitted.head.state_dict()["projection"], head_of(task).projection)


def test_validation_is_a_need_only_where_it_chooses() -> None:
    assert Need.VALIDATION in ProLIP(penalty="validation").requires().optional
    assert not ProLIP().requires().optional
    assert ProLIP().requires().needs == NEEDS


def test_validation_rows_need_the_features_too() -> None:
    made = case()
    task = dataclasses.replace(made.task, validation=Features(made.test.x, made.test.y))
    with pytest.raises(DataError, match="the validation set has no features before the projection"):
        ProLIP(penalty="validation").fit(task)


# ---- what is refused --------------------------------------------------------------------------------------------


def test_another_towers_projection_is_refused() -> None:
    task = case().task
    assert task.projection is not None
    with pytest.raises(DataError, match=r"don't give the image features \(median cosine .*extract the images again"):
        ProLIP().fit(dataclasses.replace(task, projection=task.projection.flip(0)))
    with pytest.raises(DataError, match="its bias is missing"):
        ProLIP().fit(dataclasses.replace(case(bias=True).task, projection_bias=None))


def test_some_rows_of_zeros_are_no_hindrance_but_only_zeros_are() -> None:
    made = case()
    support = made.task.support
    assert support is not None
    before = support.pre_projection
    assert before is not None

    def scaled(rows: list[int]) -> Task:
        keep = torch.ones(len(support), 1, dtype=support.x.dtype)
        keep[rows] = 0
        changed = dataclasses.replace(support, x=support.x * keep, pre_projection=before * keep)
        return dataclasses.replace(made.task, support=changed)

    assert bool(torch.isfinite(ProLIP().fit(scaled([0, 4]))(made.test)).all())
    with pytest.raises(DataError, match="zero"):
        ProLIP().fit(scaled([*range(15)]))


def test_the_features_before_the_projection_are_needed() -> None:
    with pytest.raises(NeedsError, match="features before the tower's last matrix"):
        ProLIP().fit(example({Need.TEXT, Need.LABELS}).task)
    fitted = ProLIP(epochs=2).fit(case().task)
    with pytest.raises(NeedsError, match="pre_projection"):
        fitted(Features(case().test.x))


def test_a_diverging_fit_says_so() -> None:
    with pytest.raises(DivergedError, match="smaller learning rate"):
        ProLIP(learning_rate=1e200).fit(case().task)


def test_fitting_inside_inference_mode_is_fine() -> None:
    expected = head_of(case().task).projection
    with torch.inference_mode():
        assert torch.equal(head_of(case().task).projection, expected)


def test_no_epoch_leaves_the_projection() -> None:
    o, w = torch.randn(4, 6, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
    found, losses = prolip_fit(o, torch.arange(4) % 2, w, torch.eye(2, 3, dtype=torch.float64), learning_rates=[])
    assert torch.equal(found, w)
    assert losses == []


# ---- other classes ----------------------------------------------------------------------------------------------


def test_it_extends_to_other_classes_by_their_texts() -> None:
    made = case()
    fitted = ProLIP().fit(made.task)
    assert made.task.text is not None
    order = [3, 1]
    other = Task(("class 3", "class 1"), made.task.text.of_classes(order), logit_scale=made.task.logit_scale)
    for known in (fitted, dataclasses.replace(fitted, head=fitted.head.restrict(torch.tensor([0, 1])))):
        extended = ProLIP().extend(known, other)
        torch.testing.assert_close(extended(made.test), fitted(made.test)[:, order], rtol=0, atol=1e-9)
        assert extended.trace.labels_per_class == (0, 0)
    with pytest.raises(DataError, match="no tuned projection"):
        ProLIP().extend(ZeroShot().fit(made.task), other)


# ---- end to end -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the embedded model")
def test_from_images_to_a_saved_classifier(tmp_path: Path) -> None:
    whole = clipwright.open_data("digits")
    data = whole.take(np.arange(0, len(whole), 6))
    classifier, names = (
        clipwright.fit(data, backbone="tiny", method=method, shots=4, quiet=True) for method in ("ProLIP", "ZeroShot")
    )
    score, base = (clipwright.evaluate(c, data, quiet=True).top1 for c in (classifier, names))
    assert score > base
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    classifier.save(tmp_path / "c")
    loaded = clipwright.Classifier.load(tmp_path / "c")
    np.testing.assert_array_equal(loaded.predict_proba([image]), classifier.predict_proba([image]))
    assert clipwright.evaluate(loaded, data, quiet=True).top1 == score


def test_fields_are_read_from_text_and_checked() -> None:
    assert make("ProLIP", penalty="0.5", projection_scale="1") == ProLIP(penalty=0.5, projection_scale=1.0)
    for field, value in (("penalty", -1), ("penalty", "1/M"), ("learning_rate", 0), ("projection_scale", 0)):
        with pytest.raises(clipwright.ClipwrightError, match=field):
            make("ProLIP", **{field: value})
