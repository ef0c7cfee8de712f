"""ZSLP against the published code's arrays, its recorded runs on real features, and its rules."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.whurs19 import ENCODERS, Recorded, close, load_golden

from clipwright.core.errors import DataError, UsageError
from clipwright.methods.clap import CLAP, clap_penalty
from clipwright.methods.example import example
from clipwright.methods.zslp import ZSLP, pool_batches, prototypes_fit, raw_factor
from clipwright.task import Features, Need, Task, TextFeatures
from clipwright.training.batches import shuffled_batches
from clipwright.training.loop import DivergedError
from clipwright.training.schedules import dassl_schedule

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}  # after optimiser steps
METHODS: dict[str, type[ZSLP]] = {"zslp": ZSLP, "zslp_T8": ZSLP, "clap_T8": CLAP}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("method", ["zslp_", ""])
def test_golden_steps(golden: Path, method: str, dtype: torch.dtype) -> None:
    arrays = load_golden(golden / "clap.npz", dtype)
    weight, losses = prototypes_fit(
        arrays["image_features"],
        arrays["labels"],
        arrays["base_text"],
        batches=[[torch.arange(35)]] * 10,
        learning_rates=dassl_schedule(0.1, 300)[:10],
        penalty=None if method else arrays["lambda_k"],
    )
    close(weight, arrays[f"{method}W_after_10"], TOLERANCE[dtype])
    expected = arrays["zslp_losses_10" if method else "sgd_losses_10"]
    # losses are recorded as Python floats of the fit's own precision; the last ones are small differences
    assert float((torch.tensor(losses, dtype=dtype) - expected).abs().max()) <= TOLERANCE[dtype]


# ---- recorded runs of the published code on real features -------------------------------------------------------


def recorded_batches(run: dict[str, Any], n: int) -> list[list[torch.Tensor]]:
    """The order of the recorded runs: numpy's global generator of old, seeded once, one draw of N numbers per epoch."""
    rng = np.random.RandomState(run["split_seed"])
    count = max(1, n // 256)
    orders = [torch.from_numpy(rng.rand(n).argsort()) for _ in range(run["epochs"])]
    return [[order[256 * i : 256 * (i + 1)] for i in range(count)] for order in orders]


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
def test_recorded_runs_with_their_batch_order(shared: Path, encoder: str) -> None:
    recorded = Recorded(shared, encoder, *METHODS)
    assert len(recorded.runs) == 15
    for run in recorded.runs:
        task, test = recorded.task(run), recorded.test(run)
        assert task.support is not None
        base = run["T_scale"] * recorded.text.classifier()
        x, y = task.support.x, task.support.labels
        weight, losses = prototypes_fit(
            x,
            y,
            base,
            batches=recorded_batches(run, len(y)),
            learning_rates=dassl_schedule(run["lr"], run["epochs"]),
            penalty=clap_penalty(x, y, base) if run["method"] == "clap_T8" else None,
        )
        assert losses[-1] == pytest.approx(run["final_loss"], rel=0.05, abs=2e-3)
        found = (test.x @ torch.nn.functional.normalize(weight, dim=1).T).argmax(1)
        assert abs(int((found == test.labels).sum()) - run["correct"]) <= 2, run


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ENCODERS)
def test_recorded_runs_by_the_method_itself(shared: Path, encoder: str) -> None:
    """The default brings unit-norm texts to length 8; up to 256 rows the batch order can't matter."""
    recorded = Recorded(shared, encoder, "zslp_T8", "clap_T8")
    for run in (r for r in recorded.runs if r["shots"] in {1, 8}):
        fit, test = METHODS[run["method"]]().fit(recorded.task(run)), recorded.test(run)
        assert fit.trace.chosen["text_scale"] == pytest.approx(8, rel=1e-6)
        assert abs(int((fit(test).argmax(1) == test.labels).sum()) - run["correct"]) <= 2, run


# ---- an independent reference -----------------------------------------------------------------------------------


