"""Messages between this process and its workers: JSON over pipes, bytes and arrays beside it without a copy.

What can travel: plain values, tuples, paths, bytes, arrays, functions and dataclasses (both by the name under which
they can be imported), and errors. Nothing is pickled; a message can name code, never carry it.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np

Buffer = bytes | bytearray | memoryview
_KIND = "\x00kind"  # marks what JSON has no word for; no key of ours begins so


class WireError(TypeError):
    """A value that can't travel."""


def pack(value: Any) -> list[Buffer]:
    """The parts of a message that holds `value`: JSON, then the memory of its bytes and arrays.

    Raises:
        WireError: something in it can't travel.
    """
    buffers: list[Buffer] = []
    head = json.dumps(_encoded(value, buffers)).encode()
    return [head, *buffers]


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
    head, *buffers = [_exactly(stream, size) for size in sizes]
    return unpack([head, *buffers])


def unpack(parts: Sequence[Buffer]) -> Any:
    """The value that `pack` packed."""
    return _decoded(json.loads(bytes(parts[0])), parts[1:])


def _encoded(value: Any, buffers: list[Buffer]) -> Any:  # noqa: C901, PLR0911 - one return per kind of value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [_encoded(item, buffers) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) and key != _KIND for key in value):
        return {key: _encoded(item, buffers) for key, item in value.items()}
    if isinstance(value, bytes):
        buffers.append(value)
        return {_KIND: "bytes", "at": len(buffers) - 1}
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        buffers.append(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)
        return {_KIND: "array", "at": len(buffers) - 1, "dtype": value.dtype.str, "shape": list(value.shape)}
    if isinstance(value, Path):
        return {_KIND: "path", "path": str(value)}
    if isinstance(value, tuple) and type(value) is tuple:
        return {_KIND: "tuple", "items": [_encoded(item, buffers) for item in value]}
    if isinstance(value, BaseException):
        return {_KIND: "error", "type": _name(type(value)), "text": str(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _encoded(getattr(value, f.name), buffers) for f in dataclasses.fields(value) if f.init}
        return {_KIND: "dataclass", "type": _name(type(value)), "fields": fields}
    if callable(value):
        return {_KIND: "name", "name": _name(value)}
    raise WireError(f"a {type(value).__name__} can't be sent to another process")


def _name(value: Any) -> str:
    """``module:qualified.name``, checked to lead back to `value`."""
    name = f"{getattr(value, '__module__', None)}:{getattr(value, '__qualname__', None)}"
    try:
        found = _imported(name)
    except (ImportError, AttributeError, ValueError):
        found = None
    if found is not value:
        raise WireError(f"{value!r} can't be imported under its name")
    return name


def _imported(name: str) -> Any:
    module, _, path = name.partition(":")
    found: Any = import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _decoded(value: Any, buffers: Sequence[Buffer]) -> Any:
    if isinstance(value, list):
        return [_decoded(item, buffers) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(_KIND)
    if kind is None:
        return {key: _decoded(item, buffers) for key, item in value.items()}
    return _KINDS[kind](value, buffers)


def _dataclass(value: dict[str, Any], buffers: Sequence[Buffer]) -> Any:
    return _imported(value["type"])(**{k: _decoded(v, buffers) for k, v in value["fields"].items()})


def _array(value: dict[str, Any], buffers: Sequence[Buffer]) -> np.ndarray:
    return np.frombuffer(buffers[value["at"]], dtype=value["dtype"]).reshape(value["shape"])


def _error(value: dict[str, Any], _: Sequence[Buffer]) -> BaseException:
    """The error, or a RuntimeError of its name and text where it can't be made of a text alone."""
    try:
        made = _imported(value["type"])(value["text"])
    except Exception:  # its constructor may want anything
        made = None
    if isinstance(made, BaseException) and str(made) == value["text"]:
        return made
    return RuntimeError(f"{value['type'].partition(':')[2]}: {value['text']}")


_KINDS: dict[str, Callable[[dict[str, Any], Sequence[Buffer]], Any]] = {
    "bytes": lambda value, buffers: bytes(buffers[value["at"]]),
    "array": _array,
    "path": lambda value, _: Path(value["path"]),
    "tuple": lambda value, buffers: tuple(_decoded(item, buffers) for item in value["items"]),
    "error": _error,
    "dataclass": _dataclass,
    "name": lambda value, _: _imported(value["name"]),
}


def _exactly(stream: IO[bytes], size: int) -> memoryview:
    data = memoryview(np.empty(size, np.uint8))  # type: ignore[arg-type] # an array is a buffer; bytearray zeroes first
    view = data
    while view:
        count = stream.readinto(view)  # type: ignore[attr-defined] # every binary stream has it
        if not count:
            raise EOFError("the other end closed the pipe")
        view = view[count:]
    return data
