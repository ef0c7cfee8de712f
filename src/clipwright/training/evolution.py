"""Evolution strategies: search by values alone, a generation of candidates at a time, resumable after each."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from clipwright.core.errors import NeedsError, UsageError
from clipwright.core.rng import Key, generator

Floats = NDArray[np.float64]


class Evolution(Protocol):
    """A search distribution that moves towards candidates of low value."""

    population: int
    best: Floats
    best_value: float

    @property
    def generation(self) -> int:
        """Generations told so far."""

    @property
    def mean(self) -> Floats:
        """(k,) centre of the search."""

    @property
    def sigma(self) -> float:
        """Step size."""

    def ask(self) -> Floats:
        """(P, k) candidates of this generation; asking again before telling gives the same ones."""

    def tell(self, values: Floats) -> None:
        """(P,) values of the candidates that were asked for, lower = better."""

    def fresh(self) -> Floats:
        """(P, k) further draws from the present distribution, which no value has seen."""

    def state(self) -> dict[str, torch.Tensor]:
        """What `restore` needs to go on exactly here."""

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from a saved state."""


def positive_weights(population: int) -> Floats:
    """(P // 2,) weights of the better half, best first: ``ln((P + 1) / 2) - ln(i)``, summing to 1."""
    half = population // 2
    weights = np.log((population + 1) / 2) - np.log(np.arange(1, half + 1))
    return np.asarray(weights / weights.sum())


