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
    "digits-print": (
        "c32a081a6fe2a60b19aed00c27c3951c04bd779eb23d07bb5306d09128d0c75f",
        "cd2bfb0e6c55e4a414efefe809d21fbfcab2448d23c102e0c9bc3fa62c017ca5",
    ),
    "letters": (
        "7458f8714ecfe2f8bd5b32c3b453e6ff08fdde00dbb14192c37c014c0563e6b2",
        "8a97a54fe47051d950dc19277d5e5d992dcba051ed588efb3bf1a3688f13bb0c",
    ),
    "shapes": (
        "fdb8e4bc115f88028669f9d54a616ab28baa48bbd0360247ce9196ec5ef72553",
        "fc077a508e22f4a0483f8db09c5875b53884cc167c7c45d324adf3fc7dab69bd",
    ),
    "shapes-sketch": (
        "f8a37d14d2784836de1a6948f9b8264476a092305772311a504c8dba9726cdee",
        "fc077a508e22f4a0483f8db09c5875b53884cc167c7c45d324adf3fc7dab69bd",
    ),
    "shapes-stipple": (
        "d22dc8725fccb233ffbd3d0364e6b6e57d7f4e4817b8cdfaa26c4389edc59a99",
        "fc077a508e22f4a0483f8db09c5875b53884cc167c7c45d324adf3fc7dab69bd",
    ),
    "shapes-colour": (
        "31e2b2f962dd9156ca53ad6f3de8023aa6e9b0b1c61cbba7d6941402ecb77f02",
        "e2db025f9a41e12d8086c50bc5a3e2116f35dcd4be238d64c7f4da0dc20e4705",
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
        assert counts.min() >= (60 if classes <= 14 else 40 if classes <= 26 else 10)
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


def test_nothing_is_drawn_before_it_is_asked_for() -> None:
    def pixels() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        calls.append(1)
        return np.zeros((1, 32, 32, 3), dtype=np.uint8)

    calls: list[int] = []
    labels = np.zeros(1, dtype=np.int64)
    data = datasets.EmbeddedData("x", ("a",), pixels, labels, ("train",), (), "", "", "")
    assert not calls
    assert data.images is data.images
    assert len(calls) == 1
    given = datasets.EmbeddedData("x", ("a",), pixels(), labels, ("train",), (), "", "", "")
    assert not given.images.flags.writeable
