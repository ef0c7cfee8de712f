"""Low-rank updates of weights: what is trained is ``scale * up @ down``, added to a weight that stays as it is.

Source: LoRA (Hu et al., ICLR 2022); CLIP-LoRA (Zanella and Ben Ayed, CVPR workshops 2024), which puts rank 2 with
dropout 0.25 on query, key and value of all layers, and whose code scales by ``alpha / sqrt(rank)``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn.utils import parametrize

from clipwright.core.errors import UsageError
from clipwright.core.rng import generator
from clipwright.training.freezing import from_block

Part = Literal["q", "k", "v", "o", "mlp", "conv"]
PARTS: tuple[Part, ...] = ("q", "k", "v", "o", "mlp", "conv")

_NAMES: dict[str, Part] = {
    **dict.fromkeys(("q_proj", "query", "to_q", "q"), "q"),
    **dict.fromkeys(("k_proj", "key", "to_k", "k"), "k"),
    **dict.fromkeys(("v_proj", "value", "to_v", "v"), "v"),
    **dict.fromkeys(("out_proj", "o_proj", "c_proj", "proj", "to_out"), "o"),
}


@dataclass(frozen=True)
class _Place:
    """One weight and the ranges of its rows that get an update each."""

    module: nn.Module
    tensor: str
    name: str
    ranges: tuple[tuple[int, int], ...]


class LowRank(nn.Module):
    """A weight plus ``scale * up @ down``, for one or several ranges of its rows.

    Attributes:
        down: (S, r, in) factors of S ranges, drawn as a linear layer's weight is.
        up: S factors (rows of the range, r), zero at first.
        scale: multiplies their product.
        dropout: share of the input channels that are left out in training.
        order: the parameters of the module that holds the weight, as its state dict had them.
    """

    def __init__(self, weight: torch.Tensor, ranges: tuple[tuple[int, int], ...], *, rank: int) -> None:
        super().__init__()
        self.ranges, self.shape, self.scale, self.dropout = ranges, weight.shape, 1.0, 0.0
        self.order: list[str] = []
        dtype = weight.dtype if weight.dtype == torch.float64 else torch.float32
        columns = weight[0].numel()
        self.down = nn.Parameter(weight.new_empty(len(ranges), rank, columns, dtype=dtype))
        self.up = nn.ParameterList([weight.new_zeros(stop - start, rank, dtype=dtype) for start, stop in ranges])

    def factors(self, down: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """(out, S r) with the scale and (S r, in), whose product is added to the weight as a matrix of `out` rows."""
        down = self.down if down is None else down
        rows = self.shape[0]
        ups = [
            nn.functional.pad(self.scale * up, (0, 0, start, rows - stop))
            for up, (start, stop) in zip(self.up, self.ranges, strict=True)
        ]
        return torch.cat(ups, 1), down.flatten(0, 1)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The updated weight; in training whole input channels are left out of `down`, others for each use."""
        thinned = None
        if self.training and self.dropout:
            count, rank, _ = self.down.shape
            kept = nn.functional.dropout(self.down.new_ones(count, 1, self.shape[1], 1), self.dropout)
            thinned = (self.down.view(count, rank, self.shape[1], -1) * kept).flatten(2)
        up, down = self.factors(thinned)
        return weight + (up @ down).view(self.shape).to(weight.dtype)


def _parts(name: str, module: nn.Module) -> tuple[Part, ...]:
    """What the rows of a module's weight are for: one part per equal range of rows; empty = nothing known."""
    *owners, own = name.split(".")
    if isinstance(module, nn.Conv2d):
        return ("conv",) if module.groups == 1 else ()
    if not isinstance(module, nn.Linear):
        return ()
    if any(word in owner.lower() for owner in owners[-1:] for word in ("mlp", "ffn", "feed_forward")):
        return ("mlp",)
    if not any(word in owner.lower() for owner in owners[-2:] for word in ("attn", "attention")):
        return ()
    return ("q", "k", "v") if own in {"qkv", "in_proj"} else ((_NAMES[own],) if own in _NAMES else ())


def _equal_ranges(rows: int, parts: Sequence[Part], which: Sequence[str]) -> tuple[tuple[int, int], ...]:
    each = rows // len(parts)
    return tuple((i * each, (i + 1) * each) for i, part in enumerate(parts) if part in which)


def _places(tower: nn.Module, which: Sequence[str], layers: str) -> Iterator[_Place]:
    """The weights that `attach` updates, in order."""
    late = None if layers == "all" else from_block(tower, layers)
    for name, module in list(tower.named_modules()):
        if late is not None and name not in late:
            continue
        found: list[tuple[str, tuple[Part, ...]]] = []
        if isinstance(module, nn.MultiheadAttention):
            if getattr(module, "in_proj_weight", None) is not None:
                found.append(("in_proj_weight", ("q", "k", "v")))
            else:  # keys or values of another width
                found += [("q_proj_weight", ("q",)), ("k_proj_weight", ("k",)), ("v_proj_weight", ("v",))]
        elif parts := _parts(name, module):
            found.append(("weight", parts))
        for tensor, parts in found:
            if ranges := _equal_ranges(len(getattr(module, tensor)), parts, which):
                yield _Place(module, tensor, f"{name}.{tensor}" if name else tensor, ranges)


