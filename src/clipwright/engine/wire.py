"""Messages between this process and its workers: pickles over pipes, large arrays beside them without a copy.

Both ends are clipwright on the same machine, started by the same user; nothing pickled ever reaches a file.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

Buffer = bytes | bytearray | memoryview | pickle.PickleBuffer


def pack(value: Any) -> list[Buffer]:
    """The parts of a message that holds `value`: a pickle, then the memory of its arrays."""
    arrays: list[pickle.PickleBuffer] = []
    head = pickle.dumps(value, protocol=5, buffer_callback=arrays.append)
    return [head, *(array.raw() for array in arrays)]


def send(stream: IO[bytes], parts: Sequence[Buffer]) -> None:
    """Write one message and flush."""
    sizes = [memoryview(part).nbytes for part in parts]
    for part in (struct.pack(f"<{len(sizes) + 1}Q", len(sizes), *sizes), *parts):
        view = memoryview(part).cast("B")
        while view:  # an unbuffered stream may take less than all
            view = view[stream.write(view) :]
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read one message.

    Raises:
        EOFError: the other end is gone.
    """
    (count,) = struct.unpack("<Q", _exactly(stream, 8))
    sizes = struct.unpack(f"<{count}Q", _exactly(stream, 8 * count))
    head, *arrays = [_exactly(stream, size) for size in sizes]
    return pickle.loads(head, buffers=arrays)  # noqa: S301 - sent by our own process over a private pipe


def _exactly(stream: IO[bytes], size: int) -> memoryview:
    data = memoryview(np.empty(size, np.uint8))  # type: ignore[arg-type] # an array is a buffer; bytearray zeroes first
    view = data
    while view:
        count = stream.readinto(view)  # type: ignore[attr-defined] # every binary stream has it
        if not count:
            raise EOFError("the other end closed the pipe")
        view = view[count:]
    return data
