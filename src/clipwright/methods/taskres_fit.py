"""The optimisation of TaskRes: residuals on texts, of one support set or of many at once, and on images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from clipwright.core.errors import DataError
from clipwright.core.tensors import unit_rows
from clipwright.training.batches import Batches
from clipwright.training.loop import train
from clipwright.training.threads import threads_for

Rows = torch.Tensor | Callable[[int], torch.Tensor]
Order = Batches | Sequence[Sequence[torch.Tensor]]
_Pair = tuple[torch.Tensor, torch.Tensor]


def residual_logits(
    x: torch.Tensor, base: torch.Tensor, residual: torch.Tensor, *, alpha: float = 0.5, logit_scale: float = 100.0
) -> torch.Tensor:
    """``logit_scale * unit(x) . unit(base + alpha * residual)``.

    Args:
        x: (m, D) image features, any length.
        base: (C, D) class texts at the scale that `alpha` refers to.
        residual: (C, D), what is learned.
        alpha: how much of the residual is added.
        logit_scale: multiplies the cosines.

    Returns:
        (m, C) logits.
    """
    return logit_scale * (unit_rows(x) @ unit_rows(base + alpha * residual).T)


class CosineCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of ``logit_scale * rows @ unit(weight).T``, with its gradient in closed form.

    With unit weights w, lengths l and error e = softmax - one-hot, the gradient of a class's weight is
    ``logit_scale / (B l) * (I - w w') sum_i e_i rows_i``. Leading dimensions are problems that don't see each other.
    """

    @staticmethod
    def forward(
        ctx: Any, weight: torch.Tensor, rows: torch.Tensor, y: torch.Tensor, logit_scale: float
    ) -> torch.Tensor:
        """(..., C, D) weights, (..., B, D) unit rows and (..., B) classes to (...) losses."""
        length = weight.norm(dim=-1, keepdim=True).clamp_min(1e-12)
        unit = weight / length
        log_p = (logit_scale * (rows @ unit.mT)).log_softmax(-1)
        target = y[..., None]
        error = log_p.exp()
        error.scatter_add_(-1, target, error.new_full(target.shape, -1.0))
        pull = (error.mT @ rows) * (logit_scale / rows.shape[-2])
        ctx.save_for_backward((pull - (pull * unit).sum(-1, keepdim=True) * unit) / length)
        losses: torch.Tensor = -log_p.gather(-1, target).squeeze(-1).mean(-1)
        return losses

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The weights' gradient; rows and classes have none."""
        (gradient,) = ctx.saved_tensors
        return grads[0][..., None, None] * gradient, None, None, None


def _losses(weight: torch.Tensor, rows: torch.Tensor, y: torch.Tensor, logit_scale: float) -> torch.Tensor:
    losses: torch.Tensor = CosineCrossEntropy.apply(weight, rows, y, logit_scale)
    return losses


def _pairs(x: Rows, y: torch.Tensor, order: Order, like: torch.Tensor) -> Callable[[int], list[_Pair]]:
    """The batches of an epoch: unit rows, made once where they don't change, and their classes."""
    rows_of = order if callable(order) else order.__getitem__
    clean = None if callable(x) else unit_rows(x).to(like.dtype)

    def pairs(epoch: int) -> list[_Pair]:
        rows = clean if clean is not None else unit_rows(x(epoch)).to(like.dtype)  # type: ignore[operator] # callable
        return [(rows[batch], y[batch]) for batch in rows_of(epoch)]

    return pairs


