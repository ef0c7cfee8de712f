"""The optimiser loop."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from clipwright.training.loop import DivergedError, train


def parameters(seed: int = 0) -> list[torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    return [torch.randn(s, dtype=torch.float64, generator=made).requires_grad_() for s in ((3, 2), (2,), ())]


def bowl(leaves: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([((p - 1) ** 4).sum() for p in leaves]).sum() + leaves[0].prod()


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
        train(torch.optim.Adam([x]), lambda scale: scale * x, lambda epoch: [math.inf] if epoch else [1.0], [0.1, 0.1])


def test_nothing_to_do_gives_no_losses() -> None:
    assert train(torch.optim.Adam(parameters()), lambda _: torch.zeros(()), lambda _: [None], []) == []
