"""Arrays, texts and numbers by name as the body of a request or an answer: JSON, or npz without pickles."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

JSON = "application/json"
NPZ = "application/x-npz"

_MOST_NAMES = 64


class PayloadError(ValueError):
    """A body that can't be read; the message is half a sentence."""


def pack(values: Mapping[str, Any], kind: str = NPZ) -> bytes:
    """Write values by name.

    Args:
        values: arrays, texts, lists of texts, numbers, and, in JSON only, whatever else JSON holds.
        kind: `JSON` or `NPZ`.
    """
    if kind == JSON:
        plain = {k: v.tolist() if isinstance(v, np.ndarray | np.generic) else v for k, v in values.items()}
        return json.dumps(plain, ensure_ascii=False).encode("utf-8", "surrogatepass")
    stream = io.BytesIO()
    arrays: dict[str, Any] = {k: np.asarray(v) for k, v in values.items()}
    np.savez(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def unpack(body: bytes, kind: str, *, most: int | None = None) -> dict[str, Any]:
    """Read values by name; nothing in a body is run, and a body that blows up is refused unread.

    Args:
        body: from a stranger.
        kind: `JSON` or `NPZ`.
        most: bytes that the arrays of an npz may take.

    Returns:
        npz: numeric arrays, lists of texts for arrays of text, single values for arrays without dimensions.
        JSON: as JSON has it.

    Raises:
        PayloadError: says what is wrong with it.
    """
    if kind == JSON:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise PayloadError("is no JSON") from error
        if not isinstance(value, dict):
            raise PayloadError("is JSON, but no object with names")
        return value
    if kind != NPZ:
        raise PayloadError(f"must be {JSON} or {NPZ}")
    return _npz(body, most)


def _npz(body: bytes, most: int | None) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            members = archive.infolist()
            if len(members) > _MOST_NAMES:
                raise PayloadError(f"holds more than {_MOST_NAMES} arrays")
            if most is not None and sum(member.file_size for member in members) > most:
                raise PayloadError(f"holds more than {most:,} bytes once unpacked")
        with np.load(io.BytesIO(body), allow_pickle=False) as arrays:
            return {name: _plain(name, arrays[name]) for name in arrays.files}
    except PayloadError:
        raise
    except Exception as error:  # on hostile bytes zipfile and numpy raise nearly anything
        raise PayloadError("is no npz without pickles") from error


def _plain(name: str, array: Any) -> Any:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biufU":
        raise PayloadError(f"holds {name}, which is neither numbers nor text")
    if array.ndim == 0 or array.dtype.kind == "U":
        return array.tolist()
    return array


def numbers(value: Any, dtype: Any, dims: int) -> np.ndarray:
    """An array of `dims` dimensions, from an array or from nested lists of JSON.

    Raises:
        PayloadError: it is none, or its numbers don't fit `dtype`.
    """
    try:
        found = np.asarray(value)
        if found.dtype.kind not in "biuf" or found.ndim != dims:
            raise PayloadError(f"must be numbers in {dims} dimensions")
        with np.errstate(invalid="ignore", over="ignore"):  # what doesn't fit is refused below, or by the caller
            made = found.astype(dtype, copy=False)
        if made.dtype.kind in "iu" and not np.array_equal(made, found):
            raise PayloadError(f"must be whole numbers that {np.dtype(dtype).name} holds")
    except PayloadError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise PayloadError(f"must be numbers in {dims} dimensions") from error
    return made
