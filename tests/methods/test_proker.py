"""ProKeR against an explicit kernel system in NumPy, refits without each row, and its rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from clipwright.core.choice import near_best
from clipwright.core.errors import DataError, NeedsError
from clipwright.methods.example import example
from clipwright.methods.proker import GRID, MOST, ProKeR, left_out_errors, proximal_coefficients
from clipwright.methods.zero_shot import ZeroShot
from clipwright.task import Features, Need, Task


def case(shots: int = 3, **options: Any) -> Task:
    return example({Need.TEXT, Need.LABELS}, shots=shots, **options).task


def unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.sqrt((x**2).sum(-1))[..., None])


def reference(task: Task, test: Features, *, regularization: float, beta: float, prior: float) -> np.ndarray:
    """Logits from squared distances and an explicit inverse, in float64."""
    assert task.support is not None
    assert task.text is not None
    keys, queries = unit(task.support.x.double().numpy()), unit(test.x.double().numpy())
    prompts = unit(task.text.x.double().numpy()).reshape(-1, task.n_classes, keys.shape[1])
    texts = unit(prompts.mean(0))
    scale = prior * task.logit_scale
    target = np.eye(task.n_classes)[task.support.labels.numpy()]

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(-beta / 2 * ((a[:, None] - b[None]) ** 2).sum(-1)))

    inverse = np.linalg.inv(kernel(keys, keys) + regularization * np.eye(len(keys)))
    f = scale * queries @ texts.T + kernel(queries, keys) @ (inverse @ (target - scale * keys @ texts.T))
    return np.asarray(f / prior)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("regularization", "beta", "prior"), [(0.1, 4.0, 0.05), (2.0, 1.5, 0.01), (0.01, 12.0, 0.3)])
def test_logits_are_those_of_the_kernel_system(
    dtype: torch.dtype, regularization: float, beta: float, prior: float
) -> None:
    made = example({Need.TEXT, Need.LABELS}, shots=4, dtype=dtype)
    found = ProKeR(regularization=regularization, beta=beta, prior=prior).fit(made.task)(made.test)
    expected = reference(made.task, made.test, regularization=regularization, beta=beta, prior=prior)
    assert found.dtype == dtype
    tolerance = 1e-10 if dtype == torch.float64 else 2e-5
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=tolerance * np.abs(expected).max())


def test_the_coefficients_minimise_the_regularised_error() -> None:
    """At the minimum of ``|P + K A - Y|^2 + r A' K A`` the gradient in A is zero."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(12, 5, dtype=torch.float64, generator=generator)
    kernel, residual = (
        torch.exp(-(torch.cdist(x, x) ** 2)),
        torch.randn(12, 3, dtype=torch.float64, generator=generator),
    )
    found = proximal_coefficients(kernel, residual, 0.3).requires_grad_()
    loss = (kernel @ found - residual).square().sum() + 0.3 * (found * (kernel @ found)).sum()
    (gradient,) = torch.autograd.grad(loss, found)
    assert float(gradient.abs().max()) < 1e-10


def test_errors_of_rows_left_out_are_those_of_refitting() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(10, 4, dtype=torch.float64, generator=generator)
    kernel, residual = (
        torch.exp(-(torch.cdist(x, x) ** 2)),
        torch.randn(10, 3, dtype=torch.float64, generator=generator),
    )
    found = left_out_errors(kernel, residual, (0.05, 1.0))
    for k, regularization in enumerate((0.05, 1.0)):
        for i in range(10):
            kept = torch.arange(10) != i
            rest = proximal_coefficients(kernel[kept][:, kept], residual[kept], regularization)
            torch.testing.assert_close(found[k, i], residual[i] - kernel[i, kept] @ rest, rtol=0, atol=1e-10)


def test_the_regularization_is_chosen_on_images_left_out_in_turn() -> None:
    task = case(3, seed=3)
    assert task.support is not None
    correct = [0] * len(GRID)
    for i in range(len(task.support)):
        kept = torch.arange(len(task.support)) != i
        rest = replace(task, support=task.support[kept])
        for k, value in enumerate(GRID):
            logits = ProKeR(regularization=value).fit(rest)(task.support[[i]])
            correct[k] += int(logits.argmax()) == int(task.support.labels[i])
    trace = ProKeR().fit(task).trace
    assert trace.how["regularization"] == "cross-validation"
    assert trace.chosen["regularization"] == near_best(correct, GRID, 0.1)


def test_validation_images_come_before_leaving_out_and_are_counted() -> None:
    held_out = example({Need.TEXT, Need.LABELS}, shots=2, seed=1).task.support
    assert held_out is not None
    task = replace(case(3), validation=held_out)
    trace = ProKeR().fit(task).trace
    assert trace.how["regularization"] == "validation"
    assert trace.labels_per_class == (5,) * 5
    right = [int((ProKeR(regularization=r).fit(task)(held_out).argmax(1) == held_out.labels).sum()) for r in GRID]
    assert trace.chosen["regularization"] == near_best(right, GRID, 0.1)


def test_one_shot_and_many_images_follow_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    one = ProKeR().fit(case(1)).trace
    assert (one.chosen["regularization"], one.how["regularization"]) == (0.5, "rule")
    assert MOST == 3000
    monkeypatch.setattr("clipwright.methods.proker.MOST", 14)
    many = ProKeR().fit(case(3)).trace
    assert (many.chosen["regularization"], many.how["regularization"]) == (0.1, "rule")


def test_unequal_counts_leave_out_only_what_can_be() -> None:
    task = case(4)
    assert task.support is not None
    kept = torch.cat([(task.support.labels == c).nonzero()[:n, 0] for c, n in enumerate((1, 4, 4, 3, 1))])
    fitted = ProKeR().fit(replace(task, support=task.support[kept]))
    assert fitted.trace.how["regularization"] == "cross-validation"


def test_a_given_value_is_the_users() -> None:
    assert ProKeR(regularization=2.0).fit(case()).trace.how["regularization"] == "user"


def test_a_strong_regularization_gives_zero_shot() -> None:
    made = example({Need.TEXT, Need.LABELS})
    found = ProKeR(regularization=1e12).fit(made.task)(made.test)
    torch.testing.assert_close(found, ZeroShot().fit(made.task)(made.test), rtol=0, atol=1e-6)


def test_a_weak_one_answers_the_labels_themselves() -> None:
    task = case()
    assert task.support is not None
    found = 0.05 * ProKeR(regularization=1e-9).fit(task)(task.support)
    expected = torch.nn.functional.one_hot(task.support.labels, 5).double()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_class_without_labels_is_named() -> None:
    task = case()
    assert task.support is not None
    with pytest.raises(DataError, match="class 'class 3' has no labelled image"):
        ProKeR().fit(replace(task, support=task.support[task.support.labels != 3]))


def test_no_texts_are_refused() -> None:
    with pytest.raises(NeedsError, match="ProKeR needs text features"):
        ProKeR().fit(example({Need.LABELS}).task)
