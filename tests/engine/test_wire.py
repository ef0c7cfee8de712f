"""Messages over pipes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipwright.backbones.preprocess import Preprocess
from clipwright.data import EmbeddedReader, FileReader, UnreadableImageError
from clipwright.engine import wire
from clipwright.features.decode import Decoder

_VALUES = st.recursive(
    st.none() | st.integers() | st.text() | st.binary(), lambda inner: st.lists(inner) | st.tuples(inner, inner)
)


@given(st.lists(_VALUES, max_size=3))
def test_messages_arrive_as_they_were_sent(values: list[object]) -> None:
    stream = io.BytesIO()
    for value in values:
        wire.send(stream, wire.pack(value))
    stream.seek(0)
    assert [wire.receive(stream) for _ in values] == values
    with pytest.raises(EOFError):
        wire.receive(stream)


@given(st.integers(0, 200))
def test_a_torn_message_is_an_end_of_file(cut: int) -> None:
    stream = io.BytesIO()
    wire.send(stream, wire.pack({"a": np.arange(100)}))
    data = stream.getvalue()
    with pytest.raises(EOFError):
        wire.receive(io.BytesIO(data[: len(data) - 1 - cut]))


def test_arrays_travel_beside_the_text() -> None:
    array = np.zeros((1000, 3), np.uint8)
    parts = wire.pack([array, "x"])
    assert [memoryview(p).nbytes for p in parts[1:]] == [3000]
    assert len(parts[0]) < 500


def test_a_decoder_and_its_reader_travel(tmp_path: Path) -> None:
    decoder = Decoder(FileReader(tmp_path, 10), Preprocess((4, 5), (0.1, 0.2, 0.3), (1.0, 1.0, 1.0)), 2, "flip", 7)
    assert wire.unpack(wire.pack(decoder)) == decoder
    assert wire.unpack(wire.pack(EmbeddedReader("digits"))) == EmbeddedReader("digits")


def test_errors_travel_as_what_they_are_or_say_what_they_were() -> None:
    found = wire.unpack(wire.pack(UnreadableImageError("it is cut")))
    assert type(found) is UnreadableImageError
    assert str(found) == "it is cut"
    odd = wire.unpack(wire.pack(UnicodeDecodeError("utf-8", b"x", 0, 1, "bad")))
    assert type(odd) is RuntimeError
    assert "UnicodeDecodeError" in str(odd)


@pytest.mark.parametrize("value", [lambda x: x, object(), {1: 2}, np.array([object()]), {"\x00kind": "name"}])
def test_what_cannot_travel_is_refused(value: object) -> None:
    with pytest.raises(wire.WireError):
        wire.pack(value)
