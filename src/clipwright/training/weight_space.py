"""Between two states of one network: weighted means of weights, and what they need to work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from clipwright.core.errors import DataError, UsageError
from clipwright.core.rng import generator
from clipwright.training.full_batch import device_of

Tensors = Mapping[str, torch.Tensor]


def _check(base: Tensors, tuned: Tensors, alpha: float) -> None:
    if not 0 <= alpha <= 1:
        raise UsageError(f"alpha must lie in [0, 1]; it is {alpha}.")
    if different := sorted(set(base) ^ set(tuned)):
        raise DataError(f"only one of the two models has {different[0]}: mix states of one and the same architecture.")
    for name, tensor in base.items():
        if tensor.shape != tuned[name].shape:
            shapes = f"{tuple(tensor.shape)} and {tuple(tuned[name].shape)}"
            raise DataError(
                f"{name} has shapes {shapes} in the two models: mix states of one and the same architecture."
            )


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach() if tensor.dtype == torch.float64 else tensor.detach().float()


def interpolate(base: Tensors, tuned: Tensors, alpha: float) -> dict[str, torch.Tensor]:
    """``(1 - alpha) * base + alpha * tuned``, tensor by tensor. Source: WiSE-FT (Wortsman et al., CVPR 2022).

    The statistics of batch norms are not those of the mixed network: see `reestimate_batch_norm`.

    Args:
        base: tensors by name, of the network before it was tuned.
        tuned: tensors of the same names and shapes.
        alpha: 0 gives copies of `base` and 1 of `tuned`, to the bit.

    Returns:
        Tensors of the types that `tuned` has; what is no floating-point number is taken from `tuned` unless alpha is 0.

    Raises:
        UsageError: alpha is not in [0, 1].
        DataError: names or shapes differ.
    """
    _check(base, tuned, alpha)
    if alpha in {0, 1}:
        return {name: (tuned if alpha else base)[name].detach().clone() for name in base}
    return {
        name: ((1 - alpha) * _wide(base[name]) + alpha * _wide(new)).to(new.dtype)
        if new.is_floating_point()
        else new.detach().clone()
        for name, new in tuned.items()
    }


def fisher_merge(
    base: Tensors, tuned: Tensors, fisher0: Tensors, fisher1: Tensors, alpha: float, *, floor: float = 1e-8
) -> dict[str, torch.Tensor]:
    """``((1 - alpha) F0 base + alpha F1 tuned) / ((1 - alpha) F0 + alpha F1)``, entry by entry.

    Source: Merging models with Fisher-weighted averaging (Matena and Raffel, NeurIPS 2022), as in WiSE-FT's code.

    Args:
        base: tensors by name.
        tuned: tensors of the same names and shapes.
        fisher0: diagonal Fisher information of `base`, entries at least 0; a tensor missing here and in `fisher1`
            counts 1.
        fisher1: that of `tuned`.
        alpha: as in `interpolate`.
        floor: smaller entries of the information are raised to this, positive.

    Returns:
        As `interpolate`.

    Raises:
        UsageError: alpha is not in [0, 1], or the floor not positive.
        DataError: names or shapes differ, or one of the two informations lacks a tensor.
    """
    _check(base, tuned, alpha)
    if not floor > 0:
        raise UsageError(f"floor must be positive; it is {floor}.")
    if different := sorted(set(fisher0) ^ set(fisher1)):
        raise DataError(f"only one of the two Fisher informations has {different[0]}: compute both in the same way.")
    known = [name for name in base if name in fisher0 and base[name].is_floating_point()]
    for name in known:
        if not fisher0[name].shape == fisher1[name].shape == base[name].shape:
            raise DataError(f"the Fisher information of {name} has another shape than the tensor: compute it anew.")
    merged = interpolate(base, tuned, alpha)
    for name in known if 0 < alpha < 1 else ():
        w0 = (1 - alpha) * _wide(fisher0[name]).clamp_min(floor)
        w1 = alpha * _wide(fisher1[name]).clamp_min(floor)
        merged[name] = ((w0 * _wide(base[name]) + w1 * _wide(tuned[name])) / (w0 + w1)).to(tuned[name].dtype)
    return merged


@contextmanager
def _modes(*modules: nn.Module) -> Iterator[None]:
    """Put training modes and gradient flags back at the end."""
    parts = [(m, m.training) for module in modules for m in module.modules()]
    flags = [(p, p.requires_grad) for module in modules for p in module.parameters()]
    try:
        yield
    finally:
        for part, training in parts:
            part.training = training
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def diagonal_fisher(
    module: nn.Module, head: nn.Module, batches: Iterable[torch.Tensor], seed: int
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Diagonal Fisher information: the mean over images of squared gradients, at labels that the model itself draws.

    Each image gets one label from the softmax of its own logits, and the squared gradient of its cross-entropy; an
    image that comes twice gets two. A draw depends on the seed and the place of the image alone.

    Args:
        module: maps (b, ...) to (b, D) embeddings; it runs in evaluation mode.
        head: maps (b, D) to (b, C) logits.
        batches: inputs of the module.
        seed: the fit's seed.

    Returns:
        Entries at least 0 for each parameter of the module, and of the head, frozen ones included.

    Raises:
        UsageError: there are no images.
    """
    owned = {id(p): p for m in (module, head) for p in m.parameters() if p.is_floating_point()}
    leaves = list(owned.values())
    sums = [torch.zeros_like(_wide(p)) for p in leaves]
    device, count = device_of(module), 0
    with _modes(module, head), torch.enable_grad():
        for part in (module, head):
            part.eval().requires_grad_(True)
        for image in (batch[i : i + 1] for batch in batches for i in range(len(batch))):
            log_p = head(module(image.to(device))).log_softmax(1)
            chances = log_p.detach().double().exp().cumsum(1)[0].cpu().numpy()
            drawn = generator(seed, "fisher", count).random() * chances[-1]
            label = min(int(np.searchsorted(chances, drawn, side="right")), len(chances) - 1)
            for total, slope in zip(
                sums, torch.autograd.grad(-log_p[0, label], leaves, allow_unused=True), strict=True
            ):
                if slope is not None:
                    total.add_(slope.to(total.dtype).square())
            count += 1
    if not count:
        raise UsageError("Fisher information needs at least one image: give some batches.")
    by_id = {key: total / count for key, total in zip(owned, sums, strict=True)}
    mine, heads = ({n: by_id[id(p)].clone() for n, p in m.named_parameters() if id(p) in by_id} for m in (module, head))
    return mine, heads


@torch.no_grad()
def reestimate_batch_norm(module: nn.Module, batches: Iterable[torch.Tensor]) -> int:
    """Replace the running statistics of all batch norms by their means over some batches, in place.

    The other parts of the network run in evaluation mode. A network whose weights were mixed needs this: the means of
    two networks' statistics are not the statistics of the mixed network.

    Args:
        module: any network; nothing happens to one without batch norms, and its batches aren't looked at.
        batches: inputs, (b, ...) each; all count the same.

    Returns:
        The number of batch norms.

    Raises:
        UsageError: there is no batch, or `freeze_statistics` holds the statistics; they are as they were.
    """
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if not norms:
        return 0
    kept = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]
    momenta = [norm.momentum for norm in norms]
    device, done, reason = device_of(module), False, "give at least one batch"
    try:
        with _modes(module):
            module.eval()
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum, norm.training = None, True  # None = the mean of all batches so far
            for batch in batches:
                module(batch.to(device))
                reason = "let their statistics go first, which are frozen"
            done = all(int(norm.num_batches_tracked or 0) for norm in norms)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for buffer, before in () if done else kept:
            buffer.copy_(before)
    if not done:
        raise UsageError(f"batch norms can't be estimated anew: {reason}.")
    return len(norms)
