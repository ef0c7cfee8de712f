"""What a training needs to go on exactly where it was: weights, buffers, the optimiser, what the caller adds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import torch
from torch import nn

from clipwright.core.errors import FormatError

Tensors = dict[str, torch.Tensor]


class Stateful(Protocol):
    """What changes during a training beside its modules and its optimiser, such as prototypes."""

    def state(self) -> dict[str, torch.Tensor]:
        """What `restore` needs to go on exactly here."""

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from a saved state."""


def live_tensors(modules: Mapping[str, nn.Module]) -> Iterator[tuple[str, torch.Tensor]]:
    """The parameters that train and all buffers, by module and name; frozen weights can be had from elsewhere."""
    for owner, module in modules.items():
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                yield f"parameter.{owner}.{name}", parameter
        for name, buffer in module.named_buffers():
            yield f"buffer.{owner}.{name}", buffer


def pack(modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, extra: Stateful | None) -> Tensors:
    """All tensors of a training, by name."""
    tensors = {name: tensor.detach() for name, tensor in live_tensors(modules)}
    for index, entries in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": v for key, v in entries.items() if isinstance(v, torch.Tensor)}
    if extra is not None:
        tensors |= {f"extra.{name}": tensor for name, tensor in extra.state().items()}
    return tensors


def unpack(
    tensors: Tensors, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, extra: Stateful | None
) -> None:
    """Go on from what `pack` gave.

    Raises:
        FormatError: it belongs to other modules.
    """
    live = dict(live_tensors(modules))
    saved = {name: tensor for name, tensor in tensors.items() if name.startswith(("parameter.", "buffer."))}
    if {n: t.shape for n, t in live.items()} != {n: t.shape for n, t in saved.items()}:
        raise FormatError("the saved training is one of other weights: remove its checkpoint, and it starts anew.")
    with torch.no_grad():
        for name, tensor in live.items():
            tensor.copy_(saved[name])
    state: dict[int, Tensors] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".", 2)
            state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    if extra is not None:
        extra.restore({name.removeprefix("extra."): t for name, t in tensors.items() if name.startswith("extra.")})
