"""LP++ against the published code's arrays, its recorded runs on real features, and its rules."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.whurs19 import ENCODERS, Recorded, close, load_golden

from clipwright.core.errors import DataError
from clipwright.methods.example import example
from clipwright.methods.lpplusplus import Blend, LPPlusPlus, initial_blend, lpp_fit, step_sizes
from clipwright.task import Features, Need, Task
from clipwright.training.selection import BestState

PRECISIONS = [(torch.float64, 1e-9), (torch.float32, 1e-3)]


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
class TestGolden:
    """The published code's arrays."""

    def test_step_sizes_and_start(self, golden: Path, dtype: torch.dtype, tolerance: float) -> None:
        arrays = load_golden(golden / "lpp.npz", dtype)
        f, y, texts = arrays["support_features"], arrays["support_labels"], arrays["text_DxC"].T
        steps = step_sizes(f, texts)
        assert steps.weight == pytest.approx(float(arrays["lr_w"]), rel=tolerance)
        assert steps.alpha == pytest.approx(float(arrays["lr_alpha"]), rel=tolerance)
        start = initial_blend(f, y, texts)
        close(start.weight, arrays["W0_class_sums"], tolerance)
        close(start.alpha, arrays["alpha0"][0], tolerance)

    def test_descent_and_selection(self, golden: Path, dtype: torch.dtype, tolerance: float) -> None:
        arrays = load_golden(golden / "lpp.npz", dtype)
        f, y, texts = arrays["support_features"], arrays["support_labels"], arrays["text_DxC"].T
        start = initial_blend(f, y, texts)._replace(bias=arrays["b0"])
        best = BestState(arrays["val_features"], arrays["val_labels"], "accuracy")
        seen: dict[int, Blend] = {}

        def watch(epoch: int, blend: Blend) -> None:
            best.look(epoch, blend.classifier(texts), blend.bias)
            seen[epoch + 1] = Blend(*(part.clone() for part in blend))

        last, losses = lpp_fit(f, y, texts, start, step_sizes(f, texts), accumulate=True, watch=watch)
        close(torch.tensor(losses, dtype=torch.float64), arrays["loss_epochs"].double(), tolerance)
        for epoch in (1, 10, 300):
            close(seen[epoch].weight, arrays[f"W_after_{epoch}"], tolerance)
        for epoch in (10, 20, 300):
            close(seen[epoch].alpha, arrays[f"alpha_after_{epoch}"][0], tolerance)
        for epoch in (1, 300):
            close(seen[epoch].bias, arrays[f"b_after_{epoch}"], tolerance)
        assert torch.equal(last.weight, seen[300].weight)
        if dtype == torch.float64:
            assert best.at == int(arrays["selected_epoch"])
            logits = arrays["test_features"] @ best.weight.T + best.bias
            right = (logits.argmax(1) == arrays["test_labels"]).double().mean()
            assert float(right) * 100 == pytest.approx(float(arrays["selected_test_acc"]))


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
def test_recorded_runs(shared: Path, encoder: str) -> None:
    """From the recorded bias, selected by validation accuracy as released."""
    recorded = Recorded(shared, encoder, "lp++")
    assert len(recorded.runs) == 5
    with np.load(shared / "golden" / "real" / "lpp_bias_init_torch_seed1.npz") as file:
        bias = torch.from_numpy(file[f"D{recorded.features.dim}_C19"]).float()
    texts = recorded.text.classifier()
    for run in recorded.runs:
        task, test = recorded.task(run, validation=True), recorded.test(run)
        assert task.support is not None
        assert task.validation is not None
        f, y = task.support.unit_x(), task.support.labels
        best = BestState(task.validation.x, task.validation.labels, "accuracy")
        lpp_fit(
            f,
            y,
            texts,
            initial_blend(f, y, texts)._replace(bias=bias),
            step_sizes(f, texts),
            epochs=run["epochs"],
            accumulate=True,
            watch=lambda at, b, best=best: best.look(at, b.classifier(texts), b.bias),  # type: ignore[misc] # a lambda
        )
        found = (test.unit_x() @ best.weight.T + best.bias).argmax(1)
        assert abs(int((found == test.labels).sum()) - run["correct"]) <= 2, run


# ---- an independent reference -----------------------------------------------------------------------------------


def reference(f: np.ndarray, y: np.ndarray, t: np.ndarray, epochs: int) -> np.ndarray:
    """The present gradient in both blocks, no bias; returns the (C, D) classifier."""
    n, c = len(y), len(t)
    hot = np.eye(c)[y]
    w = np.stack([f[y == k].mean(0) for k in range(c)]) * n / c
    alpha = np.full(c, 250 * np.mean([(f[y == k] @ t[k]).mean() for k in range(c)]))
    rate = 4 * n / np.linalg.svd(f, compute_uv=False)[0] ** 2
    slow = n / 4 / max(((f @ t[k]) ** 2).sum() for k in range(c))
    speed = np.zeros_like(w)
    for epoch in range(1, epochs + 1):
        z = f @ (w + alpha[:, None] * t).T
        p = np.exp(z - z.max(1, keepdims=True))
        q = (p / p.sum(1, keepdims=True) - hot) / n
        speed = 0.9 * speed + q.T @ f
        w = w - rate * speed
        if epoch % 10 == 0:
            alpha = alpha - slow * (q * (f @ t.T)).sum(0)
    found: np.ndarray = w + alpha[:, None] * t
    return found


