"""What a training needs to go on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from clipwright.core.errors import FormatError
from clipwright.training.tower_state import live_tensors, pack, unpack


def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_frozen_weights_are_left_out_and_the_rest_comes_back(kind: type[torch.optim.Optimizer]) -> None:
    options: dict[str, Any] = {"lr": 0.1} | ({"momentum": 0.9} if kind is torch.optim.SGD else {})
    one, other = net(), net()
    for module in (one, other):
        module[0].requires_grad_(False)
    optimizers = [kind([p for p in m.parameters() if p.requires_grad], **options) for m in (one, other)]
    one(torch.randn(4, 2)).square().sum().backward()
    optimizers[0].step()
    saved = {name: t.clone() for name, t in pack({"tower": one}, optimizers[0], None).items()}
    assert not any(name.startswith("parameter.tower.0.") for name in saved)
    assert "buffer.tower.1.num_batches_tracked" in saved
    unpack(saved, {"tower": other}, optimizers[1], None)
    for (_, a), (_, b) in zip(live_tensors({"tower": one}), live_tensors({"tower": other}), strict=True):
        assert torch.equal(a, b)
    assert pack({"tower": other}, optimizers[1], None).keys() == saved.keys()


def test_weights_of_another_training_are_refused() -> None:
    one = net()
    optimizer = torch.optim.AdamW(one.parameters())
    saved = pack({"tower": one}, optimizer, None)
    one[0].requires_grad_(False)
    with pytest.raises(FormatError, match="one of other weights: remove its checkpoint"):
        unpack(saved, {"tower": one}, optimizer, None)
