"""The optimisation of CLIPAdapter: bottlenecks beside image features and class texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch.nn.functional import cross_entropy

from clipwright.core.rng import generator
from clipwright.core.tensors import unit_rows
from clipwright.heads.adapter import adapted
from clipwright.training.batches import Batches
from clipwright.training.loop import train
from clipwright.training.threads import threads_for

MOMENTUM = 0.9
"""Of SGD, as released."""

Rows = torch.Tensor | Callable[[int], torch.Tensor]


class Bottleneck(NamedTuple):
    """An adapter: ``unit((1 - ratio) * v + ratio * relu(v @ down) @ up)``, see `clipwright.heads.adapter.adapted`."""

    down: torch.Tensor  # (D, H)
    up: torch.Tensor  # (H, D)
    ratio: float

    def __call__(self, rows: torch.Tensor, *, second_relu: bool = False) -> torch.Tensor:
        """(m, D) unit rows to (m, D) unit rows."""
        return unit_rows(adapted(rows, self.down, self.up, self.ratio, second_relu=second_relu))


def initial_bottleneck(
    dim: int, hidden: int, ratio: float, *, seed: int, side: str, random_up: bool = False, dtype: torch.dtype
) -> Bottleneck:
    """Where an adapter begins.

    Args:
        dim: D.
        hidden: H.
        ratio: share of the adapter's output.
        seed: the task's seed.
        side: what the adapter is for; another one is drawn.
        random_up: draw `up` as well, as linear layers begin in torch; False = zero, with which the adapter changes no
            direction.
        dtype: of the matrices.

    Returns:
        `down` with entries even in ±1/sqrt(D), as linear layers begin in torch, and `up`.
    """

    def drawn(part: str, *shape: int) -> torch.Tensor:
        even = generator(seed, "clip_adapter", side, part).uniform(-1, 1, shape)
        return torch.from_numpy(even / shape[0] ** 0.5).to(dtype)

    up = drawn("up", hidden, dim) if random_up else torch.zeros(hidden, dim, dtype=dtype)
    return Bottleneck(drawn("down", dim, hidden), up, ratio)


def adapter_fit(
    x: Rows,
    y: torch.Tensor,
    texts: torch.Tensor,
    *,
    image: Bottleneck | None,
    text: Bottleneck | None,
    batches: Batches | Sequence[Sequence[torch.Tensor]],
    learning_rates: Sequence[float],
    optimizer: Literal["adam", "sgd"] = "adam",
    weight_decay: float = 0.0,
    second_relu: bool = False,
    logit_scale: float = 100.0,
) -> tuple[Bottleneck | None, Bottleneck | None, list[float]]:
    """Learn adapters on the cross-entropy of ``logit_scale * image(unit(x)) @ text(texts).T``.

    Args:
        x: (N, D) image features of any length, or a function from the epoch to them.
        y: (N,) int64 classes.
        texts: (C, D) unit class texts; their dtype is computed in.
        image: the adapter of the images at the start, or None = there is none.
        text: that of the texts, or None.
        batches: rows of each batch, by epoch: a function from the epoch, or one list of batches per epoch.
        learning_rates: one per epoch; as many epochs are run.
        optimizer: ``adam``, or ``sgd`` with a momentum of 0.9.
        weight_decay: added to the gradient times the weights (coupled).
        second_relu: whether the adapters' outputs are rectified.
        logit_scale: multiplies the cosines.

    Returns:
        The adapters of images and texts, and the mean loss of each epoch.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    rows_of = batches if callable(batches) else batches.__getitem__
    with torch.inference_mode(False), threads_for(_multiplications(len(y), texts, image, text)):
        # copies, because what comes from inference mode can't be trained on
        targets, y = texts.clone(), y.clone()
        sides = [None if s is None else s._replace(down=_free(s.down), up=_free(s.up)) for s in (image, text)]
        clean = None if callable(x) else unit_rows(x).to(targets.dtype).clone()

        def pairs(epoch: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
            rows = clean if clean is not None else unit_rows(x(epoch)).to(targets.dtype)  # type: ignore[operator] # callable
            return [(rows[batch], y[batch]) for batch in rows_of(epoch)]

        def loss(pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            images, classes = (
                part if side is None else side(part, second_relu=second_relu)
                for part, side in zip((pair[0], targets), sides, strict=True)
            )
            return cross_entropy(logit_scale * images @ classes.T, pair[1])

        weights = [matrix for side in sides if side is not None for matrix in (side.down, side.up)]
        losses = train(_optimizer(optimizer, weights, weight_decay), loss, pairs, learning_rates)
        done = [None if s is None else s._replace(down=s.down.detach(), up=s.up.detach()) for s in sides]
        return done[0], done[1], losses


def _free(matrix: torch.Tensor) -> torch.Tensor:
    return matrix.clone().requires_grad_()


def _optimizer(name: Literal["adam", "sgd"], weights: list[torch.Tensor], weight_decay: float) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD(weights, lr=0.0, momentum=MOMENTUM, weight_decay=weight_decay)
    return torch.optim.Adam(weights, lr=0.0, weight_decay=weight_decay)


def _multiplications(n: int, texts: torch.Tensor, image: Bottleneck | None, text: Bottleneck | None) -> int:
    """Of one step with all rows."""
    sizes = [n * texts.numel()]
    sizes += [rows * side.down.numel() for rows, side in ((n, image), (len(texts), text)) if side is not None]
    return max(sizes)
