"""TIP-X against independent references: the formula, the scale of divergences, and the search by re-evaluation."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from clipwright.methods.example import example
from clipwright.methods.tip_adapter import TipAdapter
from clipwright.methods.tip_x import EXPECTED, ONE_SHOT_ALPHA, TIPX, rescaling
from clipwright.task import Features, Need, Task

BETA, ALPHA, GAMMA = 3.0, 1.5, 2.5


def case(*needs: Need, shots: int = 3, made: int = 0, **options: Any) -> tuple[Task, Features]:
    """A task whose last `made` images of each class are generated, and rows to predict."""
    found = example({Need.TEXT, Need.LABELS, *needs}, shots=shots + made, **options)
    support = found.task.support
    assert support is not None
    generated = torch.arange(len(support)) % (shots + made) >= shots
    return dataclasses.replace(
        found.task, support=dataclasses.replace(support, generated=generated), logit_scale=20.0
    ), found.test


def unit(x: Any) -> np.ndarray:
    rows = np.asarray(x, dtype=np.float64)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def divergences(x: np.ndarray, keys: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """(m, N) Kullback-Leibler divergences, pair by pair."""
    r, q = (np.exp(rows @ texts.T / 0.5) for rows in (x, keys))
    r, q = r / r.sum(1, keepdims=True), q / q.sum(1, keepdims=True)
    return np.array([[np.sum(a * np.log(a / b)) for b in q] for a in r])


def by_hand(task: Task, test: Features, votes: np.ndarray | None = None) -> np.ndarray:
    """Logits as published, but for what takes divergences to the range of affinities: the keys' own."""
    assert task.support is not None
    assert task.text is not None
    x, keys, texts = unit(test.x), unit(task.support.x), task.text.classifier().double().numpy()
    onehot = np.eye(task.n_classes)[task.support.labels.numpy()] * (1 if votes is None else votes[:, None])
    apart = ~np.eye(len(keys), dtype=bool)
    affinity, own = (keys @ keys.T)[apart], divergences(keys, keys, texts)[apart]
    moved = (divergences(x, keys, texts) - own.min()) / (own.max() - own.min())
    rescaled = affinity.min() + moved * (affinity.max() - affinity.min())
    return np.asarray(20 * x @ texts.T + ALPHA * np.exp(-BETA * (1 - x @ keys.T)) @ onehot - GAMMA * rescaled @ onehot)


@pytest.mark.parametrize("made", [0, 2])
def test_it_is_the_published_formula(made: int) -> None:
    task, test = case(made=made)
    fitted = TIPX(beta=BETA, alpha=ALPHA, gamma=GAMMA).fit(task)
    np.testing.assert_allclose(fitted(test), by_hand(task, test), rtol=1e-9)
    assert fitted.trace.how["gamma"] == "user"


def test_classes_with_more_images_have_no_more_to_say_unless_as_released() -> None:
    task, test = case()
    assert task.support is not None
    task = dataclasses.replace(task, support=task.support[1:])
    assert task.support is not None
    count = np.bincount(task.support.labels)[task.support.labels]
    for legacy, votes in ((True, np.ones(14)), (False, 14 / 5 / count)):
        found = TIPX(beta=BETA, alpha=ALPHA, gamma=GAMMA, legacy_votes=legacy).fit(task)(test)
        np.testing.assert_allclose(found, by_hand(task, test, votes), rtol=1e-9)


def test_without_divergences_it_is_tip_adapter() -> None:
    task, test = case()
    found = TIPX(beta=BETA, alpha=ALPHA, gamma=0).fit(task)(test)
    torch.testing.assert_close(found, TipAdapter(beta=BETA, alpha=ALPHA).fit(task)(test))


def test_an_answer_does_not_depend_on_which_images_come_together() -> None:
    task, test = case()
    fitted = TIPX().fit(task)
    torch.testing.assert_close(fitted(test)[4:7], fitted(test[[4, 5, 6]]))


def test_the_scale_is_read_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = torch.nn.functional.normalize(torch.randn(9, 4, dtype=torch.float64))
    shares = torch.randn(9, 5, dtype=torch.float64).log_softmax(1) + np.log(5)
    whole = rescaling(keys, shares)
    monkeypatch.setattr("clipwright.methods.tip_x._BLOCK", 18)
    assert rescaling(keys, shares) == pytest.approx(whole)


def test_a_single_key_or_equal_ones_have_no_scale() -> None:
    one = torch.ones(1, 1, dtype=torch.float64)
    assert rescaling(one, torch.zeros(1, 3)) == (0.0, 0.0)
    assert rescaling(one.expand(4, 1), torch.zeros(4, 3)) == (0.0, 1.0)


