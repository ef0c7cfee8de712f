"""The data sets inside the package are ordinary data sets."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from clipwright.core.errors import DataError
from clipwright.data import UnreadableImageError, datasets, open_data
from clipwright.engine import wire


def test_listing() -> None:
    found = {info.name: info for info in datasets()}
    assert {"digits", "digits-print", "letters", "shapes", "shapes-sketch", "shapes-stipple"} <= found.keys()
    assert found["digits"].classes == 10
    assert found["digits"].images == len(open_data("digits"))
    assert found["shapes-colour"].classes == 168
    assert all(info.train + info.test == info.images for info in found.values())
    assert all(info.source and info.licence and info.description for info in found.values())


@pytest.mark.parametrize("name", ["digits", "shapes", "letters"])
def test_every_row_is_an_image_with_a_label(name: str) -> None:
    data = open_data(name)
    assert data.name == name
    assert (data.labels >= 0).all()
    assert (data.counts("train") > 0).all()
    assert (data.counts("test") > 0).all()
    assert all(template.count("{}") == 1 for template in data.templates)
    assert data.notes == ()
    reader = wire.unpack(wire.pack(data.reader))
    decoded = reader.read(data.table["source"][3].as_py())
    assert decoded.image.mode == "RGB"
    assert decoded.content == hashlib.sha256(np.asarray(decoded.image).tobytes()).hexdigest()
    assert data.digest == open_data(name).digest


def test_classes_rename_in_index_order() -> None:
    names = tuple("abcdefghij")
    data = open_data("digits", names, name="mine")
    assert (data.class_names, data.name) == (names, "mine")
    with pytest.raises(DataError, match="2 names but the data has 10 classes"):
        open_data("digits", ["a", "b"])


@pytest.mark.parametrize("source", ["99999", "x", ""])
def test_a_row_that_is_not_there_is_unreadable(source: str) -> None:
    reader = open_data("digits").reader
    assert reader is not None
    with pytest.raises(UnreadableImageError, match="has no image"):
        reader.read(source)
