"""ScoreScaling: a convex fit against an independent one, stacking, and what it does with scores alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from clipwright.core.errors import DataError, NeedsError
from clipwright.methods.example import example
from clipwright.methods.score_scaling import GRID, PRIOR, UNKNOWN, ScoreScaling, scale_scores
from clipwright.task import Access, Features, Need, Task


def made(n: int = 60, models: int = 2, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores of models, the first of which is the better one but dislikes class 1."""
    draws = np.random.default_rng(seed)
    y = np.arange(n) % classes
    scores = draws.normal(size=(n, models, classes))
    for s in range(models):
        scores[np.arange(n), s, y] += 2.5 - 1.5 * s
    scores[:, 0, 1] -= 2
    return scores, y


def value(scores: np.ndarray, y: np.ndarray, x: torch.Tensor, strength: float) -> torch.Tensor:
    """The objective, written with autograd."""
    _, models, classes = scores.shape
    w, d, b = x[:models], x[models : models * (classes + 1)].view(models, classes), x[models * (classes + 1) :]
    logs = torch.log_softmax(torch.from_numpy(scores), -1)
    logits = torch.einsum("nsc,sc->nc", logs, w[:, None] + d) + b
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y), reduction="sum")
    ridge = PRIOR / 2 * ((w - 1 / models) ** 2).sum() + strength / 2 * ((d**2).sum() + (b**2).sum())
    total: torch.Tensor = loss + ridge
    return total


@pytest.mark.parametrize("models", [1, 2, 3])
def test_the_minimum_is_found(models: int) -> None:
    scores, y = made(models=models)
    weight, bias = scale_scores(scores, y, strength=5.0)
    x = torch.zeros(models + models * 4 + 4, dtype=torch.float64)
    x[:models] = 1 / models
    x.requires_grad_()
    newton = torch.optim.LBFGS([x], max_iter=500, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        newton.zero_grad()
        loss = value(scores, y, x, 5.0)
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        return loss

    newton.step(closure)  # type: ignore[no-untyped-call] # torch leaves it untyped
    found = x.detach().numpy()
    expected = found[:models, None] + found[models : models * 5].reshape(models, 4)
    np.testing.assert_allclose(weight, expected, atol=1e-4)
    np.testing.assert_allclose(bias, found[models * 5 :], atol=1e-4)


def test_temperature_has_a_weight_per_model() -> None:
    scores, y = made()
    weight, bias = scale_scores(scores, y, vector=False)
    assert np.ptp(weight, axis=1).max() == 0
    assert np.abs(bias).max() == 0
    assert weight[0, 0] > weight[1, 0]


def task_of(scores: np.ndarray, y: np.ndarray) -> Task:
    rows = Features(torch.zeros(len(y), 0), torch.from_numpy(y), tuple(map(str, y)), scores=torch.from_numpy(scores))
    rows = dataclasses.replace(rows, ids=tuple(str(i) for i in range(len(y))))
    return Task(tuple(f"class {c}" for c in range(scores.shape[2])), support=rows)


def test_scores_alone_are_enough() -> None:
    scores, y = made(200, 1)
    task = task_of(scores, y)
    assert task.grants() == {Access.SCORES}
    assert task.supplies() == {Need.LABELS, Need.SCORES}
    fitted = ScoreScaling().fit(task)
    assert fitted.head.inputs == ("scores",)
    assert fitted.trace.chosen["strength"] in GRID
    assert fitted.trace.how["strength"] == "cross-validation"
    test_scores, test_y = made(4000, 1, seed=1)
    rows = Features(torch.zeros(4000, 0), scores=torch.from_numpy(test_scores))
    before = (test_scores[:, 0].argmax(1) == test_y).mean()
    assert (fitted(rows).argmax(1).numpy() == test_y).mean() > before + 0.02


def test_stacked_models_are_better_than_the_best_of_them() -> None:
    scores, y = made(200, 2)
    fitted = ScoreScaling().fit(task_of(scores, y))
    test_scores, test_y = made(4000, 2, seed=1)
    right = fitted(Features(torch.zeros(4000, 0), scores=torch.from_numpy(test_scores))).argmax(1).numpy() == test_y
    alone = [ScoreScaling().fit(task_of(scores[:, [s]], y)) for s in (0, 1)]
    singles = [
        (a(Features(torch.zeros(4000, 0), scores=torch.from_numpy(test_scores[:, [s]]))).argmax(1).numpy() == test_y)
        for s, a in enumerate(alone)
    ]
    assert right.mean() > max(s.mean() for s in singles) + 0.01


def test_with_one_label_per_class_a_rule_decides() -> None:
    fitted = ScoreScaling().fit(example({Need.LABELS, Need.TEXT}, shots=1).task)
    assert (fitted.trace.chosen["strength"], fitted.trace.how["strength"]) == (UNKNOWN, "rule")
    assert ScoreScaling(strength=3).fit(example({Need.LABELS, Need.TEXT}).task).trace.chosen["strength"] == 3


def test_refusals() -> None:
    with pytest.raises(NeedsError, match="class scores"):
        ScoreScaling().fit(example({Need.LABELS}).task)
    scores, y = made(40, 1)
    with pytest.raises(DataError, match="scores of the support set are those of 4 classes"):
        dataclasses.replace(task_of(scores, y), class_names=("a", "b", "c", "d", "e"))
    spoilt = scores.copy()
    spoilt[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="scores hold NaN"):
        task_of(spoilt, y)