# ---- the search --------------------------------------------------------------------------------------------------


GRID: dict[str, Any] = {"search_low": (0.1, 0.1, 0.1), "search_high": (40.1, 60.1, 80.1), "search_steps": (3, 3, 3)}


def triples() -> list[tuple[float, float, float]]:
    axes = [[0.1 + i * width / 3 for i in range(3)] for width in (40, 60, 80)]
    return [(b, a, g) for b in axes[0] for a in axes[1] for g in axes[2]]


def test_validation_rows_are_scored_where_there_are_any() -> None:
    task, _ = case(Need.VALIDATION, classes=6, dim=4)
    rows = task.validation
    assert rows is not None
    found = TIPX(choice="first", **GRID).fit(task).trace
    fits = [TIPX(beta=b, alpha=a, gamma=g).fit(task) for b, a, g in triples()]
    counts = [int((fit(rows).argmax(1) == rows.labels).sum()) for fit in fits]
    assert len(set(counts)) > 1
    chosen = tuple(found.chosen[n] for n in ("beta", "alpha", "gamma"))
    assert chosen == pytest.approx(triples()[counts.index(max(counts))])
    assert found.how["gamma"] == "validation"
    assert found.labels_per_class == (5,) * 6


@pytest.mark.parametrize("made", [0, 2])
def test_each_real_image_is_left_out_where_there_is_no_validation_set(made: int) -> None:
    """The scale of divergences stays that of all keys: it is a constant of the classifier that is judged."""
    task, _ = case(shots=2, made=made, classes=6, dim=4)
    support = task.support
    assert support is not None
    found = TIPX(choice="first", **GRID).fit(task).trace
    counts = []
    for beta, alpha, gamma in triples():
        state = TIPX(beta=beta, alpha=alpha, gamma=gamma).fit(task).head.state_dict()
        slope, offset = float(state["slope"]), float(state["offset"])
        assert task.text is not None
        x, texts = unit(support.x), task.text.classifier().numpy()
        apart = np.exp(-beta * (1 - x @ x.T)) * alpha - gamma * (offset + slope * divergences(x, x, texts))
        right = 0
        for i in np.flatnonzero(~support.is_generated.numpy()):
            logits = 20 * texts @ x[i]
            for c in range(6):
                others = [apart[i, k] for k in range(len(x)) if support.labels[k] == c and k != i]
                logits[c] += np.mean(others) * (2 + made)
            right += int(logits.argmax() == support.labels[i])
        counts.append(right)
    assert len(set(counts)) > 1
    chosen = tuple(found.chosen[n] for n in ("beta", "alpha", "gamma"))
    assert chosen == pytest.approx(triples()[counts.index(max(counts))])
    assert found.how["gamma"] == "cross-validation"
    assert found.labels_per_class == (2,) * 6


@pytest.mark.parametrize(
    ("shots", "made", "expected"),
    [
        (1, 0, (EXPECTED[0], ONE_SHOT_ALPHA, EXPECTED[2])),
        (1, 3, (EXPECTED[0], ONE_SHOT_ALPHA, EXPECTED[2] / 4)),
        (0, 4, (EXPECTED[0], EXPECTED[1] / 4, EXPECTED[2] / 4)),
    ],
)
def test_nothing_real_to_hold_out_means_fixed_values(
    shots: int, made: int, expected: tuple[float, float, float]
) -> None:
    task, test = case(shots=shots, made=made)
    fitted = TIPX().fit(task)
    assert tuple(fitted.trace.chosen[n] for n in ("beta", "alpha", "gamma")) == expected
    assert fitted.trace.how["gamma"] == "rule"
    assert fitted.trace.labels_per_class == (shots,) * 5
    assert bool(torch.isfinite(fitted(test)).all())


def test_given_values_stay_and_the_others_are_searched() -> None:
    task, _ = case()
    trace = TIPX(alpha=4.0, gamma=0.0).fit(task).trace
    assert (trace.chosen["alpha"], trace.chosen["gamma"]) == (4.0, 0.0)
    assert (trace.how["beta"], trace.how["alpha"]) == ("cross-validation", "user")


def test_so_many_generated_keys_of_a_class_are_used() -> None:
    task, _ = case(shots=2, made=4)
    fitted = TIPX(generated_keys=1).fit(task)
    assert len(fitted.head.state_dict()["cache.keys"]) == 15
    assert fitted.trace.notes == ["5 of the 15 images remembered are generated."]
