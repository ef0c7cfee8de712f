from __future__ import annotations

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipwright.core.payload import JSON, NPZ, PayloadError, numbers, pack, unpack


@pytest.mark.parametrize("kind", [JSON, NPZ])
def test_there_and_back(kind: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    found = unpack(pack({"x": x, "names": ["a", "über"], "words": "a b", "k": 3}, kind), kind)
    np.testing.assert_array_equal(numbers(found["x"], np.float32, 2), x)  # exact in JSON too
    assert (found["names"], found["words"], found["k"]) == (["a", "über"], "a b", 3)


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"\xff\xfe", b"[" * 200_000, b'{"a": ' * 100_000])
def test_bodies_that_are_no_json_object(body: bytes) -> None:
    with pytest.raises(PayloadError, match=r"is (no )?JSON"):
        unpack(body, JSON)


def test_pickles_are_never_read() -> None:
    stream = io.BytesIO()
    np.savez(stream, x=np.array([{"a": 1}], dtype=object))
    for body in (stream.getvalue(), pickle.dumps({"x": 1}), b"", b"PK\x03\x04"):
        with pytest.raises(PayloadError, match="is no npz without pickles"):
            unpack(body, NPZ)


def test_a_body_that_blows_up_is_refused_unread() -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, x=np.zeros(1 << 22, np.uint8))
    assert len(stream.getvalue()) < 10_000
    with pytest.raises(PayloadError, match="more than 1,000,000 bytes once unpacked"):
        unpack(stream.getvalue(), NPZ, most=1_000_000)
    assert unpack(stream.getvalue(), NPZ, most=1 << 23)["x"].shape == (1 << 22,)


def test_too_many_arrays_and_other_members() -> None:
    with pytest.raises(PayloadError, match="more than 64 arrays"):
        unpack(pack({str(i): np.zeros(1) for i in range(65)}), NPZ)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("x.txt", "not an array")
    with pytest.raises(PayloadError, match=r"holds x\.txt, which is neither numbers nor text"):
        unpack(stream.getvalue(), NPZ)


def test_other_types() -> None:
    with pytest.raises(PayloadError, match="must be application/json or application/x-npz"):
        unpack(b"{}", "text/plain")
    with pytest.raises(PayloadError, match="neither numbers nor text"):
        unpack(pack({"x": np.array([b"bytes"])}), NPZ)


@pytest.mark.parametrize("value", [None, "x", {}, [[1], [1, 2]], [["a"]], [[None]], [[1j]], [1.0], [[[1]]]])
def test_what_is_no_matrix(value: object) -> None:
    with pytest.raises(PayloadError, match="must be numbers in 2 dimensions"):
        numbers(value, np.float32, 2)


def test_integers_must_fit() -> None:
    assert numbers([[0, 255]], np.uint8, 2).dtype == np.uint8
    for wrong in ([[256]], [[-1]], [[0.5]], [[float("nan")]]):
        with pytest.raises(PayloadError, match="must be whole numbers that uint8 holds"):
            numbers(wrong, np.uint8, 2)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for kind in (JSON, NPZ):
        try:
            found = unpack(body, kind)
        except PayloadError:
            continue
        assert isinstance(found, dict)


def test_nan_travels_in_json_and_is_left_to_the_reader() -> None:
    assert np.isnan(unpack(json.dumps({"x": [float("nan")]}).encode(), JSON)["x"]).all()