def case(counts: tuple[int, ...] = (3, 3, 3, 3, 3), *, validation: bool = False) -> Task:
    made = example({Need.TEXT, Need.LABELS})
    assert made.task.support is not None
    rows = torch.cat([torch.arange(3 * c, 3 * c + n) for c, n in enumerate(counts)])
    held_out = made.test if validation else None
    return Task(made.task.class_names, made.task.text, made.task.support[rows], held_out)


@pytest.mark.parametrize("counts", [(3, 3, 3, 3, 3), (3, 1, 2, 1, 3)])
def test_the_fit_equals_the_reference(counts: tuple[int, ...]) -> None:
    task = case(counts)
    assert task.support is not None
    assert task.text is not None
    f, y = task.support.unit_x().numpy(), task.support.labels.numpy()
    expected = reference(f, y, task.text.classifier().numpy(), 40)
    found = weights(task, epochs=40).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9 * np.abs(expected).max())


# ---- the method's own rules -------------------------------------------------------------------------------------


def weights(task: Task, **fields: Any) -> torch.Tensor:
    weight: torch.Tensor = LPPlusPlus(**fields).fit(task).head.state_dict()["weight"]
    return weight


def test_the_start_does_not_favour_classes_with_more_labels() -> None:
    task = case((3, 1, 2, 1, 3))
    assert task.support is not None
    assert task.text is not None
    f, y, texts = task.support.unit_x(), task.support.labels, task.text.classifier()
    start = initial_blend(f, y, texts)
    means = torch.stack([f[y == k].mean(0) for k in range(5)])
    torch.testing.assert_close(start.weight, 2 * means)  # 10 rows, 5 classes
    own = initial_blend(f, y, texts, alpha_scale=10, per_class=True).alpha
    torch.testing.assert_close(own, 10 * (means * texts).sum(1))


def test_a_plain_descent_with_half_the_step_never_rises() -> None:
    task = case()
    assert task.support is not None
    assert task.text is not None
    f, y, texts = task.support.unit_x(), task.support.labels, task.text.classifier()
    steps = step_sizes(f, texts)
    safe = steps._replace(weight=steps.weight / 2)
    _, losses = lpp_fit(f, y, texts, initial_blend(f, y, texts), safe, momentum=0.0)
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(losses))


@pytest.mark.parametrize("selection", ["loss", "accuracy", "last"])
def test_the_validation_set_chooses_the_epoch(selection: Any) -> None:
    task = case(validation=True)
    fit = LPPlusPlus(selection=selection).fit(task)
    selected = selection != "last"
    assert fit.trace.how["epoch"] == ("validation" if selected else "rule")
    assert fit.trace.labels_per_class == ((7,) * 5 if selected else (3,) * 5)
    assert task.validation is not None
    rows = task.validation
    fits = (fit, LPPlusPlus(selection="last").fit(task))
    losses = [float(torch.nn.functional.cross_entropy(f(rows), rows.labels)) for f in fits]
    if selection == "loss":
        assert losses[0] <= losses[1] + 1e-12
    if selection == "last":
        assert fit.trace.chosen["epoch"] == 299


def test_without_validation_the_last_epoch_is_kept() -> None:
    trace = LPPlusPlus(epochs=12).fit(case()).trace
    assert trace.chosen["epoch"] == 11
    assert trace.how["weight_step"] == "closed form"
    empty = dataclasses.replace(case(), validation=Features(torch.zeros(0, 16), torch.zeros(0, dtype=torch.int64)))
    assert torch.equal(weights(empty), weights(case()))


@pytest.mark.parametrize(
    "fields",
    [
        {"epochs": 7},
        {"momentum": 0.0},
        {"alpha_every": 3},
        {"alpha_scale": 30.0},
        {"alpha_start": "class"},
        {"bias": True},
        {"averaging": "raw_mean"},
        {"legacy_accumulate": True},
    ],
)
def test_every_switch_switches(fields: dict[str, Any]) -> None:
    assert not torch.equal(weights(case(), **fields), weights(case()))


def test_features_that_say_nothing_move_nothing() -> None:
    assert step_sizes(torch.zeros(3, 4), torch.eye(4)) == (0.0, 0.0)
    with pytest.raises(DataError, match="NaN or infinity"):
        step_sizes(torch.full((3, 4), torch.nan), torch.eye(4))


def test_fitting_inside_inference_mode_is_fine() -> None:
    expected = weights(case(validation=True))
    with torch.inference_mode():
        assert torch.equal(weights(case(validation=True)), expected)
