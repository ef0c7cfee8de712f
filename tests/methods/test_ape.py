"""APE and APE-T against independent references, and their rules."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from clipwright.methods.ape import APE, refined_channels
from clipwright.methods.conformance import CHECKS, run_check
from clipwright.methods.example import example
from clipwright.task import Need, Task


def case(shots: int = 3, *needs: Need) -> Task:
    return dataclasses.replace(example({Need.TEXT, Need.LABELS, *needs}, shots=shots).task, logit_scale=20.0)


def unit(x: Any) -> Any:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def cost(texts: np.ndarray, trade_off: float) -> np.ndarray:
    """Channel by channel, pair of classes by pair of classes."""
    C, D = texts.shape
    found = np.zeros(D)
    for k in range(D):
        similarity = sum(texts[i, k] * texts[j, k] for i in range(C) for j in range(C) if i != j) / C**2
        variance = sum((texts[i, k] - texts[:, k].mean()) ** 2 for i in range(C)) / C
        found[k] = trade_off * similarity - (1 - trade_off) * variance
    return found


@pytest.mark.parametrize("trade_off", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("count", [1, 5, 12])
def test_channels_are_the_cheapest(trade_off: float, count: int) -> None:
    texts = unit(np.random.default_rng(0).standard_normal((4, 12)))
    found = refined_channels(torch.from_numpy(texts), count, trade_off)
    assert found.tolist() == sorted(np.argsort(cost(texts, trade_off))[:count])


def parts(task: Task, trade_off: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Texts, refined channels, labels and unit support rows."""
    assert task.text is not None
    assert task.support is not None
    texts = task.text.classifier().numpy()
    channels = np.argsort(cost(texts, trade_off))[:12]  # 0.78 of 16
    return texts, channels, task.support.labels.numpy(), unit(task.support.x.numpy())


def scores(task: Task, channels: np.ndarray, texts: np.ndarray, y: np.ndarray, rows: np.ndarray) -> np.ndarray:
    z = task.logit_scale * unit(rows[:, channels]) @ unit(texts[:, channels]).T
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    return np.asarray([p[i, c] ** -0.1 for i, c in enumerate(y)])  # exp(0.1 * -log p)


def test_logits_are_those_of_the_reference() -> None:
    task, x = case(), unit(example().test.x.numpy())
    texts, channels, y, rows = parts(task, 0.7)
    votes = np.exp(-3.0 * (1 - unit(x[:, channels]) @ unit(rows[:, channels]).T)) * scores(
        task, channels, texts, y, rows
    )
    expected = task.logit_scale * x @ texts.T + 2.0 * votes @ np.eye(5)[y]
    found = APE(beta=3.0, alpha=2.0).fit(task)(example().test)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_the_first_step_of_training() -> None:
    """AdamW's first step is the rate times the sign of the gradient, softened by epsilon; gradients by differences."""
    task = case()
    texts, channels, y, rows = parts(task, 0.2)
    start = scores(task, channels, texts, y, rows)

    def loss(residual: np.ndarray, score: np.ndarray) -> float:
        weight = texts.copy()
        weight[:, channels] += residual
        keys = unit(rows[:, channels]) + residual[y]
        votes = np.exp(-3.0 * (1 - unit(rows[:, channels]) @ keys.T)) * score
        z = task.logit_scale * rows @ weight.T + 2.0 * votes @ np.eye(5)[y]
        return float(np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y]))

    def slope(place: tuple[int, ...], which: int) -> float:
        ends = []
        for step in (1e-6, -1e-6):
            given = [np.zeros((5, 12)), start.copy()]
            given[which][place] += step
            ends.append(loss(given[0], given[1]))
        return (ends[0] - ends[1]) / 2e-6

    state = APE(trained=True, beta=3.0, alpha=2.0, epochs=1).fit(task).head.state_dict()
    residual = (state["weight"].numpy() - texts)[:, channels]
    for place in [(0, 0), (3, 7), (4, 11)]:
        g = slope(place, 0)
        assert residual[place] == pytest.approx(-1e-3 * g / (abs(g) + 1e-3), abs=1e-9)
    for i in (0, 8, 14):
        g = slope((i,), 1)
        expected = start[i] * (1 - 1e-5) - 1e-3 * g / (abs(g) + 1e-3)
        assert float(state["key_weight"][i]) == pytest.approx(expected, abs=1e-9)
    order = np.argsort(np.argsort(channels))
    moved = state["keys"].numpy()[:, order] - unit(rows[:, channels])
    np.testing.assert_allclose(moved, residual[y], atol=1e-12)
    others = np.setdiff1d(np.arange(16), channels)
    np.testing.assert_allclose(state["weight"].numpy()[:, others], texts[:, others], rtol=0, atol=1e-15)


def test_the_trace_says_where_values_came_from() -> None:
    trace = APE().fit(case()).trace
    assert (trace.chosen["trade_off"], trace.how["trade_off"], trace.how["beta"]) == (0.7, "rule", "cross-validation")
    trained = APE(trained=True).fit(case(1)).trace
    assert (trained.chosen["trade_off"], trained.how["beta"]) == (0.2, "rule")
    assert len(trained.losses) == 20
    assert APE(trade_off=0.5).fit(case()).trace.how["trade_off"] == "user"


def test_validation_rows_choose_epoch_and_pair() -> None:
    task = dataclasses.replace(case(), validation=example().test)
    trace = APE(trained=True, epochs=3).fit(task).trace
    assert trace.how["beta"] == "validation"
    assert trace.labels_per_class == (7,) * 5
    assert "of 3 was kept" in trace.notes[0]


@pytest.mark.parametrize("fields", [{"gamma": 0.0}, {"channels": 0.5}, {"trade_off": 0.0}, {"trained": True}])
def test_every_switch_switches(fields: dict[str, Any]) -> None:
    task, test = case(), example().test
    base = APE(beta=3.0, alpha=2.0).fit(task)(test)
    assert not torch.equal(APE(beta=3.0, alpha=2.0, **fields).fit(task)(test), base)


def test_views_make_keys_and_training_rows() -> None:
    task = case(3, Need.VIEWS)
    for fields in ({}, {"trained": True}):
        clean = APE(use_views=False, **fields).fit(task).head.state_dict()["keys"]  # type: ignore[arg-type]
        assert torch.equal(clean, APE(**fields).fit(case()).head.state_dict()["keys"])  # type: ignore[arg-type]
        assert not torch.equal(clean, APE(**fields).fit(task).head.state_dict()["keys"])  # type: ignore[arg-type]


@pytest.mark.parametrize("check", sorted(set(CHECKS) - {"ties"}))
def test_the_trained_form_conforms(check: str) -> None:
    """All but ties: where images of one class carry another label too, rounding grows from step to step."""
    run_check(check, APE(trained=True))
