"""The loop and its Adam against torch's own optimisers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipwright.training.loop import DivergedError, train
from clipwright.training.optimizers import Adam


def parameters(seed: int = 0) -> list[torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    return [torch.randn(s, dtype=torch.float64, generator=made).requires_grad_() for s in ((3, 2), (2,), ())]


def bowl(leaves: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([((p - 1) ** 4).sum() for p in leaves]).sum() + leaves[0].prod()


@given(st.integers(0, 99), st.floats(1e-5, 0.5), st.sampled_from([0.0, 5e-4, 0.1]), st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_adam_is_torchs_adam(seed: int, lr: float, weight_decay: float, steps: int) -> None:
    ours, theirs = parameters(seed), parameters(seed)
    mine = Adam(ours, lr, weight_decay=weight_decay)
    reference = torch.optim.Adam(theirs, lr, weight_decay=weight_decay)
    for leaves, optimizer in ((ours, mine), (theirs, reference)):
        train(optimizer, lambda _, leaves=leaves: bowl(leaves), lambda _: [None], [lr] * steps)  # type: ignore[misc] # bound now
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_gradients_are_forgotten_either_way_and_parameters_without_one_stay() -> None:
    leaves = parameters()
    adam = Adam(leaves)
    bowl(leaves).backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
    adam.zero_grad(set_to_none=False)
    assert all(p.grad is not None and not p.grad.any() for p in leaves)
    adam.zero_grad()
    assert all(p.grad is None for p in leaves)
    before = [p.clone() for p in leaves]
    adam.step()
    assert all(torch.equal(a, b) for a, b in zip(before, leaves, strict=True))


def test_the_loop_returns_mean_losses_before_each_step_and_sets_the_rates() -> None:
    x = torch.tensor(10.0, dtype=torch.float64, requires_grad=True)
    half = torch.tensor(10.0, dtype=torch.float64, requires_grad=True)
    groups: list[dict[str, Any]] = [{"params": [x]}, {"params": [half], "lr_factor": 0.5}]
    sgd = torch.optim.SGD(groups, lr=1.0)
    seen: list[tuple[int, float]] = []

    def batches(epoch: int) -> Iterator[float]:
        yield from [1.0, 3.0][: 2 - epoch]

    losses = train(
        sgd, lambda slope: slope * (x + half), batches, [1.0, 0.1, 0.0], after_epoch=lambda e, v: seen.append((e, v))
    )
    assert losses[:2] == [(20 + 3 * (9 + 9.5)) / 2, pytest.approx(6 + 8)]
    assert math.isnan(losses[2])
    assert seen[0] == (0, losses[0])
    assert x.item() == pytest.approx(5.9)
    assert half.item() == pytest.approx(7.95)


def test_a_loss_that_is_not_finite_stops_the_fit() -> None:
    x = torch.tensor(1.0, requires_grad=True)
    with pytest.raises(DivergedError, match=r"epoch 1 \(loss inf\): choose a smaller learning rate"):
        train(Adam([x]), lambda scale: scale * x, lambda epoch: [math.inf] if epoch else [1.0], [0.1, 0.1])


def test_nothing_to_do_gives_no_losses() -> None:
    assert train(Adam(parameters()), lambda _: torch.zeros(()), lambda _: [None], []) == []
