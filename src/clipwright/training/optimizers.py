"""Adam in a screen: torch's own costs a process three seconds at first use, since it imports the compiler."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Protocol

import torch


class Optimizer(Protocol):
    """What the loop asks of an optimiser; every torch optimiser meets it."""

    param_groups: list[dict[str, Any]]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""

    def step(self) -> Any:
        """Change the parameters by their gradients, each group at its ``lr``."""


class Adam:
    """Adam with coupled weight decay: the same update as ``torch.optim.Adam``. Source: Kingma and Ba 2015.

    Args:
        parameters: leaf tensors that require gradients.
        lr: learning rate; the loop sets it anew each epoch.
        betas: decay rates of the two moments.
        eps: added to the root of the second moment.
        weight_decay: times the parameter, added to its gradient.
    """

    def __init__(
        self,
        parameters: Iterable[torch.Tensor],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(parameters), "lr": lr}]
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        self._state: dict[torch.Tensor, tuple[torch.Tensor, torch.Tensor]] = {}
        self._steps: dict[torch.Tensor, int] = {}

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if set_to_none:
                    parameter.grad = None
                elif parameter.grad is not None:
                    parameter.grad.zero_()

    @torch.no_grad()
    def step(self) -> None:
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group["lr"])

    def _update(self, parameter: torch.Tensor, gradient: torch.Tensor, lr: float) -> None:
        if parameter not in self._state:
            self._state[parameter] = (torch.zeros_like(parameter), torch.zeros_like(parameter))
        first, second = self._state[parameter]
        steps = self._steps[parameter] = self._steps.get(parameter, 0) + 1
        if self.weight_decay:
            gradient = gradient.add(parameter, alpha=self.weight_decay)
        first.lerp_(gradient, 1 - self.betas[0])
        second.mul_(self.betas[1]).addcmul_(gradient, gradient, value=1 - self.betas[1])
        root = second.sqrt().div_(math.sqrt(1 - self.betas[1] ** steps)).add_(self.eps)
        parameter.addcdiv_(first, root, value=-lr / (1 - self.betas[0] ** steps))
