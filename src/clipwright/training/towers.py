"""The training of towers: batches in an order that the seed fixes, a step at a time, resumable to the bit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from clipwright.core.errors import UsageError
from clipwright.core.progress import progress
from clipwright.training.batches import Batches
from clipwright.training.checkpoints import Checkpoint
from clipwright.training.full_batch import Precision, Stream, device_of, full_batch_backward
from clipwright.training.ranks import agree, same_everywhere, share, world
from clipwright.training.step_log import StepLog
from clipwright.training.tower_state import Stateful, live_tensors, pack, unpack

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Batch:
    """The rows of one optimiser step.

    Attributes:
        epoch: from 0.
        step: optimiser steps before this one, of all epochs.
        rows: (B,) int64, the whole batch.
        share: consecutive rows of the batch that this process loads: all of them where it is the only one, none where
            there are more processes than rows.
    """

    epoch: int
    step: int
    rows: torch.Tensor
    share: torch.Tensor


def adamw(
    modules: Mapping[str, nn.Module],
    *,
    weight_decay: float = 0.1,
    decay_vectors: bool = True,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    lr_factors: Mapping[str, float] | None = None,
) -> torch.optim.AdamW:
    """AdamW on what trains in some modules.

    Args:
        modules: by the name that `lr_factors` goes by.
        weight_decay: decoupled, at least 0.
        decay_vectors: let tensors of fewer than 2 dimensions decay as well: biases, norms, scales. WiSE-FT and RegFT
            do; CLIP and LatteCLIP don't.
        betas: decay of the two moments.
        eps: added to the root of the second moment.
        lr_factors: multiplies the learning rate of a module, 1 where it names none.

    Raises:
        UsageError: nothing trains, or a factor belongs to no module.
    """
    factors = dict(lr_factors or {})
    if unknown := sorted(set(factors) - set(modules)):
        raise UsageError(f"there is no module {unknown[0]!r} to train: choose among {', '.join(modules)}.")
    groups: list[dict[str, Any]] = []
    seen: set[int] = set()
    for name, module in modules.items():
        mine = [p for p in module.parameters() if p.requires_grad and id(p) not in seen]
        seen.update(map(id, mine))
        for decays, members in (
            (True, [p for p in mine if decay_vectors or p.ndim >= 2]),
            (False, [p for p in mine if not decay_vectors and p.ndim < 2]),
        ):
            decay = weight_decay if decays else 0.0
            if members:
                groups.append({"params": members, "weight_decay": decay, "lr_factor": factors.get(name, 1.0)})
    if not groups:
        raise UsageError("nothing trains: choose a policy that leaves some weights to train.")
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=eps)


def _plan(batches: Batches, start: int, steps: int) -> Iterator[tuple[Batch, bool]]:
    """The steps from `start` on, each with whether an epoch ends with it."""
    step = epoch = 0
    while step < steps:
        rows = batches(epoch)
        if not rows:
            raise UsageError("there is nothing to train on: an epoch has no batch.")
        for number, batch in enumerate(rows):
            if start <= step < steps:
                ends = number == len(rows) - 1 or step == steps - 1
                yield Batch(epoch, step, batch, share(batch)), ends
            step += 1
        epoch += 1


def _ahead(
    plan: Iterator[tuple[Batch, bool]], load: Callable[[Batch], Sequence[Stream]]
) -> Generator[tuple[Batch, bool, Sequence[Stream]], None, None]:
    """What `load` gives for each step, made while the step before it runs."""

    @torch.no_grad()
    def loaded(batch: Batch) -> Sequence[Stream]:
        return load(batch)

    with ThreadPoolExecutor(1, thread_name_prefix="load") as pool:
        waiting = None
        for batch, ends in plan:
            following = batch, ends, pool.submit(loaded, batch)
            if waiting is not None:
                yield waiting[0], waiting[1], waiting[2].result()
            waiting = following
        if waiting is not None:
            yield waiting[0], waiting[1], waiting[2].result()


@contextmanager
def _training_mode(modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """Training mode where something trains; what is frozen as a whole stays in evaluation mode, its norms included."""
    before = [(part, part.training) for module in modules.values() for part in module.modules()]

    def visit(part: nn.Module) -> None:
        flags = [p.requires_grad for p in part.parameters()]
        if flags and not any(flags):
            part.eval()
            return
        part.training = True
        for child in part.children():
            visit(child)

    for module in modules.values():
        visit(module)
    try:
        yield
    finally:
        for part, training in before:
            part.training = training


def train_tower(
    modules: Mapping[str, nn.Module],
    load: Callable[[Batch], Sequence[Stream]],
    loss: Callable[[list[torch.Tensor], Batch], Mapping[str, torch.Tensor]],
    *,
    batches: Batches,
    rates: Sequence[float],
    optimizer: torch.optim.Optimizer,
    weights: Mapping[str, float] | None = None,
    micro_batch_size: int | None = None,
    precision: Precision = "auto",
    clip: float | None = 1.0,
    seed: int = 0,
    checkpoint: Checkpoint | None = None,
    every: float = 300.0,
    extra: Stateful | None = None,
    after_step: Callable[[Batch], None] | None = None,
    after_epoch: Callable[[int, dict[str, float]], None] | None = None,
    label: str = "train",
    quiet: bool = False,
) -> list[dict[str, float]]:
    """Train towers on a loss of the embeddings of whole batches, in place.

    Killed and called again with the same arguments and fresh modules, it goes on from its checkpoint, and on a CPU ends
    with the same bits. All randomness comes from (seed, step); torch's global random state is left as it was. Modules
    are in training mode meanwhile, but what is frozen as a whole stays in evaluation mode.

    With torch.distributed initialised, every process calls this with the same arguments: all start from the weights of
    rank 0, each loads its share of a batch, and rank 0 alone shows progress and writes checkpoints, which all must be
    able to read.

    Args:
        modules: by name, all that trains: towers, and what the loss holds, such as a head.
        load: the streams of a batch, with the inputs of its `share` of rows. It runs in another thread, one batch
            ahead, and so must draw from `clipwright.core.rng` alone, never from torch's global random state.
        loss: the (B, D) embeddings of each stream, and the batch, to named scalars.
        batches: rows of each batch of an epoch, see `shuffled_batches`.
        rates: a learning rate per step; as many steps are taken. A parameter group runs at the step's rate times its
            own ``lr_factor`` (1 where it names none).
        optimizer: holds the parameters, see `adamw`.
        weights: multiplies the parts of the loss, 1 where it names none.
        micro_batch_size: rows that are embedded at a time, see `full_batch_backward`; halved when the memory of a GPU
            runs out, where there is a single process.
        precision: see `full_batch_backward`.
        clip: largest norm of the gradient of all parameters together; None = any.
        seed: the fit's seed.
        checkpoint: kept at the end of each epoch and in between; it stays until the caller clears it.
        every: least seconds between two checkpoints inside an epoch.
        extra: what else changes and must be saved.
        after_step: called after each optimiser step.
        after_epoch: called with the epoch and its means, before its checkpoint.
        label: what progress is called.
        quiet: show no progress.

    Returns:
        Per epoch the mean over its steps, each before its update, of each part, of their weighted sum ``loss``, and,
        where there is a `clip`, of the gradient's norm before it as ``gradient_norm``.

    Raises:
        UsageError: weights of half precision train, an epoch has no batch, or as `full_batch_backward`.
        DivergedError: a part of the loss became NaN or infinite; the checkpoint is from before.
        FormatError: the checkpoint is damaged or not of these modules.
    """
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    if any(p.dtype in {torch.float16, torch.bfloat16} for p in trained):
        raise UsageError("weights of half precision are too coarse to train: load the model in float32.")
    log = StepLog()
    start = _resume(checkpoint, modules, optimizer, extra, log)
    stepper = _Stepper(trained, loss, weights, micro_batch_size, precision, clip, seed)
    saved = time.monotonic()

    def save(done: int) -> None:
        nonlocal saved
        log.flush()
        if checkpoint is not None and world()[0] == 0:
            checkpoint.save(pack(modules, optimizer, extra), {"step": done, **log.facts()})
        saved = time.monotonic()

    silent = quiet or world()[0] > 0
    shown = progress(label, len(rates) - start, "steps", quiet=silent, meter=log.line)
    ahead = closing(_ahead(_plan(batches, start, len(rates)), load))
    with _training_mode(modules), shown as advance, ahead as steps:
        for batch, ends, streams in steps:
            for group in optimizer.param_groups:
                group["lr"] = rates[batch.step] * group.get("lr_factor", 1.0)
            optimizer.zero_grad(set_to_none=True)
            parts = stepper(streams, batch)
            optimizer.step()
            log.add(batch.epoch, batch.step, rates[batch.step], parts)
            if after_step is not None:
                after_step(batch)
            if ends:
                same_everywhere(b for module in modules.values() for b in module.buffers())
                means = log.close()
                if after_epoch is not None:
                    after_epoch(batch.epoch, means)
            if ends or time.monotonic() - saved >= every:
                save(batch.step + 1)
            advance(1)
    optimizer.zero_grad(set_to_none=True)
    return log.epochs


def _resume(
    checkpoint: Checkpoint | None,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    extra: Stateful | None,
    log: StepLog,
) -> int:
    """Take up what was saved, on all ranks.

    Returns:
        The number of steps done.
    """
    start = 0
    if checkpoint is not None and (found := checkpoint.load()) is not None:
        tensors, facts = found
        unpack(tensors, modules, optimizer, extra)
        log.restore(facts)
        start = int(facts["step"])
    if not agree(start, device_of(next(iter(modules.values())))):
        raise UsageError("the processes found different checkpoints: keep them in a folder that all of them share.")
    same_everywhere(tensor for _, tensor in live_tensors(modules))
    return start


@dataclass
class _Stepper:
    """The gradient of a step, clipped."""

    parameters: list[nn.Parameter]
    loss: Callable[[list[torch.Tensor], Batch], Mapping[str, torch.Tensor]]
    weights: Mapping[str, float] | None
    micro_batch_size: int | None
    precision: Precision
    clip: float | None
    seed: int

    def __call__(self, streams: Sequence[Stream], batch: Batch) -> dict[str, torch.Tensor]:
        """The parts of the loss, and the norm of its gradient where it is clipped."""
        buffers = [(b, b.clone()) for stream in streams for b in stream.module.buffers()]
        while True:
            try:
                parts = full_batch_backward(
                    streams,
                    lambda embeddings: self.loss(embeddings, batch),
                    weights=self.weights,
                    micro_batch_size=self.micro_batch_size,
                    precision=self.precision,
                    seed=self.seed,
                    step=batch.step,
                )
                break
            except torch.OutOfMemoryError:
                size = min(self.micro_batch_size or len(batch.rows), len(batch.rows))
                if size == 1 or world()[1] > 1:
                    raise
            # Outside the handler: the traceback no longer holds the tensors that are to be freed.
            self._halve(size, buffers)
        if self.clip is not None:
            parts["gradient_norm"] = nn.utils.clip_grad_norm_(self.parameters, self.clip)
        return parts

    def _halve(self, size: int, buffers: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        self.micro_batch_size = size // 2
        _LOGGER.warning("memory ran out: %d rows are embedded at a time from now on", self.micro_batch_size)
        for p in self.parameters:
            p.grad = None
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
