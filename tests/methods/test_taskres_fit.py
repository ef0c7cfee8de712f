"""The optimisation of TaskRes: its gradient, and many fits at once."""

from __future__ import annotations

import pytest
import torch

from clipwright.core.errors import DataError
from clipwright.methods.taskres_fit import CosineCrossEntropy, taskres_fit, taskres_fit_many
from clipwright.training.loop import DivergedError
from clipwright.training.schedules import cosine_schedule

SETS, ROWS, CLASSES, DIM = 3, 14, 4, 9


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def classes() -> torch.Tensor:
    return torch.stack([(torch.arange(ROWS) + s) % CLASSES for s in range(SETS)])


@pytest.mark.parametrize("lead", [(), (SETS,)])
def test_loss_and_gradient_in_closed_form(lead: tuple[int, ...]) -> None:
    rows = torch.nn.functional.normalize(draw(*lead, ROWS, DIM), dim=-1)
    y = classes() if lead else classes()[0]
    weight = draw(*lead, CLASSES, DIM, seed=1).requires_grad_()
    found = CosineCrossEntropy.apply(weight, rows, y, 20.0)
    (gradient,) = torch.autograd.grad(found.sum(), weight)
    logits = 20 * rows @ torch.nn.functional.normalize(weight, dim=-1).mT
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, -2), y.flatten(), reduction="none")
    expected = expected.reshape(y.shape).mean(-1)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), weight)[0])
    assert torch.autograd.gradcheck(lambda w: CosineCrossEntropy.apply(w, rows, y, 2.0), (weight,))


@pytest.mark.parametrize("own_bases", [False, True])
@pytest.mark.parametrize("views", [False, True])
def test_many_fits_are_the_fits_one_by_one(views: bool, own_bases: bool) -> None:
    x, y = draw(5, SETS, ROWS, DIM), classes()
    base = draw(SETS, CLASSES, DIM, seed=2) if own_bases else draw(CLASSES, DIM, seed=2)
    rates = cosine_schedule(1e-2, 12)
    residuals, losses = taskres_fit_many(
        (lambda epoch: x[epoch % 5]) if views else x[0], y, base, learning_rates=rates, logit_scale=30.0
    )
    assert losses.shape == (SETS, 12)
    for s in range(SETS):
        alone, each = taskres_fit(
            (lambda epoch, s=s: x[epoch % 5, s]) if views else x[0, s],  # type: ignore[misc] # bound now
            y[s],
            base[s] if own_bases else base,
            batches=[[torch.arange(ROWS)]] * 12,
            learning_rates=rates,
            logit_scale=30.0,
        )
        torch.testing.assert_close(residuals[s], alone, rtol=0, atol=1e-12)
        torch.testing.assert_close(losses[s].tolist(), each, rtol=0, atol=1e-12)


def test_many_fits_without_epochs_are_zero() -> None:
    residuals, losses = taskres_fit_many(draw(SETS, ROWS, DIM), classes(), draw(CLASSES, DIM), learning_rates=[])
    assert residuals.shape == (SETS, CLASSES, DIM)
    assert not bool(residuals.any())
    assert losses.shape == (SETS, 0)


def test_shapes_that_do_not_fit_are_refused() -> None:
    for x, y in ((draw(ROWS, DIM), classes()), (draw(SETS, ROWS, DIM), classes()[0])):
        with pytest.raises(DataError, match=r"many fits take \(S, N, D\)"):
            taskres_fit_many(x, y, draw(CLASSES, DIM), learning_rates=[1e-3])


def test_one_diverging_fit_says_so() -> None:
    with pytest.raises(DivergedError, match="diverged"):
        taskres_fit_many(draw(SETS, ROWS, DIM), classes(), draw(CLASSES, DIM), learning_rates=[1e308] * 3)
