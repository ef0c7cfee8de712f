"""The metric that texts give, and the search of (beta, alpha): against the released code and against plain loops."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipwright.core.errors import DataError
from clipwright.core.sweeps import Steps
from clipwright.core.tensors import unit_rows
from clipwright.methods import coder_few_shot
from clipwright.methods.coder_few_shot import (
    Held,
    Memory,
    counts_on_grid,
    exact_search,
    gram_root,
    released_search,
)

Arrays = dict[str, torch.Tensor]


@pytest.fixture
def arrays(golden: Path) -> Arrays:
    with np.load(golden / "coder.npz") as file:
        return {n: torch.from_numpy(np.asarray(file[n])) for n in file.files if n.startswith("fs_")}


def golden_memory(a: Arrays) -> Memory:
    root = gram_root(a["fs_S_no_syno"])
    keys = unit_rows(unit_rows(a["fs_support_views"].mean(0)) @ root.T)
    return Memory(unit_rows(a["fs_text_DxC"].T), root, keys, a["fs_support_labels"], 100.0)


# ---- the metric --------------------------------------------------------------------------------------------------


def test_golden_affinities_without_the_text_cosines(arrays: Arrays) -> None:
    memory = golden_memory(arrays)
    assert memory.projection.shape == (40, 40)
    x = unit_rows(arrays["fs_test"])
    affinity = memory.seen(x) @ memory.keys.T
    torch.testing.assert_close(affinity, arrays["fs_affinity"], rtol=0, atol=1e-12)
    torch.testing.assert_close(memory.near(x), arrays["fs_affinity_minmax"], rtol=0, atol=1e-11)
    released = arrays["fs_query_phi"] @ arrays["fs_keys_TxN"]
    torch.testing.assert_close(affinity, released, rtol=0, atol=1e-12)


@given(st.integers(1, 30), st.integers(1, 9), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_the_root_gives_the_cosines_of_cosines(T: int, D: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    texts, x = rng.standard_normal((T, D)), rng.standard_normal((6, D))
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    phi = x @ texts.T
    phi /= np.linalg.norm(phi, axis=1, keepdims=True)
    root = gram_root(torch.from_numpy(texts))
    assert len(root) <= min(T, D)
    z = unit_rows(torch.from_numpy(x) @ root.T).numpy()
    np.testing.assert_allclose(z @ z.T, phi @ phi.T, atol=1e-9)


def test_texts_that_say_the_same_need_fewer_dimensions() -> None:
    texts = unit_rows(torch.randn(3, 8, dtype=torch.float64)).repeat(5, 1)
    assert gram_root(texts).shape == (3, 8)


def test_broken_texts_are_refused() -> None:
    with pytest.raises(DataError, match="NaN or infinity"):
        gram_root(torch.full((9, 4), torch.nan))


# ---- the search --------------------------------------------------------------------------------------------------


def test_golden_rounds(arrays: Arrays) -> None:
    """All counts of all three rounds of the released search, on the coarse grid of the file."""
    memory = golden_memory(arrays)
    held = Held(unit_rows(arrays["fs_val"]), arrays["fs_val_labels"])
    steps = tuple(arrays["fs_grid_steps"].tolist())
    rounds = released_search(memory, held, steps)
    counts = torch.stack([r.counts for r in rounds])
    torch.testing.assert_close(100 * counts.double() / 64, arrays["fs_grid_val_acc"], rtol=0, atol=1e-9)
    found = [[r.best.beta, r.best.alpha, 100 * r.best.right / 64] for r in rounds]
    np.testing.assert_allclose(found, arrays["fs_rounds_beta_alpha_acc"], rtol=1e-12)
    best = rounds[-1].best
    assert (best.beta, best.alpha) == pytest.approx((float(arrays["fs_best_beta"]), float(arrays["fs_best_alpha"])))
    right = memory.head(best.beta, best.alpha)(arrays["fs_test"]).argmax(1) == arrays["fs_test_labels"]
    assert 100 * float(right.double().mean()) == pytest.approx(float(arrays["fs_test_acc_at_best"]))


def test_the_exact_search_is_at_least_as_good_as_the_grid(arrays: Arrays) -> None:
    memory = golden_memory(arrays)
    held = Held(unit_rows(arrays["fs_val"]), arrays["fs_val_labels"])
    betas = torch.logspace(math.log10(0.1), math.log10(200), 200, dtype=torch.float64)
    found = exact_search(memory, held, betas, (0.1, 100.0), (24.0, 3.0))
    assert found.right >= max(r.best.right for r in released_search(memory, held, (500, 50)))
    assert right_by_hand(memory, held, found.beta, found.alpha) == found.right


def problem(seed: int = 0, C: int = 4, N: int = 13, M: int = 25, D: int = 6) -> tuple[Memory, Held]:
    rng = torch.Generator().manual_seed(seed)

    def rows(n: int) -> torch.Tensor:
        return unit_rows(torch.randn(n, D, generator=rng, dtype=torch.float64))

    root, key_class = gram_root(rows(20)), torch.cat([torch.arange(C), torch.randint(0, C, (N - C,), generator=rng)])
    memory = Memory(rows(C), root, unit_rows(rows(N) @ root.T), key_class, 5.0)
    return memory, Held(rows(M), torch.randint(0, C, (M,), generator=rng))


def right_by_hand(memory: Memory, held: Held, beta: float, alpha: float) -> int:
    """One row, one key at a time; with `rows`, the row's own key is taken out and its vote shared out."""
    right = 0
    for i, (x, own) in enumerate(zip(held.x.numpy(), held.labels.tolist(), strict=True)):
        z = memory.projection.numpy() @ x
        near = memory.keys.numpy() @ (z / np.linalg.norm(z))
        used = [k for k in range(len(near)) if held.rows is None or k != int(held.rows[i])]
        low, high = near[used].min(), near[used].max()
        logits = memory.scale * memory.weight.numpy() @ x
        votes = np.zeros(len(logits))
        for k in used:
            votes[memory.key_class[k]] += np.exp(-beta * (1 - (near[k] - low) / (high - low)))
        if held.rows is not None:
            count = int((memory.key_class == own).sum())
            votes[own] *= count / (count - 1)
        right += int((logits + alpha * votes).argmax() == own)
    return right


