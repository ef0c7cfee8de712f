"""The key-value head against plain float64 arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipwright.core.errors import DataError, FormatError
from clipwright.heads.base import Restricted
from clipwright.heads.cache import CacheHead


def parts(C: int = 4, N: int = 9, D: int = 6, seed: int = 0, channels: bool = False) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "weight": rng.standard_normal((C, D)),
        "keys": rng.standard_normal((N, 3 if channels else D)),
        "key_class": rng.integers(0, C, N),
        "key_weight": rng.random(N),
        "channels": rng.permutation(D)[:3] if channels else None,
    }


def head(given: dict[str, Any]) -> CacheHead:
    tensors = {name: None if v is None else torch.as_tensor(v) for name, v in given.items()}
    return CacheHead(**tensors, alpha=1.5, beta=2.5, scale=7.0)  # type: ignore[arg-type]


def expected(given: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """One row, one class and one key at a time."""
    logits = np.zeros((len(x), len(given["weight"])))
    for m, row in enumerate(x):
        u = row / np.linalg.norm(row)
        v = u if given["channels"] is None else u[given["channels"]] / np.linalg.norm(u[given["channels"]])
        for c, text in enumerate(given["weight"]):
            votes = [
                w * np.exp(-2.5 * (1 - v @ k))
                for k, own, w in zip(given["keys"], given["key_class"], given["key_weight"], strict=True)
                if own == c
            ]
            logits[m, c] = 7 * u @ text + 1.5 * sum(votes)
    return logits


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 12), st.booleans(), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_it_is_the_formula(m: int, C: int, N: int, channels: bool, seed: int) -> None:
    given = parts(C, N, 6, seed, channels)
    x = np.random.default_rng(seed + 1).standard_normal((m, 6))
    np.testing.assert_allclose(head(given)(torch.from_numpy(x)).numpy(), expected(given, x), rtol=1e-11)


def test_keys_are_read_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    given, x = parts(), torch.randn(3, 6, dtype=torch.float64)
    whole = head(given)(x)
    monkeypatch.setattr("clipwright.heads.cache._BLOCK", 2)
    torch.testing.assert_close(head(given)(x), whole)


def test_a_restricted_head_keeps_only_its_keys() -> None:
    given, x = parts(), torch.randn(3, 6, dtype=torch.float64)
    small = head(given).restrict(torch.tensor([2, 0]))
    assert isinstance(small, CacheHead)
    assert len(small.keys) == int(np.isin(given["key_class"], [0, 2]).sum())
    torch.testing.assert_close(small(x), head(given)(x)[:, [2, 0]])


def test_a_class_asked_for_twice_is_answered_twice() -> None:
    x = torch.randn(3, 6, dtype=torch.float64)
    twice = head(parts()).restrict(torch.tensor([1, 1]))
    assert isinstance(twice, Restricted)
    assert torch.equal(twice(x), head(parts())(x)[:, [1, 1]])


def test_shapes_that_do_not_fit_are_refused() -> None:
    good = head(parts()).state_dict()
    for change in ({"keys": torch.ones(9, 5)}, {"key_class": torch.zeros(8)}, {"key_weight": torch.ones(3)}):
        given = {n: good[n] for n in ("weight", "keys", "key_class", "key_weight")} | change
        with pytest.raises(DataError, match="a cache head takes"):
            CacheHead(**given, alpha=1.0, beta=1.0)


@pytest.mark.parametrize("name", ["key_class", "channels"])
@pytest.mark.parametrize("value", [-1, 6])
def test_indices_that_point_nowhere_are_refused_when_loaded(name: str, value: int) -> None:
    damaged = head(parts(channels=True))
    getattr(damaged, name)[0] = value
    with pytest.raises(FormatError, match=f"{name} must lie in"):
        damaged.verify()