def _updates(tower: nn.Module) -> Iterator[tuple[str, nn.Module, str, LowRank]]:
    """Name of the tensor, its module, its name there, and the update, of all weights that have one."""
    for name, module in list(tower.named_modules()):
        for tensor, stack in module.parametrizations.items() if parametrize.is_parametrized(module) else ():
            for update in stack:
                if isinstance(update, LowRank):
                    yield (f"{name}.{tensor}" if name else tensor), module, tensor, update


def attach(
    tower: nn.Module,
    *,
    rank: int = 2,
    alpha: float = 1.0,
    dropout: float = 0.25,
    which: Sequence[Part] = ("q", "k", "v"),
    layers: str = "all",
    stabilised: bool = False,
    seed: int = 0,
) -> list[nn.Parameter]:
    """Freeze a tower and give some of its weights a low-rank update that trains; at first it changes nothing.

    Args:
        tower: any image or text tower.
        rank: r, at least 1.
        alpha: the update is multiplied by alpha / r.
        dropout: share of the input channels that an update leaves out, in [0, 1). They are drawn for each forward pass
            and range of rows, for all rows of a batch alike, not for each token as in CLIP-LoRA's code.
        which: query, key, value and output of attention (``q k v o``), linear layers of feed-forward parts (``mlp``),
            and ungrouped convolutions (``conv``).
        layers: ``all``, or ``last:K``, from the first of the last K blocks on.
        stabilised: multiply by alpha / sqrt(r) instead, as CLIP-LoRA's code does.
        seed: of the first factors.

    Returns:
        The parameters that train.

    Raises:
        UsageError: an argument out of range, no such weights, or a tower that has updates already.
    """
    if rank < 1 or not 0 <= dropout < 1:
        raise UsageError(f"rank must be at least 1 and dropout in [0, 1); they are {rank} and {dropout}.")
    if unknown := sorted(set(which) - set(PARTS)):
        raise UsageError(f"there is no part {unknown[0]!r}: choose among {', '.join(PARTS)}.")
    if next(_updates(tower), None) is not None:
        raise UsageError("this tower has low-rank updates already: detach them first.")
    places = list(_places(tower, which, layers))
    if not places:
        raise UsageError(f"{type(tower).__name__} has no weights for {', '.join(which)}: choose other parts or layers.")
    tower.requires_grad_(False)
    made: list[nn.Parameter] = []
    for place in places:
        weight = getattr(place.module, place.tensor)
        order = [name for name, _ in place.module.named_parameters(recurse=False)]
        update = LowRank(weight, place.ranges, rank=rank)
        bound = 1 / math.sqrt(weight[0].numel())  # Kaiming's uniform bound with a = sqrt(5), as LoRA has it
        drawn = generator(seed, "low-rank", place.name).uniform(-bound, bound, tuple(update.down.shape))
        with torch.no_grad():
            update.down.copy_(torch.from_numpy(drawn))
        update.scale = alpha / (math.sqrt(rank) if stabilised else rank)
        parametrize.register_parametrization(place.module, place.tensor, update.eval())
        update.train(place.module.training)
        update.dropout, update.order = dropout, order
        made += list(update.parameters())
    return made


@torch.no_grad()
def factors(tower: nn.Module) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """The updates of a tower, by the name that a tensor has in the state dict without them.

    Returns:
        ``up`` (out, R) with the scale folded in and ``down`` (R, in). The tuned weight is
        ``weight + (up @ down).view(weight.shape)``. R is the rank times the number of ranges of rows that are updated;
        a convolution's `in` counts its kernel.
    """
    pairs = {name: update.factors() for name, _, _, update in _updates(tower)}
    return {name: (up.clone(), down.clone()) for name, (up, down) in pairs.items()}


def detach(tower: nn.Module, *, merge: bool = False) -> None:
    """Take the updates off again: the state dict has its plain names, and its weights as before, or tuned.

    Its parameters stay frozen.

    Args:
        tower: what `attach` was called on; one without updates stays as it is.
        merge: add the updates to the weights.
    """
    pairs = factors(tower) if merge else {}
    for name, module, tensor, update in list(_updates(tower)):
        parametrize.remove_parametrizations(module, tensor, leave_parametrized=False)
        for own in update.order:  # the weight came back as the last one
            parameter = getattr(module, own)
            delattr(module, own)
            module.register_parameter(own, parameter)
        if merge:
            up, down = pairs[name]
            weight = getattr(module, tensor)
            with torch.no_grad():
                weight.add_((up @ down).view(weight.shape).to(weight.dtype))
