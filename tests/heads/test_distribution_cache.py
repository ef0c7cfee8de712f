"""The head that compares how texts see images, against plain float64 arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipwright.core.errors import DataError
from clipwright.heads.cache import CacheHead
from clipwright.heads.distribution_cache import DistributionCacheHead, log_shares, mean_divergence
from clipwright.heads.fusion import FusionHead
from clipwright.heads.io import load_head, save_head

GAMMA, SLOPE, OFFSET, TEMPERATURE = 1.5, 30.0, 0.2, 0.4


def unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


def parts(C: int = 4, N: int = 9, D: int = 6, T: int = 5, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    made = {"weight": rng.standard_normal((C, D)), "keys": unit(rng.standard_normal((N, D)))}
    return made | {"key_class": rng.integers(0, C, N), "vote": rng.random(N), "texts": unit(rng.normal(size=(T, D)))}


def head(given: dict[str, Any]) -> DistributionCacheHead:
    weight, keys, key_class, vote, texts = (
        torch.as_tensor(given[n]) for n in ("weight", "keys", "key_class", "vote", "texts")
    )
    cache = CacheHead(weight, keys, key_class, alpha=0.7, beta=2.0, scale=7.0, key_weight=vote)
    shares = vote[:, None] * log_shares(keys, texts, TEMPERATURE)
    profile = torch.zeros(len(weight), len(texts), dtype=torch.float64).index_add_(0, key_class, shares)
    total = torch.zeros(len(weight), dtype=torch.float64).index_add_(0, key_class, vote)
    return DistributionCacheHead(
        cache, texts, profile, total, gamma=GAMMA, slope=SLOPE, offset=OFFSET, temperature=TEMPERATURE
    )


def softmax(scores: np.ndarray) -> np.ndarray:
    e = np.exp(scores - scores.max())
    return np.asarray(e / e.sum())


def expected(given: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """One row and one key at a time."""
    logits = np.zeros((len(x), len(given["weight"])))
    for m, row in enumerate(unit(x)):
        logits[m] = 7 * given["weight"] @ row
        r = softmax(given["texts"] @ row / TEMPERATURE)
        for key, c, vote in zip(given["keys"], given["key_class"], given["vote"], strict=True):
            q = softmax(given["texts"] @ key / TEMPERATURE)
            divergence = np.sum(r * np.log(r / q))
            logits[m, c] += vote * (0.7 * np.exp(-2 * (1 - row @ key)) - GAMMA * (OFFSET + SLOPE * divergence))
    return logits


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 12), st.integers(1, 6), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_it_is_the_formula(m: int, C: int, N: int, T: int, seed: int) -> None:
    given, x = parts(C, N, 6, T, seed), np.random.default_rng(seed + 1).standard_normal((m, 6))
    np.testing.assert_allclose(head(given)(torch.from_numpy(x)).numpy(), expected(given, x), rtol=1e-10, atol=1e-10)


def test_small_divergences_keep_their_digits_in_single_precision() -> None:
    """1,000 texts at nearly the same cosines, as CLIP's are: shares are even to a few percent."""
    rng = np.random.default_rng(0)
    centre = unit(rng.standard_normal(64))
    texts, keys = unit(centre + 0.05 * rng.standard_normal((1000, 64))), unit(centre + 0.1 * rng.normal(size=(40, 64)))
    found = []
    for dtype in (torch.float32, torch.float64):
        t, k = (torch.from_numpy(a).to(dtype) for a in (texts, keys))
        shares = log_shares(k, t, 0.5)
        found.append(mean_divergence(shares, shares, torch.ones(40, dtype=dtype)).double())
    spread = float(found[1].max() - found[1].min())
    assert float((found[0] - found[1]).abs().max()) < 1e-3 * spread


def test_a_restricted_head_has_those_columns_and_their_keys() -> None:
    x = torch.randn(3, 6, dtype=torch.float64)
    small = head(parts()).restrict(torch.tensor([2, 0, 2]))
    torch.testing.assert_close(small(x), head(parts())(x)[:, [2, 0, 2]])
    few = head(parts()).restrict(torch.tensor([2, 0]))
    assert isinstance(few, DistributionCacheHead)
    assert isinstance(few.cache, CacheHead)
    assert len(few.cache.keys) == int(np.isin(parts()["key_class"], [0, 2]).sum())
    assert len(few.texts) == 5


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    x = torch.randn(3, 6)
    save_head(head(parts()), tmp_path / "head.safetensors")
    assert torch.equal(load_head(tmp_path / "head.safetensors")(x), head(parts())(x))


def test_what_does_not_fit_is_refused() -> None:
    cache, texts = (
        CacheHead(torch.ones(2, 3), torch.ones(4, 3), torch.zeros(4).long(), alpha=1, beta=1),
        torch.ones(5, 3),
    )
    numbers = {"gamma": 1.0, "slope": 1.0, "offset": 0.0}
    with pytest.raises(DataError, match="a distribution head takes"):
        DistributionCacheHead(cache, texts, torch.ones(2, 4), torch.ones(2), **numbers)
    two = FusionHead(torch.ones(2, 3), torch.ones(4, 3), torch.zeros(4), alpha=1, beta=1, second_keys=torch.ones(4, 3))
    with pytest.raises(DataError, match="stands on a head of image features"):
        DistributionCacheHead(two, texts, torch.ones(2, 5), torch.ones(2), **numbers)
