"""LinearProbe against scikit-learn, against the gradient of its objective in torch, and its choice of C."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from clipwright.core.errors import NeedsError
from clipwright.methods.conformance import check_method
from clipwright.methods.example import Example, example
from clipwright.methods.linear_probe import GRID, LinearProbe, choose_strength, logistic_regression
from clipwright.task import Need

Data = tuple[np.ndarray, np.ndarray]


@pytest.fixture(params=[(12, 40), (60, 8)], ids=["fewer rows than columns", "more rows than columns"])
def data(request: pytest.FixtureRequest, rng: np.random.Generator) -> Data:
    """Unit rows of four classes of unequal size around a common mean, as CLIP's are."""
    n, dim = request.param
    y = np.concatenate([np.arange(4), rng.integers(4, size=n - 4)])
    x = rng.normal(size=(4, dim))[y] + rng.normal(size=(n, dim)) + 3
    return x / np.linalg.norm(x, axis=1, keepdims=True), y


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("C", [0.5, 100.0])
def test_from_zero_it_is_scikit_learns_logistic_regression(data: Data, C: float, intercept: bool) -> None:
    from sklearn.linear_model import LogisticRegression

    x, y = data
    theirs = LogisticRegression(C=C, fit_intercept=intercept, solver="newton-cg", tol=1e-12, max_iter=1000).fit(x, y)
    ours = logistic_regression(x, y, np.zeros((4, x.shape[1])), C=C, intercept=intercept)
    np.testing.assert_allclose(ours.weight, theirs.coef_, atol=1e-5 * abs(theirs.coef_).max())
    if intercept:
        theirs_bias = theirs.intercept_ - theirs.intercept_.mean()
        np.testing.assert_allclose(ours.bias, theirs_bias, atol=1e-5 * abs(theirs.coef_).max())
    else:
        assert not ours.bias.any()


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("C", [1.0, 1e4])
def test_the_gradient_of_the_objective_is_zero(data: Data, C: float, intercept: bool, rng: np.random.Generator) -> None:
    x, y = data
    centre = 10 * rng.normal(size=(4, x.shape[1]))
    found = logistic_regression(x, y, centre, C=C, intercept=intercept)
    weight, bias = (torch.from_numpy(part).requires_grad_() for part in found)
    pull = (weight - torch.from_numpy(centre)).square().sum() / (2 * C)
    logits = torch.from_numpy(x) @ weight.T + bias
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y), reduction="sum") + pull
    slopes = torch.autograd.grad(loss, [weight, bias])
    assert float(slopes[0].abs().max()) < 2e-6
    if intercept:
        assert float(slopes[1].abs().max()) < 2e-6


def test_a_strong_pull_gives_the_centre_back(data: Data, rng: np.random.Generator) -> None:
    x, y = data
    centre = rng.normal(size=(4, x.shape[1]))
    found = logistic_regression(x, y, centre, C=1e-9, intercept=False)
    np.testing.assert_allclose(found.weight, centre, atol=1e-7)


def few(case: Example, counts: tuple[int, ...]) -> Example:
    """The example with so many labels of each class."""
    support = case.task.support
    assert support is not None
    rows = [int(i) for c, n in enumerate(counts) for i in (support.labels == c).nonzero()[:n, 0]]
    return Example(replace(case.task, support=support[rows]), case.test)


def test_text_as_centre_ends_at_zero_shot_where_the_pull_is_strong() -> None:
    case = example({Need.TEXT, Need.LABELS})
    from clipwright.methods.zero_shot import ZeroShot

    found = LinearProbe(init="text", C=1e-9, intercept=False).fit(case.task)(case.test)
    torch.testing.assert_close(found, ZeroShot().fit(case.task)(case.test), atol=1e-5, rtol=0)


def test_the_head_gives_the_logits_of_the_pure_function() -> None:
    case = few(example({Need.LABELS}, shots=6), (1, 6, 2, 3, 4))
    rows, labels = case.task.support.unit_x().numpy(), case.task.support.labels.numpy()  # type: ignore[union-attr] # there is one
    found = logistic_regression(rows, labels, np.zeros((5, 16)), C=30.0)
    expected = case.test.unit_x().numpy() @ found.weight.T + found.bias
    np.testing.assert_allclose(LinearProbe(C=30).fit(case.task)(case.test).numpy(), expected, atol=1e-6)


