"""CraFT's two losses, and the loop that turns to prompt and refinement in turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import cross_entropy, log_softmax

from clipwright.core.rng import generator
from clipwright.heads.refine import RefineHead, refined
from clipwright.training.batches import Batches
from clipwright.training.checkpoints import Checkpoint
from clipwright.training.evolution import Evolution
from clipwright.training.loop import train

CHUNK = 1 << 24
"""Class scores of prompts that are held in memory together, at most, or those of a single prompt."""


class Network(NamedTuple):
    """The refinement: ``g(z) = w2 relu(w1 z + b1) + b2``."""

    w1: torch.Tensor  # (H, C)
    b1: torch.Tensor  # (H,)
    w2: torch.Tensor  # (C, H)
    b2: torch.Tensor  # (C,)


def divergence(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """(...,) mean over rows of KL(softmax(p) || softmax(q)) in nats; p and q (..., n, C) logits."""
    logp, logq = log_softmax(p, -1), log_softmax(q, -1)
    return (logp.exp() * (logp - logq)).sum(-1).mean(-1)


def fitness(z: torch.Tensor, y: torch.Tensor, network: Network | None = None, weight: float = 0.0) -> torch.Tensor:
    """What a prompt is worth: ``F = CE(z, y) + weight * KL(softmax(z + g(z)) || softmax(z))``, lower = better.

    Args:
        z: (P, n, C) logits of n images under P prompts.
        y: (n,) int64 classes.
        network: the refinement g, or None.
        weight: of the divergence, at least 0.

    Returns:
        (P,).
    """
    loss = -log_softmax(z, -1).gather(-1, y.expand(len(z), -1)[..., None]).mean((1, 2))
    if network is not None and weight:
        loss = loss + weight * divergence(refined(z, *network), z)
    return loss


def head_loss(z: torch.Tensor, y: torch.Tensor, network: Network, weight: float) -> torch.Tensor:
    """``G = CE(z + g(z), y) + weight * KL(softmax(z) || softmax(z + g(z)))``; z (n, C) is a constant."""
    z = z.detach()
    better = refined(z, *network)
    loss = cross_entropy(better, y)
    return loss + weight * divergence(z, better) if weight else loss


def initial_network(
    class_names: tuple[str, ...], hidden: int, *, seed: int, random_output: bool, dtype: torch.dtype
) -> Network:
    """Where the refinement begins: as linear layers do in torch, the last one at zero unless `random_output`.

    Weights that belong to a class are drawn under its name, so that the order of the classes doesn't matter.
    """
    classes = len(class_names)

    def drawn(part: str, names: tuple[str, ...], width: int, inputs: int) -> torch.Tensor:
        rows = [generator(seed, "craft", part, name).uniform(-1, 1, width) for name in names]
        return torch.from_numpy(np.stack(rows) / inputs**0.5).to(dtype)

    w1 = drawn("hidden", class_names, hidden, classes).T.contiguous()
    b1 = drawn("hidden bias", ("",), hidden, classes)[0]
    if not random_output:
        return Network(w1, b1, torch.zeros(classes, hidden, dtype=dtype), torch.zeros(classes, dtype=dtype))
    w2 = drawn("output", class_names, hidden, hidden)
    return Network(w1, b1, w2, drawn("output bias", class_names, 1, hidden)[:, 0])


@dataclass(eq=False)
class Collaboration:
    """Prompt and refinement, found in turns.

    Attributes:
        contexts: from (P, k) points of the search space to (P, m, d) contexts.
        scores: (P, n, C) logits of the labelled images under P contexts, as the fitness sees them.
        head_scores: (n, C) logits under one context (m, d), as the refinement is trained on them in an epoch.
        labels: (n,) int64 classes.
        classes: C.
        search: the evolution strategy, or None to leave the prompt as it is.
        network: the refinement, or None to leave the scores as they are.
        batches: of labelled images, for the refinement.
        generations: how many turns.
        learning_rate: Adam's, for the refinement.
        weight: of both divergences.
        until: the refinement's divergence counts while at most so many prompts were evaluated.
        working: which point the refinement and the result use: ``mean``, ``fresh`` or ``best``.
        checkpoint: where the state is kept after each turn, or None.
        tick: called with the number of turns done since it was called last.
    """

    contexts: Callable[[torch.Tensor], torch.Tensor]
    scores: Callable[[torch.Tensor], torch.Tensor]
    head_scores: Callable[[torch.Tensor, int], torch.Tensor]
    labels: torch.Tensor
    classes: int
    search: Evolution | None
    network: Network | None
    batches: Batches
    generations: int
    learning_rate: float
    weight: float
    until: int
    working: str
    checkpoint: Checkpoint | None = None
    tick: Callable[[int], None] = lambda _: None
    losses: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def run(self) -> torch.Tensor:
        """Take all turns, and return the (k,) point of the search space that the result uses."""
        if self.network is not None:
            self.network = Network(*(part.detach().clone().requires_grad_() for part in self.network))
        adam = None if self.network is None else torch.optim.Adam(list(self.network), lr=self.learning_rate)
        point = torch.zeros(self._dim, dtype=torch.float64)
        start, saved = self._resume(adam)
        if start:
            self.tick(start)
        point = point if saved is None else saved
        for turn in range(start, self.generations):
            if self.search is not None:
                point = self._generation(self.search)
            if adam is not None:
                self._epoch(adam, turn, point)
            self._keep(turn, point, adam)
            self.tick(1)
        return point

    @property
    def _dim(self) -> int:
        return 0 if self.search is None else len(self.search.mean)

    def _generation(self, search: Evolution) -> torch.Tensor:
        with torch.no_grad():
            contexts = self.contexts(torch.from_numpy(search.ask()))
            network = None if self.network is None else Network(*(part.detach() for part in self.network))
            some = max(1, CHUNK // (len(self.labels) * self.classes))  # so that large data need no large memory
            parts = [
                fitness(self.scores(part), self.labels, network, self.weight) for part in torch.split(contexts, some)
            ]
            values = torch.cat(parts).double().cpu().numpy()
        search.tell(values)
        self.values.append(float(values.min()))
        if self.working == "best":
            return torch.from_numpy(search.best.copy())
        if self.working == "fresh":
            return torch.from_numpy(search.fresh().mean(0))
        return torch.from_numpy(search.mean.copy())

    def _epoch(self, adam: torch.optim.Optimizer, turn: int, point: torch.Tensor) -> None:
        assert self.network is not None  # noqa: S101 - the caller looked
        spent = 0 if self.search is None else self.search.generation * self.search.population
        network, weight = self.network, self.weight if spent <= self.until else 0.0
        with torch.no_grad():
            z = self.head_scores(self.contexts(point[None])[0], turn)
        self.losses += train(
            adam,
            lambda rows: head_loss(z[rows], self.labels[rows], network, weight),
            lambda _: self.batches(turn),
            [self.learning_rate],
        )

    def _keep(self, turn: int, point: torch.Tensor, adam: torch.optim.Optimizer | None) -> None:
        if self.checkpoint is None:
            return
        tensors = {"point": point}
        if self.search is not None:
            tensors |= {f"search.{name}": value for name, value in self.search.state().items()}
        if self.network is not None and adam is not None:
            for name, part in zip(Network._fields, self.network, strict=True):
                tensors[name] = part
                tensors |= {f"adam.{name}.{key}": value for key, value in adam.state[part].items()}
        self.checkpoint.save(tensors, {"turns": turn + 1, "losses": self.losses, "values": self.values})

    def _resume(self, adam: torch.optim.Optimizer | None) -> tuple[int, torch.Tensor | None]:
        found = None if self.checkpoint is None else self.checkpoint.load()
        if found is None:
            return 0, None
        tensors, facts = found
        if self.search is not None:
            self.search.restore({n.removeprefix("search."): t for n, t in tensors.items() if n.startswith("search.")})
        if self.network is not None and adam is not None:
            for name, part in zip(Network._fields, self.network, strict=True):
                part.data.copy_(tensors[name])
                mark = f"adam.{name}."
                state = {n.removeprefix(mark): t for n, t in tensors.items() if n.startswith(mark)}
                if state:
                    adam.state[part] = state
        self.losses, self.values = list(facts["losses"]), list(facts["values"])
        return int(facts["turns"]), tensors["point"]

    def head(self) -> RefineHead:
        """The refinement as it is now.

        Raises:
            AttributeError: there is none.
        """
        assert self.network is not None  # noqa: S101 - said above
        return RefineHead(*(part.detach() for part in self.network))


def projection_matrix(rows: int, dim: int, *, std: float | None, seed: int, dtype: Any = torch.float64) -> torch.Tensor:
    """(rows, k) fixed random matrix A: entries N(0, std^2), or even in ±1/sqrt(k) where `std` is None."""
    draws = generator(seed, "craft", "projection")
    made = draws.uniform(-1, 1, (rows, dim)) / dim**0.5 if std is None else std * draws.standard_normal((rows, dim))
    return torch.from_numpy(made).to(dtype)
