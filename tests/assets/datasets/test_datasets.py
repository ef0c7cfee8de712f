import hashlib
from typing import Any

import numpy as np
import pytest

from clipwright.assets import datasets
from clipwright.assets.datasets import digits
from clipwright.core.errors import DataError

PINS = {
    "digits": (
        "c40140a11a55b3980e29b622d6acd078adb22f7ce51efdad366f402f170e509b",
        "a3c91c262eddcf7ba8f0e37507c30284493c9b20412ffe4af30d536401f7ba21",
    ),
    "shapes": (
        "fdb8e4bc115f88028669f9d54a616ab28baa48bbd0360247ce9196ec5ef72553",
        "fc077a508e22f4a0483f8db09c5875b53884cc167c7c45d324adf3fc7dab69bd",
    ),
}


def _sha(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


@pytest.mark.parametrize("name", datasets.names())
def test_bytes_are_pinned(name: str) -> None:
    data = datasets.load(name)
    assert (_sha(data.images), _sha(data.labels)) == PINS[name]


@pytest.mark.parametrize("name", datasets.names())
def test_form(name: str) -> None:
    data = datasets.load(name)
    n, classes = len(data.labels), len(data.class_names)
    assert data.name == name
    assert data.images.shape == (n, 32, 32, 3)
    assert data.images.dtype == np.uint8
    assert data.labels.dtype == np.int64
    assert len(data.split) == n
    assert set(data.split) == {"train", "test"}
    assert all(template.count("{}") == 1 for template in data.templates)
    assert data.description
    assert data.source
    assert data.licence
    for split in ("train", "test"):
        counts = np.bincount(data.labels[data.rows(split)], minlength=classes)
        assert counts.min() >= 60
        assert np.ptp(counts) <= 6
    assert len(np.unique(data.images.reshape(n, -1), axis=0)) == n


def test_images_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValueError, match="read-only"):
        datasets.load("shapes").images[0] = 0


def test_unknown_name_says_what_there_is() -> None:
    with pytest.raises(DataError, match="digits, shapes"):
        datasets.load("birds")


def test_split_rule_alternates_within_a_class() -> None:
    labels = np.array([3, 3, 1, 3, 1, 3, 7])
    assert digits.is_test(labels).tolist() == [False, True, False, False, True, True, False]


def test_enlarging_keeps_flat_ink_and_cell_centres() -> None:
    image = np.zeros((1, 8, 8), dtype=np.int64)
    image[0, 2:6, 2:6] = 16
    large = digits.enlarge(image)[0]
    assert large.shape == (32, 32, 3)
    assert (large[4 + 9 : 4 + 15, 4 + 9 : 4 + 15] >= 250).all()
    assert (large[:4] == 0).all()
    assert (large[..., 0] == large[..., 2]).all()
    ramp = np.arange(64, dtype=np.int64).reshape(1, 8, 8) % 17
    centres = digits.enlarge(ramp)[0, 5:28:3, 5:28:3, 0]
    assert np.abs(centres - np.round(ramp[0] * 255 / 16)).max() <= 1
