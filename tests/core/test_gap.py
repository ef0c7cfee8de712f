"""The gap between generated and real images, against references of a few lines."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from sklearn.metrics import roc_auc_score

from clipwright.core.errors import DataError
from clipwright.core.gap import Gap, frechet_distance, gap, separability, unit


def reference(a: np.ndarray, b: np.ndarray) -> float:
    """The formula as it is written, with a square root of a matrix."""
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(s @ t)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t - 2 * np.real(root)))


@pytest.mark.parametrize(("n", "m", "d"), [(60, 80, 5), (200, 9, 7), (300, 300, 20)])
def test_frechet_distance_is_the_formula(rng: np.random.Generator, n: int, m: int, d: int) -> None:
    a = rng.normal(size=(n, d)) @ rng.normal(size=(d, d))
    b = rng.normal(size=(m, d)) @ rng.normal(size=(d, d)) + 0.5
    assert frechet_distance(a, b) == pytest.approx(reference(a, b), rel=1e-8)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-10)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + 3) == pytest.approx(9 * d, rel=1e-9)


def test_frechet_distance_with_fewer_images_than_dimensions(rng: np.random.Generator) -> None:
    """Covariances of rank 1 and 2, whose product's square root scipy can't be trusted with; known in closed form."""
    d = 64
    u, v = np.linalg.qr(rng.normal(size=(d, 2)))[0].T
    a = np.stack([u, -u]) * 2  # covariance 8 u u'
    w = np.cos(0.3) * u + np.sin(0.3) * v
    b = np.stack([w, -w]) * 3  # covariance 18 w w'
    assert frechet_distance(a, b) == pytest.approx(8 + 18 - 2 * 12 * np.cos(0.3), rel=1e-12)
    few = rng.normal(size=(10, d))
    assert frechet_distance(few, few + 0.0) == pytest.approx(0, abs=1e-12)
    small = 1e-6 * rng.normal(size=(200, 512))
    assert 0 <= frechet_distance(small[:100], small[100:]) < 1e-8
    same = np.ones((5, d))
    assert frechet_distance(same, same) == 0


def test_separability_is_chance_for_one_source_and_one_for_two(rng: np.random.Generator) -> None:
    x = rng.normal(size=(400, 8))
    assert separability(x[:200], x[200:]) == pytest.approx(0.5, abs=0.08)
    shifted = x[200:] + np.array([3.0, *[0.0] * 7])
    expected = roc_auc_score(np.repeat([0, 1], 200), np.concatenate([x[:200, 0], shifted[:, 0]]))
    assert separability(x[:200], shifted) == pytest.approx(expected, abs=0.02)
    assert separability(x[:200], shifted) == separability(x[:200], shifted)
    assert separability(x[:200], shifted[:30]) == pytest.approx(expected, abs=0.03)  # few real images
    # More dimensions than images: what is told apart only on the images fitted on doesn't count.
    noise = rng.normal(size=(60, 500))
    assert separability(noise[:30], noise[30:]) == pytest.approx(0.5, abs=0.25)
    assert separability(x[:1], x[1:9]) is None
    constant = np.ones((10, 4))
    assert separability(constant, constant) == pytest.approx(0.5)


def test_the_gap_has_its_own_yardstick_and_warns_only_beyond_it(rng: np.random.Generator) -> None:
    real = rng.normal(size=(300, 16)) + 2
    same = rng.normal(size=(200, 16)) + 2
    other = rng.normal(size=(200, 16)) - 2
    close = gap(same, real)
    assert close.warning is None
    assert close.ratio == pytest.approx(1, abs=0.6)
    far = gap(other, real)
    assert far.auc == pytest.approx(1, abs=1e-3)
    assert far.warning is not None
    assert "look unlike the real ones" in far.warning
    assert f"{far.ratio:.1f} times" in far.warning
    u, v = unit(other), unit(real)
    assert far.frechet == pytest.approx(reference(u, v), rel=1e-6)
    assert (far.generated, far.real) == (200, 300)
    assert far.as_json()["warning"] == far.warning
    assert gap(other, real) == far


def test_classes_are_compared_where_labels_are_known(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(60, 6)), rng.normal(size=(40, 6))
    xl, yl = np.repeat([0, 1, 2], 20), np.repeat([0, 1, -1, 2], [10, 10, 19, 1])
    found = gap(x, y, generated_labels=xl, real_labels=yl, class_names=("a", "b", "c"))
    assert found.by_class["a"] == pytest.approx(reference(unit(x)[:20], unit(y)[:10]), rel=1e-6)
    assert found.by_class["c"] is None
    assert gap(x, y, generated_labels=xl, real_labels=[-1] * 40, class_names=("a", "b", "c")).by_class == {}
    assert gap(x, y, class_names=("a",)).by_class == {}


def test_few_images_give_what_can_be_said(rng: np.random.Generator) -> None:
    found = gap(rng.normal(size=(5, 4)), rng.normal(size=(3, 4)) + 9)
    assert (found.frechet_matched, found.frechet_real, found.ratio) == (None, None, None)
    assert Gap(5, 3, 0.95, 1.0, None, None).warning is not None
    assert Gap(5, 3, None, 1.0, None, None).warning is None


def test_what_can_not_be_compared_is_refused() -> None:
    with pytest.raises(DataError, match="different widths"):
        frechet_distance(np.zeros((3, 2)), np.zeros((3, 4)))
    with pytest.raises(DataError, match="at least two"):
        frechet_distance(np.zeros((1, 2)), np.zeros((3, 2)))
    with pytest.raises(DataError, match="finite"):
        gap(np.full((3, 2), np.nan), np.zeros((3, 2)))