def reference(x: np.ndarray, y: np.ndarray, base: np.ndarray, held: np.ndarray, rates: list[float]) -> np.ndarray:
    """Full-batch heavy-ball descent with the gradient of the cosine softmax written out."""
    v = x / np.linalg.norm(x, axis=1, keepdims=True)
    w, speed = base.copy(), np.zeros_like(base)
    for rate in rates:
        length = np.linalg.norm(w, axis=1, keepdims=True)
        z = 100 * v @ (w / length).T
        q = np.exp(z - z.max(1, keepdims=True))
        q = q / q.sum(1, keepdims=True) - np.eye(len(w))[y]
        outer = 100 / len(y) * q.T @ v
        along = (outer * w).sum(1, keepdims=True) / length**2
        gradient = (outer - along * w) / length + 2 / len(w) * held[:, None] * (w - base)
        speed = 0.9 * speed + gradient
        w = w - rate * speed
    return w


@pytest.mark.parametrize("kind", [ZSLP, CLAP])
def test_the_fit_equals_the_reference(kind: type[ZSLP]) -> None:
    made = case()
    assert made.text is not None
    assert made.support is not None
    keep = torch.tensor([0, 1, 2, 3, 4, 6, 7, 9, 12, 14])  # 3, 2, 2, 1 and 2 labels
    task = Task(made.class_names, made.text, made.support[keep])
    assert task.support is not None
    base = made.text.classifier().numpy() * 8
    x, y = task.support.x.numpy(), task.support.labels.numpy()
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    z = np.exp(100 * unit @ base.T / 8)
    true = (z / z.sum(1, keepdims=True))[np.arange(len(y)), y]
    held = np.array([true[y == c].mean() for c in range(5)]) if kind is CLAP else np.zeros(5)
    expected = reference(x, y, base, held, dassl_schedule(0.1, 300))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(weights(task, kind).numpy(), expected, rtol=0, atol=1e-9)


# ---- the method's own rules -------------------------------------------------------------------------------------


def case(**options: Any) -> Task:
    return example({Need.TEXT, Need.LABELS}, **options).task


def weights(task: Task, kind: type[ZSLP] = ZSLP, **fields: Any) -> torch.Tensor:
    weight: torch.Tensor = kind(**fields).fit(task).head.state_dict()["weight"]
    return weight


def with_texts(task: Task, factor: float) -> Task:
    assert task.text is not None
    rows = torch.nn.functional.normalize(task.text.x, dim=1) * factor
    return dataclasses.replace(task, text=TextFeatures(rows, task.text.classes))


@pytest.mark.parametrize("kind", [ZSLP, CLAP])
class TestShortTexts:
    """At unit norm the published learning rate is chaotic."""

    def test_texts_come_to_clips_raw_length(self, kind: type[ZSLP]) -> None:
        raw, unit = with_texts(case(), 8), with_texts(case(), 1)
        torch.testing.assert_close(weights(unit, kind), weights(raw, kind), rtol=0, atol=1e-9)
        trace = kind().fit(unit).trace
        assert trace.how["text_scale"] == "rule"
        assert trace.chosen["text_scale"] == pytest.approx(8)

    def test_short_ones_are_refused_with_what_to_do(self, kind: type[ZSLP]) -> None:
        said = r"of length 1 are too short for a learning rate of 0.1: .* text_scale at 'auto', .* at most 0.01, "
        with pytest.raises(UsageError, match=said):
            kind(text_scale=1).fit(with_texts(case(), 1))
        kind(text_scale=1, learning_rate=0.0099).fit(with_texts(case(), 1))
        kind(text_scale=1, averaging="raw_mean").fit(with_texts(case(), 10))

    def test_unless_asked_for(self, kind: type[ZSLP]) -> None:
        task = with_texts(case(), 1)
        fit = kind(text_scale=1, legacy_short_texts=True).fit(task)
        assert fit.trace.chosen["legacy_short_texts"] is True

    def test_the_guard_knows_the_logit_scale(self, kind: type[ZSLP]) -> None:
        task = dataclasses.replace(with_texts(case(), 1), logit_scale=10.0)
        kind(text_scale=1).fit(task)


@pytest.mark.slow
def test_the_guard_stands_where_rounding_starts_to_decide(shared: Path) -> None:
    """CLAP on real unit-norm texts: noise of a millionth changes many answers below the guard, none at the default."""
    recorded = Recorded(shared, "clip_vitb32", "clap_T8")
    task, test = recorded.task(recorded.runs[1]), recorded.test(recorded.runs[1])
    assert task.support is not None
    noise = 1 + 1e-6 * torch.randn(task.support.x.shape, generator=torch.Generator().manual_seed(0))
    other = dataclasses.replace(task, support=dataclasses.replace(task.support, x=task.support.x * noise))
    changed = [
        int((method.fit(task)(test).argmax(1) != method.fit(other)(test).argmax(1)).sum())
        for method in (CLAP(), CLAP(text_scale=1, legacy_short_texts=True))
    ]
    assert changed[0] <= 1
    assert changed[1] > 10


