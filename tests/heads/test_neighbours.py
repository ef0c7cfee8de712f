"""The votes of neighbours against plain arithmetic; blocks; ties of texts; damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipwright.core.errors import DataError, FormatError
from clipwright.heads import neighbours
from clipwright.heads.io import load_head, save_head
from clipwright.heads.neighbours import NeighbourHead, text_links


def unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4), st.booleans(), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_votes_are_the_formula(stored: int, classes: int, k: int, projects: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, text = rng.standard_normal((5, 6)), unit(rng.standard_normal((classes, 6)))
    basis = np.linalg.qr(rng.standard_normal((6, 4)))[0] if projects else np.eye(6)
    keys, votes = unit(rng.standard_normal((stored, basis.shape[1]))), rng.random((stored, classes))
    own = rng.random((classes, classes))
    scores = 7 * unit(x) @ text.T
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    expected = np.zeros((5, classes))
    near = unit(unit(x) @ basis) @ keys.T
    for i in range(5):
        for c in np.argsort(-scores[i])[:k]:
            expected[i] += shares[i, c] * own[c]
        for j in np.argsort(-near[i])[:k]:
            expected[i] += max(near[i, j], 0) ** 1.5 * votes[j]
    a, b, c, d, e = (torch.from_numpy(array) for array in (keys, votes, text, own, basis))
    head = NeighbourHead(a, b, c, d, e if projects else None, scale=7.0, k=k, links=k, power=1.5)
    np.testing.assert_allclose(head(torch.from_numpy(x)).numpy(), np.log(expected), rtol=1e-9, atol=1e-9)


def small(stored: int = 50) -> NeighbourHead:
    made = torch.Generator().manual_seed(0)
    keys = torch.nn.functional.normalize(torch.randn(stored, 5, generator=made, dtype=torch.float64), dim=1)
    votes = torch.rand(stored, 3, generator=made, dtype=torch.float64)
    return NeighbourHead(keys, votes, keys[:3], votes[:3], scale=4.0, k=6, links=2)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(9, 5, dtype=torch.float64)
    whole = small()(x)
    monkeypatch.setattr(neighbours, "_BLOCK", 7)
    torch.testing.assert_close(small()(x), whole, rtol=0, atol=1e-12)


def test_texts_that_tie_are_all_linked() -> None:
    links = text_links(torch.tensor([[2.0, 1.0, 1.0, 0.0]]), 2)
    assert (links > 0).tolist() == [[True, True, True, False]]
    torch.testing.assert_close(links[0, :3], torch.tensor([2.0, 1.0, 1.0, 0.0]).softmax(0)[:3])


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="neighbour head"):
        NeighbourHead(torch.ones(2, 3), torch.ones(3, 2), torch.ones(2, 3), torch.ones(2, 2), scale=1.0, k=1, links=1)
    with pytest.raises(DataError, match="neighbour head"):
        NeighbourHead(torch.ones(2, 3), torch.ones(2, 2), torch.ones(2, 4), torch.ones(2, 2), scale=1.0, k=1, links=1)


def test_votes_below_zero_in_a_file_are_refused(tmp_path: Path) -> None:
    head = small()
    head.values[0, 0] = -1
    save_head(head, tmp_path / "head.safetensors")
    with pytest.raises(FormatError, match="votes below zero"):
        load_head(tmp_path / "head.safetensors")
