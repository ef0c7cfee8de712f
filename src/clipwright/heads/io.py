"""Heads on disk: one safetensors file that holds the weights and says which head they belong to."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from clipwright.core.atomic import write_bytes
from clipwright.core.errors import DataError, FormatError
from clipwright.heads.base import Head, build, describe

FORMAT = 1
_KEY = "clipwright.head"


def head_state(head: Head) -> dict[str, torch.Tensor]:
    """The head's weights by name: on the CPU, contiguous, sharing memory with nothing."""
    return {k: v.detach().to("cpu", copy=True).contiguous() for k, v in head.state_dict().items()}


def restore_head(description: Any, state: dict[str, torch.Tensor]) -> Head:
    """Make a head from what `describe` and `head_state` gave.

    Nothing is allocated on the description's word alone: the head is made without memory, then given the weights.

    Args:
        description: JSON value, trusted in nothing.
        state: weights by name; their dtype is kept.

    Raises:
        FormatError: no such head, or the weights aren't those of this head.
    """
    try:
        with torch.device("meta"):
            head = build(description)
        for name, empty in head.state_dict().items():
            if name in state and state[name].is_floating_point() != empty.is_floating_point():
                raise FormatError(f"the saved head is damaged: {name} holds {state[name].dtype}.")
        head.load_state_dict(state, strict=True, assign=True)
    except FormatError:
        raise
    except (
        DataError,
        RuntimeError,
        TypeError,
        ValueError,
        LookupError,
        AttributeError,
        RecursionError,
        OverflowError,
    ) as error:
        raise FormatError("the saved head is damaged: its weights don't fit its description; save it again.") from error
    head.verify()
    return head.eval()


def save_head(head: Head, path: Path) -> None:
    """Write a head to `path` atomically, as safetensors with the description and a checksum in its header.

    Raises:
        DiskFullError: the disk is full; `path` is as it was before.
    """
    from safetensors.torch import save

    state = head_state(head)
    note = {"format": FORMAT, "head": describe(head), "sha256": _digest(state)}
    write_bytes(path, save(state, metadata={_KEY: json.dumps(note, sort_keys=True)}))


def load_head(path: Path) -> Head:
    """Read what `save_head` wrote; nothing in the file is executed.

    Raises:
        FormatError: not such a file, damaged, or written by a newer clipwright.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            note = (file.metadata() or {}).get(_KEY)
            if note is None:
                raise FormatError(f"{path} is no saved head: it was not written by clipwright.")
            # copied to aligned memory: the last bits of a product depend on where in memory a matrix starts
            state = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dict
            said = json.loads(note)
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        if isinstance(error, FileNotFoundError):
            raise FormatError(f"there is no saved head at {path}.") from error
        raise FormatError(f"{path} is no saved head, or it is damaged: {error}.") from error
    version = said.get("format") if isinstance(said, dict) else None
    if not isinstance(version, int) or version < 1:
        raise FormatError(f"{path} is damaged: it doesn't say which format it has.")
    if version > FORMAT:
        raise FormatError(f"{path} was written by a newer clipwright (format {version}): update clipwright to read it.")
    if said.get("sha256") != _digest(state):
        raise FormatError(f"{path} is damaged: its weights changed after they were written; restore it from a copy.")
    return restore_head(said.get("head"), state)


def _digest(state: dict[str, torch.Tensor]) -> str:
    sha = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name]
        sha.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return sha.hexdigest()
