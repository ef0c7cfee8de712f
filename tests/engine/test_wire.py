"""Messages over pipes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipwright.engine import wire

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


def test_arrays_travel_beside_the_pickle() -> None:
    array = np.zeros((1000, 3), np.uint8)
    parts = wire.pack([array, "x"])
    assert [memoryview(p).nbytes for p in parts[1:]] == [3000]
    assert len(parts[0]) < 500  # type: ignore[arg-type]
