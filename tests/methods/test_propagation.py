"""The graph and the linear system against dense float64 solutions; the projection against its definition."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clipwright.heads.neighbours import text_links
from clipwright.methods.propagation import build_graph, project, propagate, shared_removed


def unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


def dense(x: np.ndarray, links: np.ndarray, k: int, power: float, text_weight: float) -> np.ndarray:
    """(C + n, C + n) scaled weights, texts first."""
    n, classes = links.shape
    similar = x @ x.T
    np.fill_diagonal(similar, -2)
    images = np.zeros((n, n))
    for i, order in enumerate(np.argsort(-similar, 1)[:, :k]):
        near = order[similar[i, order] > -2]
        images[i, near] = np.maximum(similar[i, near], 0) ** power
    whole = np.zeros((classes + n, classes + n))
    whole[classes:, classes:] = images + images.T
    whole[classes:, :classes] = text_weight * links
    whole[:classes, classes:] = text_weight * links.T
    roots = np.sqrt(np.maximum(whole.sum(1), 1e-150))
    return np.asarray(whole / roots[:, None] / roots)


@given(
    st.integers(1, 25), st.integers(1, 5), st.integers(1, 5), st.sampled_from([0.0, 0.5, 0.9, 0.99]), st.integers(0, 99)
)
@settings(max_examples=40, deadline=None)
def test_propagation_is_the_dense_solution(n: int, classes: int, k: int, alpha: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, text = unit(rng.standard_normal((n, 6)) + 1), unit(rng.standard_normal((classes, 6)))
    links = text_links(torch.from_numpy(10 * x @ text.T), 2)
    whole = dense(x, links.numpy(), k, 2.0, 0.7)
    expected = np.linalg.inv(np.eye(classes + n) - alpha * whole)[:, :classes]
    images, texts = propagate(build_graph(torch.from_numpy(x), links, k, 2.0, 0.7), alpha, 1e-12)
    np.testing.assert_allclose(images.numpy(), expected[classes:], atol=1e-8)
    np.testing.assert_allclose(texts.numpy(), expected[:classes], atol=1e-8)


def test_the_say_of_a_class_is_a_sum_over_paths() -> None:
    rng = np.random.default_rng(0)
    x, text = unit(rng.standard_normal((12, 5)) + 1), unit(rng.standard_normal((3, 5)))
    links = text_links(torch.from_numpy(10 * x @ text.T), 3)
    whole = dense(x, links.numpy(), 3, 1.0, 1.0)
    step, total = np.eye(15), np.eye(15)
    for _ in range(200):
        step = 0.6 * step @ whole
        total = total + step
    images, _ = propagate(build_graph(torch.from_numpy(x), links, 3, 1.0, 1.0), 0.6, 1e-12)
    np.testing.assert_allclose(images.numpy(), total[3:, :3], atol=1e-10)


def test_what_texts_share_is_removed() -> None:
    rng = np.random.default_rng(1)
    shared = unit(rng.standard_normal(10))
    apart = rng.standard_normal((4, 10))
    apart -= np.outer(apart @ shared, shared)  # what differs has no part along what is shared
    apart -= apart.mean(0)  # and doesn't favour a direction
    text = unit(5 * shared + unit(apart))
    basis = shared_removed(torch.from_numpy(text)).numpy()
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-10)
    first = np.linalg.svd(text)[2][0]
    np.testing.assert_allclose(basis.T @ first, 0, atol=1e-10)
    assert abs(first @ shared) > 0.999
    images, texts = project(torch.from_numpy(unit(rng.standard_normal((6, 10)))), torch.from_numpy(text))
    np.testing.assert_allclose(np.linalg.norm(images.numpy(), axis=1), 1, atol=1e-10)
    lengths = np.linalg.norm(texts.numpy(), axis=1)
    np.testing.assert_allclose(lengths, np.sqrt(((text @ basis) ** 2).sum(1).mean()), atol=1e-10)


def test_a_single_text_leaves_everything() -> None:
    text = torch.nn.functional.normalize(torch.randn(1, 4, dtype=torch.float64), dim=1)
    assert torch.equal(shared_removed(text), torch.eye(4, dtype=torch.float64))
    assert shared_removed(text.repeat(3, 1)).shape == (4, 4)
