"""The fit in turns against the published code's arrays and against plain float64 arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.methods.whurs19 import close, load_golden

from clipwright.core.neighbours import neighbour_graph
from clipwright.methods.transductive_fit import (
    Gaussians,
    affinities,
    assign,
    confident_shares,
    gaussians,
    moments,
    text_anchor,
    transduce,
)

Arrays = dict[str, torch.Tensor]
TIGHT = 1e-9


@pytest.fixture
def arrays(golden: Path) -> Arrays:
    return load_golden(golden / "transclip.npz", torch.float64)


def published(arrays: Arrays) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries, logits of the texts, and the symmetric graph."""
    x = arrays["query"]
    return x, 100 * x @ arrays["text_DxC"], affinities(x, x[:0], torch.zeros(0, 8, dtype=torch.float64), 3)[0]


def test_golden_graph(arrays: Arrays) -> None:
    rows, columns = arrays["knn_rows_cols"]
    expected = torch.zeros(96, 96, dtype=torch.float64)
    expected[rows, columns] = arrays["knn_values"]
    close(neighbour_graph(arrays["query"], 3).to_dense(), expected, TIGHT)


def test_golden_start_and_first_round(arrays: Arrays) -> None:
    x, text, graph = published(arrays)
    start = gaussians(moments(x, confident_shares(text, 8)))
    close(start.means, arrays["mu_init"], TIGHT)
    first = Gaussians(start.means, torch.full((48,), 1 / 48, dtype=torch.float64))
    rows = (first.scores(x) - (x.square() / first.variance).sum(1, keepdim=True) / 2).double()
    close(rows, arrays["loglik_init"], TIGHT)
    shares = assign(text + first.scores(x) / 50, text.softmax(1), graph)[1]
    close(shares, arrays["z_after_first_update"], TIGHT)
    second = gaussians(moments(x, shares))
    close(second.means, arrays["mu_after_first_update"], TIGHT)
    close(second.variance, arrays["std_after_first_update"], TIGHT)


def test_golden_zero_shot_run(arrays: Arrays) -> None:
    x, text, graph = published(arrays)
    logits, _, common = transduce(x, text, confident_shares(text, 8), graph)
    close(logits.softmax(1), arrays["z_final_zeroshot"], TIGHT)
    assert not common.any()
    right = (logits.argmax(1) == arrays["query_labels"]).double().mean()
    assert 100 * float(right) == pytest.approx(float(arrays["transclip_acc"]))


def test_golden_few_shot_run(arrays: Arrays) -> None:
    """The released run: labelled rows weigh 50 gamma |Q| / |S| each, and its graph mixes up two orders of rows.

    It is that of labelled rows and queries (in this order) with their nearest queries, the nearest one left out, but
    is multiplied with shares of queries and labelled rows (in that order).
    """
    x, text, _ = published(arrays)
    known, one_hot = arrays["fs_support"], torch.eye(8, dtype=torch.float64)[arrays["fs_support_labels"]]
    similar = torch.cat([known, x]) @ x.T
    values, index = similar.topk(4, 1)
    graph = torch.zeros(128, 128, dtype=torch.float64).scatter_(1, index[:, 1:], values[:, 1:]) / 6
    pull = graph[96:, :96].T @ one_hot
    mixed = (graph + graph.T)[:96, :96].to_sparse()
    shares = text.softmax(1)
    found = Gaussians(gaussians(moments(known, one_hot)).means, torch.full((48,), 1 / 48, dtype=torch.float64))
    for gamma in arrays["fs_gammas"].tolist():
        fixed = moments(known, one_hot, 50 * gamma * 96 / 32)
        for _ in range(10):
            shares = assign(text / 2 + found.scores(x) / 50, shares, mixed, pull)[1]
            found = gaussians(moments(x, shares) + fixed)
        shares = assign(text / 2 + found.scores(x) / 50, shares, mixed, pull)[1]
    close(shares, arrays["fs_z_final_last_gamma"], TIGHT)


# ---- against plain arithmetic -----------------------------------------------------------------------------------