@pytest.mark.parametrize("seed", range(4))
def test_counting_intervals_is_evaluating_every_pair(seed: int) -> None:
    memory, held = problem(seed)
    betas, alphas = torch.tensor([0.1, 3.0, 40.0], dtype=torch.float64), torch.tensor([0.2, 1.0, 5.0, 30.0])
    expected = [[right_by_hand(memory, held, float(b), float(a)) for a in alphas] for b in betas]
    assert counts_on_grid(memory, held, betas, alphas).tolist() == expected


@pytest.mark.parametrize("seed", range(3))
def test_leaving_a_row_out_is_fitting_without_it(seed: int) -> None:
    memory, _ = problem(seed)
    rng = torch.Generator().manual_seed(seed)
    rows = (torch.bincount(memory.key_class)[memory.key_class] > 1).nonzero()[:, 0]
    held = Held(unit_rows(torch.randn(len(rows), 6, generator=rng).double()), memory.key_class[rows], rows)
    betas, alphas = torch.tensor([0.5, 20.0], dtype=torch.float64), torch.tensor([0.5, 4.0])
    expected = [[right_by_hand(memory, held, float(b), float(a)) for a in alphas] for b in betas]
    assert counts_on_grid(memory, held, betas, alphas).tolist() == expected


@pytest.mark.parametrize("seed", range(4))
def test_no_alpha_is_better_than_the_one_found(seed: int) -> None:
    memory, held = problem(seed)
    betas = torch.tensor([1.0, 10.0], dtype=torch.float64)
    found = exact_search(memory, held, betas, (0.1, 50.0), (10.0, 3.0))
    fine = torch.linspace(0.1, 50.0, 3000, dtype=torch.float64)
    assert found.right >= int(counts_on_grid(memory, held, betas, fine).max())
    assert right_by_hand(memory, held, found.beta, found.alpha) == found.right


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, held = problem()
    betas = torch.tensor([0.1, 3.0, 40.0], dtype=torch.float64)
    whole = exact_search(memory, held, betas, (0.1, 50.0), (10.0, 3.0))
    monkeypatch.setattr(coder_few_shot, "_BLOCK", 50)
    assert exact_search(memory, held, betas, (0.1, 50.0), (10.0, 3.0)) == pytest.approx(whole)


def test_equals_are_decided_by_what_is_preferred() -> None:
    """Two stretches of alpha are equally good: the nearer one is taken, and a point well inside it."""
    edges, correct = torch.tensor([0.1, 1.0, 2.0, 8.0, 64.0, 100.0]).double(), torch.tensor([3, 7, 5, 7, 2])
    for prefer, low, high in ((1.4, 1.0, 2.0), (0.5, 1.0, 2.0), (20.0, 8.0, 64.0), (5.0, 8.0, 64.0)):
        most, alpha = coder_few_shot._nearest(Steps(edges, correct), prefer)
        assert most == 7
        inside = (high / low) ** 0.1
        assert low * inside <= alpha * (1 + 1e-9)
        assert alpha <= high / inside * (1 + 1e-9)
        if low * inside < prefer < high / inside:
            assert alpha == pytest.approx(prefer)


def test_a_stretch_as_narrow_as_a_rounding_error_is_no_find() -> None:
    edges = torch.tensor([0.1, 1.0, 1.0 + 1e-9, 8.0, 100.0]).double()
    assert coder_few_shot._nearest(Steps(edges, torch.tensor([3, 9, 5, 2])), 3.0)[0] == 5
    dense = Steps(torch.tensor([1.0, 1.0 + 1e-9, 1.0 + 2e-9]).double(), torch.tensor([3, 9]))
    assert coder_few_shot._nearest(dense, 3.0)[0] == 9, "where nothing is wider"