def test_where_c_comes_from() -> None:
    one, more = example({Need.LABELS}, shots=1), example({Need.LABELS}, shots=4)
    mixed = few(more, (1, 4, 4, 1, 2))
    with_validation = replace(one.task, validation=more.task.support)
    traces = [LinearProbe().fit(t).trace for t in (one.task, more.task, mixed.task, with_validation)]
    assert [t.how["C"] for t in traces] == ["rule", "cross-validation", "cross-validation", "validation"]
    assert traces[0].chosen["C"] == one.task.logit_scale**2
    assert all(t.chosen["C"] in GRID for t in traces[1:])
    assert traces[3].labels_per_class == (5,) * 5
    user = LinearProbe(C=3.0).fit(more.task).trace
    assert (user.chosen["C"], user.how["C"]) == (3.0, "user")


def test_the_strength_is_the_best_of_the_grid_on_held_out_rows(rng: np.random.Generator) -> None:
    from clipwright.methods import linear_probe

    y = np.arange(40) % 4
    x = rng.normal(size=(4, 10))[y] + 1.5 * rng.normal(size=(40, 10))
    centre = np.zeros((4, 10))
    problem = linear_probe._Problem.of(x, y, centre, intercept=True)
    held = problem.other(x[::-1] + rng.normal(size=x.shape), y[::-1], centre)
    grid = [0.001, 0.01, 0.1, 1.0, 10.0]
    losses = []
    for C in grid:
        found = logistic_regression(x, y, centre, C=C)
        logits = torch.from_numpy(held.z[:, :-1] @ found.weight.T + found.bias)
        losses.append(float(torch.nn.functional.cross_entropy(logits, torch.from_numpy(held.y.copy()))))
    assert 0 < int(np.argmin(losses)) < 4
    assert choose_strength([problem], [held], grid) == grid[int(np.argmin(losses))]


def test_confidence_does_not_decide_how_strong_the_pull_to_the_text_is(rng: np.random.Generator) -> None:
    from clipwright.methods import linear_probe

    y = np.arange(60) % 4
    x = rng.normal(size=(4, 20))[y] + 1.5 * rng.normal(size=(60, 20))
    train = linear_probe._Problem.of(x[:20], y[:20], np.zeros((4, 20)), intercept=False)
    held = train.other(x[20:], y[20:], np.zeros((4, 20)))
    grid = [0.001, 1.0, 1e3]
    sharp = replace(held, z=20 * held.z)  # the same answers, each with twenty times the confidence
    plain, calibrated = (
        [choose_strength([train], [h], grid, calibrated=c) for h in (held, sharp)] for c in (False, True)
    )
    assert calibrated[0] == calibrated[1]
    assert plain[0] != plain[1]


def test_classes_in_another_order_get_the_same_folds() -> None:
    case = few(example({Need.LABELS}, shots=7), (7, 3, 1, 4, 6))
    order = torch.tensor([3, 0, 4, 1, 2])
    support = case.task.support
    assert support is not None
    other = replace(
        case.task,
        class_names=tuple(case.task.class_names[c] for c in order),
        support=replace(support, y=order.argsort()[support.labels]),
    )
    first, second = LinearProbe().fit(case.task), LinearProbe().fit(other)
    assert first.trace.chosen["C"] == second.trace.chosen["C"]
    torch.testing.assert_close(second(case.test), first(case.test)[:, order], atol=1e-5, rtol=0)


def test_text_is_needed_only_where_it_is_the_centre() -> None:
    task = example({Need.LABELS}).task
    assert LinearProbe().fit(task).head.n_classes == 5
    with pytest.raises(NeedsError, match="text features"):
        LinearProbe(init="text").fit(task)


def test_other_configurations_conform() -> None:
    check_method(LinearProbe(init="text"))
    check_method(LinearProbe(C=10.0, intercept=False))
