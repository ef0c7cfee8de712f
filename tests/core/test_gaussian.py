"""Gaussian statistics, precision and leave-one-out against refits written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clipwright.core.errors import DataError
from clipwright.core.gaussian import (
    ClassStatistics,
    LeaveOneOut,
    class_statistics,
    linear_discriminant,
    shrunk_covariance,
)


def sample(
    rng: np.random.Generator, classes: int, images: int, views: int, dim: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y = np.concatenate([np.arange(classes), np.arange(classes), rng.integers(0, classes, images - 2 * classes)])
    x = rng.normal(size=(classes, dim))[y] + rng.normal(size=(images, dim))
    return x, x[:, None] + 0.3 * rng.normal(size=(images, views, dim)), y


def refit(rows: np.ndarray, y: np.ndarray, probe: np.ndarray) -> np.ndarray:
    """Discriminants from plain rows: Mahalanobis distances by an explicit inverse, halved, negative."""
    means = np.stack([rows[y == c].mean(0) for c in range(y.max() + 1)])
    centred = rows - means[y]
    covariance = centred.T @ centred / (len(rows) - 1)
    covariance = covariance + np.trace(covariance) / (len(rows) - 1) * np.eye(rows.shape[1])
    gaps = probe[:, None] - means
    return np.asarray(-np.einsum("mcd,de,mce->mc", gaps, np.linalg.inv(covariance), gaps) / 2)


def comparable(logits: np.ndarray) -> np.ndarray:
    """Without what is common to all classes."""
    return np.asarray(logits - logits.mean(1, keepdims=True))


def stacked(rows: np.ndarray, y: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(rows.reshape(-1, rows.shape[-1])), torch.from_numpy(y).repeat_interleave(rows.shape[1])


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_statistics_do_not_depend_on_the_blocks(rng: np.random.Generator, block: int) -> None:
    _, rows, y = sample(rng, 4, 30, 2, 6)
    flat, labels = stacked(rows, y)
    found = class_statistics(zip(flat.split(block), labels.split(block), strict=True), 4)  # type: ignore[no-untyped-call] # torch leaves it untyped
    centred = flat - found.means[labels]
    torch.testing.assert_close(found.within(), centred.T @ centred, rtol=0, atol=1e-11)
    around = flat - flat.mean(0)
    torch.testing.assert_close(found.total(), around.T @ around, rtol=0, atol=1e-11)
    assert found.rows == 60
    assert found.counts.tolist() == torch.bincount(labels).tolist()


def test_half_precision_rows_are_summed_in_double(rng: np.random.Generator) -> None:
    x = torch.from_numpy(rng.normal(size=(5000, 3))).half()
    found = class_statistics([(x, torch.zeros(5000, dtype=torch.int64))], 1)
    torch.testing.assert_close(found.gram, x.double().T @ x.double(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_outside_the_classes_are_refused(label: int) -> None:
    with pytest.raises(DataError, match=r"labels must lie in 0\.\.2"):
        class_statistics([(torch.ones(1, 2), torch.tensor([label]))], 3)


def test_no_rows_are_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        class_statistics([], 3)


def test_discriminant_is_the_gaussian_log_posterior(rng: np.random.Generator) -> None:
    x, rows, y = sample(rng, 5, 40, 1, 8)
    statistics = class_statistics([stacked(rows, y)], 5)
    weight, bias = linear_discriminant(statistics.means, shrunk_covariance(statistics.within(), 40))
    found = torch.from_numpy(x) @ weight.T + bias
    np.testing.assert_allclose(comparable(found.numpy()), comparable(refit(rows[:, 0], y, x)), rtol=0, atol=1e-10)


def test_a_singular_covariance_is_refused() -> None:
    with pytest.raises(DataError, match="singular"):
        linear_discriminant(torch.ones(2, 3), torch.zeros(3, 3))


@pytest.mark.parametrize(("images", "views", "dim"), [(12, 1, 5), (12, 1, 40), (15, 3, 6), (15, 3, 60)])
def test_leaving_an_image_out_equals_refitting_without_it(
    rng: np.random.Generator, images: int, views: int, dim: int
) -> None:
    x, rows, y = sample(rng, 4, images, views, dim)
    statistics: ClassStatistics = class_statistics([stacked(rows, y)], 4)
    found = LeaveOneOut(statistics)(torch.from_numpy(x), torch.from_numpy(rows), torch.from_numpy(y)).numpy()
    for i in range(images):
        kept = np.arange(images) != i
        expected = refit(rows[kept].reshape(-1, dim), np.repeat(y[kept], views), x[[i]])
        np.testing.assert_allclose(comparable(found[[i]]), comparable(expected), rtol=0, atol=1e-8)
