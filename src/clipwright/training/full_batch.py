"""The gradient of a loss that looks at the embeddings of a whole batch at once, however little of it fits in memory.

Covariance and contrastive losses are no mean over images, so the gradients of parts of a batch don't add up to that of
the batch. Here all rows are embedded first, the loss is taken of all embeddings together, and its gradient is carried
back through the towers a micro-batch at a time (GradCache: Gao et al., RepL4NLP 2021). Over several processes the
embeddings of all of them are gathered, and the gradients of the towers are summed; no wrapper is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from clipwright.core.errors import UsageError
from clipwright.core.rng import generator
from clipwright.training.ranks import gather_rows, share, sum_gradients, world

Precision = Literal["auto", "fp32", "bf16"]
Loss = Callable[[list[torch.Tensor]], Mapping[str, torch.Tensor]]


@dataclass(frozen=True, eq=False)
class Stream:
    """What one tower embeds in a step.

    Attributes:
        module: maps (b, ...) to (b, D) embeddings; b is at most the size of a micro-batch.
        inputs: (B, ...) rows, on any device; or a function that makes them from the embeddings of the streams before
            this one: a list of (B, D), without gradient.
        whole: the inputs are those of the whole batch and equal in every process; each then embeds its share of them.
            Otherwise they are the rows of this process alone.
    """

    module: nn.Module
    inputs: torch.Tensor | Callable[[list[torch.Tensor]], torch.Tensor]
    whole: bool = False


def autocast_type(precision: Precision, device: torch.device) -> torch.dtype | None:
    """What towers compute in on a device: bfloat16, or None for the type of their weights.

    ``auto`` is bfloat16 on a GPU whose hardware computes in it.

    Raises:
        UsageError: bfloat16 is asked for elsewhere, or an unknown name.
    """
    if precision not in {"auto", "fp32", "bf16"}:
        raise UsageError(f"there is no precision {precision!r}: choose auto, fp32 or bf16.")
    able = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "bf16" and not able:
        raise UsageError("training in bf16 needs a GPU that computes in it: choose precision auto or fp32.")
    return torch.bfloat16 if able and precision != "fp32" else None


def device_of(module: nn.Module) -> torch.device:
    """Where the weights of a module are; the CPU for one that has none."""
    for tensor in (*module.parameters(), *module.buffers()):
        return tensor.device
    return torch.device("cpu")


@contextmanager
def _random_state(device: torch.device) -> Iterator[Callable[..., None]]:
    """A function that seeds torch from a key; the global random state is put back at the end."""
    gpu = torch.cuda.default_generators[device.index or 0] if device.type == "cuda" else None
    before, before_gpu = torch.get_rng_state(), None if gpu is None else gpu.get_state()

    def seed(*key: int | str) -> None:
        number = int(generator(0, *key).integers(1 << 62))
        torch.default_generator.manual_seed(number)
        if gpu is not None:
            gpu.manual_seed(number)

    try:
        yield seed
    finally:
        torch.set_rng_state(before)
        if gpu is not None and before_gpu is not None:
            gpu.set_state(before_gpu)


class _Embedder:
    """The rows of one stream, embedded in micro-batches; the same random numbers are drawn each time."""

    def __init__(
        self,
        module: nn.Module,
        inputs: torch.Tensor,
        size: int | None,
        precision: Precision,
        seed: Callable[[int], None],
    ) -> None:
        self.module, self.inputs, self.seed = module, inputs, seed
        self.device = device_of(module)
        self.dtype = autocast_type(precision, self.device)
        self.size = max(1, len(inputs)) if size is None else size
        self.trains = any(p.requires_grad for p in module.parameters())
        self.held: torch.Tensor | None = None

    def _piece(self, start: int) -> torch.Tensor:
        self.seed(start)
        rows = self.inputs[start : start + self.size].to(self.device, non_blocking=True)
        # Casts are not kept: one made without gradient must not be taken up by the pass with gradient.
        with torch.autocast(
            self.device.type, self.dtype or torch.bfloat16, enabled=self.dtype is not None, cache_enabled=False
        ):
            made = self.module(rows)
        if not isinstance(made, torch.Tensor) or made.ndim != 2 or len(made) != len(rows):
            shape = tuple(made.shape) if isinstance(made, torch.Tensor) else type(made).__name__
            raise UsageError(f"a tower must map {len(rows)} rows to ({len(rows)}, D) embeddings; it gave {shape}.")
        return made if made.dtype == torch.float64 else made.float()

    def embed(self) -> torch.Tensor:
        """(b, D) embeddings without gradient; the graph is kept where one micro-batch holds all rows."""
        if not len(self.inputs):
            return torch.zeros(0, 0, device=self.device)
        if self.trains and len(self.inputs) <= self.size:
            with torch.enable_grad():
                self.held = self._piece(0)
            return self.held.detach()
        # This pass only looks: running statistics are updated by the pass that has a gradient, if there is one.
        kept = [(b, b.clone()) for b in self.module.buffers()] if self.trains else []
        with torch.no_grad():
            made = torch.cat([self._piece(start) for start in range(0, len(self.inputs), self.size)])
            for buffer, before in kept:
                buffer.copy_(before)
        return made

    def push(self, gradient: torch.Tensor) -> None:
        """Carry the gradient of this process's (b, D) embeddings back into the tower's weights."""
        if not self.trains or not len(self.inputs):
            return
        if self.held is not None:
            torch.autograd.backward(self.held, gradient)
            self.held = None
            return
        for start in range(0, len(self.inputs), self.size):
            with torch.enable_grad():
                made = self._piece(start)
            torch.autograd.backward(made, gradient[start : start + self.size])


def _total(parts: Mapping[str, torch.Tensor], weights: Mapping[str, float]) -> torch.Tensor:
    """The weighted sum of the parts of a loss; a part of weight 0 is looked at but not trained on."""
    if unknown := sorted(set(weights) - set(parts)):
        raise UsageError(f"the loss has no part {unknown[0]!r}: weigh {', '.join(sorted(parts))}.")
    weighed = [weights.get(name, 1.0) * part for name, part in parts.items() if weights.get(name, 1.0) != 0]
    if not weighed or not any(part.requires_grad for part in weighed):
        raise UsageError("no part of the loss depends on anything that trains: choose what trains, or other weights.")
    return torch.stack(weighed).sum()


def full_batch_backward(
    streams: Sequence[Stream],
    loss: Loss,
    *,
    weights: Mapping[str, float] | None = None,
    micro_batch_size: int | None = None,
    precision: Precision = "auto",
    seed: int = 0,
    step: int = 0,
) -> dict[str, torch.Tensor]:
    """Put the gradient of a loss of all embeddings into ``.grad`` of the towers and of what the loss itself holds.

    The gradients must be None before. Dropout and the like draw from (seed, step, stream, micro-batch) alone, and
    torch's global random state is left as it was. Batch norms in training mode see one micro-batch of one process at a
    time, so with them the result depends on `micro_batch_size`.

    With torch.distributed initialised every process calls this with its rows: all see the embeddings of all, compute
    the same loss, and end with the same gradients, those of a single process that had all rows.

    Args:
        streams: what the towers embed; one module may be in several.
        loss: the (B, D) embeddings of each stream, float32 or wider, to named scalars.
        weights: multiplies the parts of the loss, 1 where it names none; a part of weight 0 is only reported.
        micro_batch_size: rows that a tower embeds at a time, at least 1; None = all. Smaller ones are embedded twice.
        precision: what towers compute in: float32, or bfloat16 on a GPU; weights and loss stay as they are.
        seed: the fit's seed.
        step: optimiser steps so far.

    Returns:
        The parts of the loss and their weighted sum ``loss``, detached scalars.

    Raises:
        UsageError: embeddings of a wrong shape, weights of parts that are not there, or nothing that trains.
    """
    if micro_batch_size is not None and micro_batch_size < 1:
        raise UsageError(f"micro_batch_size must be at least 1; it is {micro_batch_size}.")
    rank = world()[0]
    embedders: list[_Embedder] = []
    leaves: list[torch.Tensor] = []
    places: list[int] = []
    with _random_state(device_of(streams[0].module)) as random:
        for number, stream in enumerate(streams):
            inputs = stream.inputs
            if not isinstance(inputs, torch.Tensor):
                with torch.no_grad():
                    inputs = inputs([leaf.detach() for leaf in leaves])

            def seeded(start: int, number: int = number) -> None:
                random("tower", seed, step, number, rank, start)

            inputs = share(inputs) if stream.whole else inputs
            embedders.append(_Embedder(stream.module, inputs, micro_batch_size, precision, seeded))
            gathered, place = gather_rows(embedders[-1].embed())
            leaves.append(gathered.requires_grad_(embedders[-1].trains))
            places.append(place)
        random("loss", seed, step)
        with torch.enable_grad(), torch.autocast(leaves[0].device.type, enabled=False):
            parts = dict(loss(list(leaves)))
            total = _total(parts, weights or {})
        total.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        shared = [p for p in _distinct(streams) if p.requires_grad]
        if rank:  # what the loss itself gave these is equal on every rank, and must count once
            for p in shared:
                p.grad = None
        for embedder, leaf, place in zip(embedders, leaves, places, strict=True):
            if leaf.grad is not None:
                embedder.push(leaf.grad[place : place + len(embedder.inputs)])
    sum_gradients(shared)
    return {name: part.detach() for name, part in parts.items()} | {"loss": total.detach()}


def _distinct(streams: Sequence[Stream]) -> list[nn.Parameter]:
    """The parameters of all towers, each once, in an order that all processes share."""
    return list(dict.fromkeys(p for stream in streams for p in stream.module.parameters()))