def case(n: int = 40, classes: int = 4, dim: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit images around unit texts, and their classes."""
    rng = np.random.default_rng(seed)
    text = rng.standard_normal((classes, dim))
    y = rng.integers(0, classes, n)
    x = text[y] + 1.0 * rng.standard_normal((n, dim)) + 1.5  # a gap between images and texts
    return x / np.linalg.norm(x, axis=1)[:, None], text / np.linalg.norm(text, axis=1)[:, None], y


def softmax(a: np.ndarray) -> np.ndarray:
    e = np.exp(a - a.max(1, keepdims=True))
    return np.asarray(e / e.sum(1, keepdims=True))


def reference(
    x: np.ndarray, prior: np.ndarray, anchor: np.ndarray, strength: float, known: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Shares after three rounds with labelled rows of weight 2, T = 7, k = 2 and a class prior of 0.4."""
    n, classes = prior.shape
    both = np.vstack([x, known])
    similar = both @ both.T
    np.fill_diagonal(similar, -2)
    graph = np.zeros_like(similar)
    for i, near in enumerate(np.argsort(-similar, 1)[:, :2]):
        graph[i, near] = np.maximum(similar[i, near], 0)
    one_hot, weights = np.eye(classes)[y], np.r_[np.ones(n), np.full(len(y), 2.0)]

    def means(z: np.ndarray) -> np.ndarray:
        m = np.vstack([z, one_hot]).T @ (weights[:, None] * both) + strength * anchor
        return np.asarray(m / np.linalg.norm(m, axis=1)[:, None])

    z = softmax(prior)
    m, v, common = means(z), np.full(x.shape[1], 1 / x.shape[1]), np.zeros(classes)
    for round_ in range(4):
        density = -((x[:, None] - m) ** 2 / v).sum(2) / 2
        for _ in range(5):
            votes = (graph + graph.T)[:n] @ np.vstack([z, one_hot]) / 4
            z = softmax(prior + density / 7 + common + votes)
        if round_ < 3:
            shares, m = np.vstack([z, one_hot]) * weights[:, None], means(z)
            v = np.einsum("ic,icd->d", shares, (both[:, None] - m) ** 2) / weights.sum()
            common = 0.4 * np.log((shares.sum(0) + 1) / (weights.sum() + classes))
    return z


@given(st.integers(3, 30), st.integers(1, 5), st.integers(2, 8), st.integers(0, 999))
@settings(max_examples=30, deadline=None)
def test_the_fit_is_that_of_plain_arithmetic(n: int, classes: int, dim: int, seed: int) -> None:
    x, text, _ = case(n, classes, dim, seed)
    known, _, _ = case(classes, classes, dim, seed + 1)
    y = np.arange(classes)
    prior = 5 * x @ text.T
    images, labelled, one_hot = torch.from_numpy(x), torch.from_numpy(known), torch.eye(classes, dtype=torch.float64)
    graph, pull = affinities(images, labelled, one_hot, 2)
    logits = transduce(
        images,
        torch.from_numpy(prior),
        torch.from_numpy(softmax(prior)),
        graph,
        pull=pull,
        labelled=moments(labelled, one_hot, 2.0),
        anchor=torch.from_numpy(text),
        strength=1.5,
        temperature=7.0,
        class_prior=0.4,
        rounds=3,
    )[0]
    np.testing.assert_allclose(logits.softmax(1), reference(x, prior, text, 1.5, known, y), atol=1e-8)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, text, _ = case()
    images, shares = torch.from_numpy(x), torch.from_numpy(softmax(x @ text.T))
    whole = moments(images, shares, 2.0)
    monkeypatch.setattr("clipwright.methods.transductive_fit._BLOCK", 7)
    parts = moments(images, shares, 2.0)
    for name in ("counts", "sums", "squares"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), rtol=1e-12, atol=1e-12)


def test_confidence_orders_images_whose_shares_are_rounded_to_one() -> None:
    logits = torch.tensor([[100.0, 0, 0], [200.0, 0, 0], [150.0, 0, 0], [0, 60, 0], [0, 0, 70]], dtype=torch.float64)
    kept = confident_shares(logits, 2)[:, 0] > 0.5
    assert kept.tolist() == [False, True, True, False, False]
    assert torch.equal(confident_shares(logits, 0), logits.softmax(1))


def test_the_anchor_lies_between_the_text_and_the_images() -> None:
    """Images that are the texts, moved and shrunk: before it is halved with the text, the guess of a mean is right."""
    _, text, _ = case(classes=5, dim=9)
    shift = np.full(9, 3.0)
    x = np.repeat(shift + 0.4 * (text - text.mean(0)), 4, axis=0)
    shares = np.repeat(np.eye(5), 4, axis=0)
    found = text_anchor(torch.from_numpy(x), torch.from_numpy(shares), torch.from_numpy(text)).numpy()
    moved = x[::4] / np.linalg.norm(x[::4], axis=1)[:, None]
    expected = text + moved
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=1)[:, None], atol=1e-12)


def test_images_that_are_all_the_same_have_a_variance() -> None:
    x = torch.ones(5, 4, dtype=torch.float64) / 2
    found = gaussians(moments(x, torch.full((5, 2), 0.5, dtype=torch.float64)))
    assert bool((found.variance > 0).all())
    assert bool(torch.isfinite(found.scores(x)).all())
