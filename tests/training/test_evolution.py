"""Evolution strategies: constants, the sphere, resumption, and no global random numbers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from clipwright.core.errors import UsageError
from clipwright.training.evolution import CSA, Evolution, Pycma, positive_weights

KINDS = (CSA, Pycma)


def sphere(candidates: np.ndarray) -> np.ndarray:
    return np.asarray(((candidates - 0.5) ** 2).sum(1))


def walk(search: Evolution, generations: int) -> None:
    for _ in range(generations):
        search.tell(sphere(search.ask()))


def test_the_published_constants() -> None:
    weights = positive_weights(40)
    assert len(weights) == 20
    assert weights[0] == pytest.approx(0.167, abs=5e-4)
    assert 1 / (weights**2).sum() == pytest.approx(11.31, abs=5e-3)
    search = CSA(512, 1.0, 40)
    assert search._cs == pytest.approx(0.0253, abs=5e-5)
    assert search._damping == pytest.approx(1.0253, abs=5e-5)
    assert search._expected == pytest.approx(22.616, abs=5e-4)


def test_csa_walks_down_a_sphere_as_cma_es_did(golden: Path) -> None:
    """pycma 4.4.0 ends near 17 with a step size near 0.16 (a statistical reference: 17 within 3)."""
    with np.load(golden / "craft.npz") as file:
        recorded = file["cma_sphere_best_sigma_meanf"]
    assert recorded[-1, 2] == pytest.approx(17, abs=0.1)
    search = CSA(512, 1.0, 40, seed=1, key=("sphere",))
    walk(search, 200)
    assert float(sphere(search.mean[None])[0]) == pytest.approx(17, abs=3)
    assert search.sigma == pytest.approx(0.16, abs=0.02)


def test_csa_against_its_equations() -> None:
    search = CSA(7, 0.3, 6, seed=4, key=("a",))
    mean, sigma, path = np.zeros(7), 0.3, np.zeros(7)
    w = np.log(3.5) - np.log([1, 2, 3])
    w /= w.sum()
    mu = 1 / (w**2).sum()
    cs = (mu + 2) / (7 + mu + 3)
    damping = 1 + 2 * max(0, math.sqrt((mu - 1) / 8) - 1) + cs
    chi = math.sqrt(7) * (1 - 1 / 28 + 1 / (21 * 49))
    for _ in range(5):
        u = search.ask()
        z = (u - mean) / sigma
        y = w @ z[np.argsort(sphere(u))[:3]]
        mean, path = mean + sigma * y, (1 - cs) * path + math.sqrt(cs * (2 - cs) * mu) * y
        sigma *= math.exp(min(1, cs / damping * (np.linalg.norm(path) / chi - 1)))
        search.tell(sphere(u))
        np.testing.assert_allclose(search.mean, mean, rtol=1e-12, atol=1e-14)
        assert search.sigma == pytest.approx(sigma, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_resumed_it_goes_on_as_if_nothing_had_happened(kind: type[CSA | Pycma]) -> None:
    whole, half = (kind(30, 1.0, 10, seed=3, key=("k",)) for _ in range(2))
    walk(whole, 12)
    walk(half, 5)
    again = kind(30, 1.0, 10, seed=3, key=("k",))
    again.restore({name: tensor.clone() for name, tensor in half.state().items()})
    assert again.generation == 5
    walk(again, 7)
    np.testing.assert_array_equal(again.mean, whole.mean)
    np.testing.assert_array_equal(again.best, whole.best)
    assert (again.sigma, again.best_value) == (whole.sigma, whole.best_value)
    np.testing.assert_array_equal(again.ask(), whole.ask())
    np.testing.assert_array_equal(again.fresh(), whole.fresh())


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_and_global_generators_are_left_alone(kind: type[CSA | Pycma]) -> None:
    before = np.random.get_state(legacy=False)  # noqa: NPY002 - the global one is meant
    first, second, other = kind(8, 1.0, 6, seed=1), kind(8, 1.0, 6, seed=1), kind(8, 1.0, 6, seed=2)
    for search in (first, second, other):
        walk(search, 3)
    assert str(np.random.get_state(legacy=False)) == str(before)  # noqa: NPY002
    np.testing.assert_array_equal(first.mean, second.mean)
    assert not np.array_equal(first.mean, other.mean)


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_hold(kind: type[CSA | Pycma]) -> None:
    search = kind(5, 3.0, 8, bound=1.0, seed=0)
    for _ in range(4):
        candidates = search.ask()
        assert float(np.abs(candidates).max()) <= 1
        search.tell(-candidates.sum(1))


def test_equal_and_missing_values() -> None:
    search = CSA(4, 1.0, 6, seed=0)
    search.tell(np.full(6, 2.0))
    assert search.best_value == 2
    search.tell(np.array([math.nan, 1.0, math.nan, 3.0, 2.0, math.nan]))
    assert search.best_value == 1
    assert np.isfinite(search.mean).all()


def test_refusals() -> None:
    with pytest.raises(UsageError, match="population of at least 4"):
        CSA(3, 1.0, 2)
    with pytest.raises(UsageError, match="6 values"):
        CSA(3, 1.0, 6).tell(np.zeros(5))


def test_states_are_tensors() -> None:
    for kind in KINDS:
        search = kind(3, 1.0, 4)
        walk(search, 2)
        assert all(isinstance(value, torch.Tensor) for value in search.state().values())