@pytest.mark.parametrize(
    "fields",
    [
        {"momentum": 0.0},
        {"schedule": "constant"},
        {"schedule": "cosine"},
        {"learning_rate": 1e-2},
        {"epochs": 7},
        {"batch_size": 4},
        {"text_scale": 6.0},
        {"averaging": "raw_mean"},
    ],
)
def test_every_switch_switches(fields: dict[str, Any]) -> None:
    assert not torch.equal(weights(case(), **fields), weights(case()))


def test_a_vanishing_learning_rate_leaves_zero_shot() -> None:
    task = case()
    assert task.text is not None
    found = weights(task, learning_rate=1e-13, schedule="constant")
    torch.testing.assert_close(found, task.text.classifier(), rtol=0, atol=1e-9)


def test_the_loss_falls_and_every_epoch_is_told() -> None:
    trace = ZSLP().fit(case()).trace
    assert len(trace.losses) == 300
    assert trace.losses[-1] < trace.losses[0]
    assert trace.how["learning_rate"] == "fixed"


class TestViews:
    """All stored views form the pool that batches are drawn from."""

    def test_they_are_trained_on_unless_switched_off(self) -> None:
        made = example({Need.TEXT, Need.LABELS, Need.VIEWS}).task
        assert torch.equal(weights(made, use_views=False), weights(case()))
        assert not torch.equal(weights(made), weights(case()))
        assert Need.VIEWS in ZSLP().requires().optional
        assert Need.VIEWS not in ZSLP(use_views=False).requires().optional

    def test_small_pools_are_one_batch(self) -> None:
        made = example({Need.TEXT, Need.LABELS, Need.VIEWS}).task
        assert made.support is not None
        assert made.support.views is not None
        flat = Features(made.support.views.flatten(0, 1), made.support.labels.repeat_interleave(4))
        pooled = Task(made.class_names, made.text, flat)
        torch.testing.assert_close(weights(made), weights(pooled), rtol=0, atol=1e-12)

    def test_no_view_in_the_array_means_the_clean_one(self) -> None:
        task = case()
        assert task.support is not None
        support = Features(task.support.x, task.support.y, views=task.support.x[:, None][:, :0])
        assert torch.equal(weights(Task(task.class_names, task.text, support)), weights(task))


@pytest.mark.parametrize(("images", "views", "count"), [(300, 1, 1), (512, 1, 2), (40, 20, 1), (600, 3, 2)])
def test_an_epoch_has_as_many_batches_as_the_images_fill(images: int, views: int, count: int) -> None:
    batches = pool_batches(images, images * views, 256, seed=0)
    epochs = [batches(0), batches(1)]
    for epoch in epochs:
        assert [len(b) for b in epoch] == [256] * count
        assert len(set(torch.cat(epoch).tolist())) == 256 * count
    assert not torch.equal(epochs[0][0], epochs[1][0])
    assert torch.equal(pool_batches(images, images * views, 256, seed=0)(1)[0], epochs[1][0])
    assert not torch.equal(pool_batches(images, images * views, 256, seed=1)(1)[0], epochs[1][0])


def test_without_views_batches_are_those_of_the_images_alone() -> None:
    for n in (7, 256, 257, 512, 700):
        counts = [len(b) for b in pool_batches(n, n, 256, seed=0)(3)]
        plain = shuffled_batches(n, 256, drop_last=True, seed=0, key=("test",))(3)
        assert counts == [len(b) for b in plain]


def test_a_diverging_fit_says_so() -> None:
    with pytest.raises(DivergedError, match="smaller learning rate"):
        weights(case(), learning_rate=1e308, schedule="constant", legacy_short_texts=True)


def test_texts_without_length_are_refused() -> None:
    with pytest.raises(DataError, match="zero vectors"):
        raw_factor(torch.zeros(5, 16))


def test_fitting_inside_inference_mode_is_fine() -> None:
    expected = weights(case())
    with torch.inference_mode():
        assert torch.equal(weights(case()), expected)