class CSA:
    """An isotropic (mu/mu_w, lambda) evolution strategy with cumulative step-size adaptation.

    In hundreds of dimensions and a few hundred generations CMA-ES hardly moves its covariance, so this walks like it at
    a fraction of the cost. Draws depend on the key and the generation alone.

    Attributes:
        generation: generations told so far.
        mean: (k,) centre of the search.
        sigma: step size.
        best: (k,) candidate of the lowest value so far, `mean` before any.
        best_value: its value, infinite before any.

    Args:
        dim: k.
        sigma: first step size, positive.
        population: P candidates per generation, at least 4.
        bound: candidates are kept within ±bound in every coordinate; 0 = nowhere.
        seed: the task's seed.
        key: what the search is for.

    Source: Hansen, The CMA Evolution Strategy: A Tutorial, arXiv 1604.00772, Eqs. 43 to 44 with C = I.
    """

    def __init__(
        self, dim: int, sigma: float, population: int, *, bound: float = 0.0, seed: int = 0, key: tuple[Key, ...] = ()
    ) -> None:
        if population < 4:
            raise UsageError(f"an evolution strategy needs a population of at least 4; it is {population}.")
        self.dim, self.population, self.bound = dim, population, bound
        self._seed, self._key = seed, key
        self.generation, self.sigma = 0, float(sigma)
        self.mean, self.best, self._path = np.zeros(dim), np.zeros(dim), np.zeros(dim)
        self.best_value = math.inf
        self._weights = positive_weights(population)
        effective = 1 / float((self._weights**2).sum())
        self._cs = (effective + 2) / (dim + effective + 3)
        self._damping = 1 + 2 * max(0.0, math.sqrt((effective - 1) / (dim + 1)) - 1) + self._cs
        self._push = math.sqrt(self._cs * (2 - self._cs) * effective)
        self._expected = math.sqrt(dim) * (1 - 1 / (4 * dim) + 1 / (21 * dim**2))

    def ask(self) -> Floats:
        """(P, k) candidates of this generation."""
        steps = generator(self._seed, *self._key, "generation", self.generation).standard_normal(
            (self.population, self.dim)
        )
        return self._inside(self.mean + self.sigma * steps)

    def tell(self, values: Floats) -> None:
        """Move towards the better half of the candidates, of equal ones the first, and adapt the step size.

        Raises:
            UsageError: not one value per candidate.
        """
        values = np.asarray(values, dtype=np.float64)
        if values.shape != (self.population,):
            raise UsageError(f"a generation has {self.population} values; there are {values.shape}.")
        candidates = self.ask()
        order = np.argsort(np.where(np.isnan(values), math.inf, values), kind="stable")
        chosen = order[: len(self._weights)]
        step = self._weights @ ((candidates[chosen] - self.mean) / self.sigma)
        if values[order[0]] < self.best_value:
            self.best, self.best_value = candidates[order[0]], float(values[order[0]])
        self.mean = self.mean + self.sigma * step
        self._path = (1 - self._cs) * self._path + self._push * step
        growth = self._cs / self._damping * (float(np.linalg.norm(self._path)) / self._expected - 1)
        self.sigma *= math.exp(min(1.0, growth))
        self.generation += 1

    def fresh(self) -> Floats:
        """(P, k) further draws from the present distribution, which no value has seen."""
        steps = generator(self._seed, *self._key, "fresh", self.generation).standard_normal((self.population, self.dim))
        return self._inside(self.mean + self.sigma * steps)

    def state(self) -> dict[str, torch.Tensor]:
        """Mean, best candidate, path and numbers, as tensors."""
        numbers = torch.tensor([self.generation, self.sigma, self.best_value], dtype=torch.float64)
        vectors = {"mean": self.mean, "best": self.best, "path": self._path}
        return {"numbers": numbers, **{name: torch.from_numpy(v.copy()) for name, v in vectors.items()}}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Go on from what `state` gave."""
        generation, self.sigma, self.best_value = state["numbers"].tolist()
        self.generation = int(generation)
        self.mean, self.best, self._path = (state[n].numpy().copy() for n in ("mean", "best", "path"))

    def _inside(self, candidates: Floats) -> Floats:
        return np.clip(candidates, -self.bound, self.bound) if self.bound else candidates


class Pycma:
    """CMA-ES of the `cma` package, asked once per generation, resumed by telling it again all values it was told.

    Attributes and arguments as in `CSA`.

    Raises:
        NeedsError: the package is not installed.
    """

    def __init__(
        self, dim: int, sigma: float, population: int, *, bound: float = 0.0, seed: int = 0, key: tuple[Key, ...] = ()
    ) -> None:
        try:
            import cma
        except ImportError as error:
            raise NeedsError(
                "the optimiser pycma needs the package cma: install clipwright[craft], or use the built-in csa."
            ) from error
        draws = generator(seed, *key, "pycma")
        options: dict[str, Any] = {
            "popsize": population,
            "seed": np.nan,  # its numbers come from `randn`, and nothing global is touched
            "randn": lambda *shape: draws.standard_normal(shape),
            "verbose": -9,
            "verb_log": 0,
            "verb_disp": 0,
            "maxiter": np.inf,
            "tolstagnation": 0,  # when to stop is the caller's to say
            **({"bounds": [-bound, bound]} if bound else {}),
        }
        self.dim, self.population = dim, population
        self._seed, self._key = seed, key
        self._es = cma.CMAEvolutionStrategy(np.zeros(dim), sigma, options)
        self._asked: Floats | None = None
        self._told: list[Floats] = []
        self.best, self.best_value = np.zeros(dim), math.inf

    @property
    def generation(self) -> int:
        """Generations told so far."""
        return len(self._told)

    @property
    def mean(self) -> Floats:
        """(k,) centre of the search, inside the bounds."""
        return np.asarray(self._es.result.xfavorite, dtype=np.float64) if self._told else np.zeros(self.dim)

    @property
    def sigma(self) -> float:
        """Step size."""
        return float(self._es.sigma)

    def ask(self) -> Floats:
        """(P, k) candidates of this generation."""
        if self._asked is None:
            self._asked = np.asarray(self._es.ask(), dtype=np.float64)
        return self._asked

    def tell(self, values: Floats) -> None:
        """Pass the values on."""
        candidates = self.ask()
        values = np.asarray(values, dtype=np.float64)
        self._es.tell(list(candidates), values.tolist())
        lowest = int(np.argmin(values))
        if values[lowest] < self.best_value:
            self.best, self.best_value = candidates[lowest], float(values[lowest])
        self._told.append(values)
        self._asked = None

    def fresh(self) -> Floats:
        """(P, k) further draws from the present mean and step size; its covariance stays near the identity."""
        steps = generator(self._seed, *self._key, "fresh", self.generation).standard_normal((self.population, self.dim))
        return np.asarray(self.mean + self.sigma * steps)

    def state(self) -> dict[str, torch.Tensor]:
        """(g, P) all values that it was told."""
        told = np.stack(self._told) if self._told else np.zeros((0, self.population))
        return {"values": torch.from_numpy(told)}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Tell a new search the recorded values; it asks for the same candidates again."""
        for values in state["values"].numpy()[self.generation :]:
            self.tell(values)