def taskres_fit(
    x: Rows,
    y: torch.Tensor,
    base: torch.Tensor,
    *,
    batches: Order,
    learning_rates: Sequence[float],
    alpha: float = 0.5,
    weight_decay: float = 5e-4,
    logit_scale: float = 100.0,
) -> tuple[torch.Tensor, list[float]]:
    """Learn the residual by Adam on the cross-entropy, from zero.

    Args:
        x: (N, D) image features of any length, or a function from the epoch to them.
        y: (N,) int64 classes.
        base: (C, D) class texts; its dtype is computed in.
        batches: rows of each batch, by epoch: a function from the epoch, or one list of batches per epoch.
        learning_rates: one per epoch; as many epochs are run.
        alpha: how much of the residual is added to `base`.
        weight_decay: added to the gradient times the residual (coupled, not AdamW's).
        logit_scale: multiplies the cosines.

    Returns:
        The (C, D) residual and the mean loss of each epoch.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    with torch.inference_mode(False), threads_for(len(y) * base.numel()):
        residual = torch.zeros_like(base).requires_grad_()

        def loss(pair: _Pair) -> torch.Tensor:
            return _losses(base + alpha * residual, *pair, logit_scale)

        adam = torch.optim.Adam([residual], weight_decay=weight_decay)
        losses = train(adam, loss, _pairs(x, y, batches, base), learning_rates)
        return residual.detach(), losses


def taskres_fit_many(
    x: Rows,
    y: torch.Tensor,
    base: torch.Tensor,
    *,
    learning_rates: Sequence[float],
    alpha: float = 0.5,
    weight_decay: float = 5e-4,
    logit_scale: float = 100.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Learn the residuals of S support sets of equal size at once, all rows in one step per epoch.

    The same residuals as S calls of `taskres_fit` with whole batches, up to rounding: Adam treats every coordinate by
    itself, so the sets don't see each other. It pays where a step is small: twice to four times less
    computing time for ten sets of 304 rows of 512 dimensions to 160 of 128.

    Args:
        x: (S, N, D) image features of any length, or a function from the epoch to them.
        y: (S, N) int64 classes.
        base: (C, D) class texts, or (S, C, D) where the sets have different ones; its dtype is computed in.
        learning_rates: one per epoch; as many epochs are run.
        alpha: how much of the residual is added to `base`.
        weight_decay: added to the gradient times the residual.
        logit_scale: multiplies the cosines.

    Returns:
        The (S, C, D) residuals and the (S, E) losses, each taken before its epoch's step.

    Raises:
        DataError: shapes that don't fit each other.
        DivergedError: a loss became NaN or infinite.
    """
    if y.ndim != 2 or base.ndim not in {2, 3} or (not callable(x) and x.shape[:2] != y.shape):
        shapes = "a function" if callable(x) else tuple(x.shape)
        raise DataError(f"many fits take (S, N, D) features and (S, N) classes: they are {shapes}, {tuple(y.shape)}.")
    with torch.inference_mode(False), threads_for(y.shape[1] * base.shape[-2] * base.shape[-1]):
        base = base.expand(len(y), *base.shape[-2:])
        residual = torch.zeros_like(base, memory_format=torch.contiguous_format).requires_grad_()
        seen: list[torch.Tensor] = []

        def loss(pair: _Pair) -> torch.Tensor:
            each = _losses(base + alpha * residual, *pair, logit_scale)
            seen.append(each.detach())
            return each.sum()

        adam = torch.optim.Adam([residual], weight_decay=weight_decay)
        whole = [torch.arange(len(y))]
        train(adam, loss, _pairs(x, y, lambda _: whole, base), learning_rates)
        losses = torch.stack(seen, dim=1) if seen else base.new_zeros(len(y), 0)
        return residual.detach(), losses


def image_residual_fit(
    x: Rows,
    y: torch.Tensor,
    base: torch.Tensor,
    *,
    batches: Order,
    learning_rates: Sequence[float],
    length: float = 8.0,
    alpha: float = 0.5,
    weight_decay: float = 5e-4,
    logit_scale: float = 100.0,
) -> tuple[torch.Tensor, list[float]]:
    """Learn a single residual that is added to every image feature: ``unit(row + alpha * residual) . unit(base)``.

    Args:
        x: (N, D) image features of any length, or a function from the epoch to them.
        y: (N,) int64 classes.
        base: (C, D) class texts; its dtype is computed in.
        batches: rows of each batch, by epoch, as in `taskres_fit`.
        learning_rates: one per epoch; as many epochs are run.
        length: what image features are scaled to before the residual is added; 0 = as they come.
        alpha: how much of the residual is added.
        weight_decay: added to the gradient times the residual.
        logit_scale: multiplies the cosines.

    Returns:
        The (D,) residual and the mean loss of each epoch.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    rows_of = batches if callable(batches) else batches.__getitem__
    with torch.inference_mode(False), threads_for(len(y) * base.numel()):
        weight = unit_rows(base.clone())
        residual = weight.new_zeros(weight.shape[1]).requires_grad_()

        def pairs(epoch: int) -> list[_Pair]:
            rows = (x(epoch) if callable(x) else x).to(weight.dtype)
            rows = length * unit_rows(rows) if length > 0 else rows
            return [(rows[batch], y[batch]) for batch in rows_of(epoch)]

        def loss(pair: _Pair) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(
                logit_scale * unit_rows(pair[0] + alpha * residual) @ weight.T, pair[1]
            )

        losses = train(torch.optim.Adam([residual], weight_decay=weight_decay), loss, pairs, learning_rates)
        return residual.detach(), losses
