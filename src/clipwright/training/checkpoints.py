"""Where a long fit has got to: tensors and a few numbers in one file, tied to what is being fitted."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import torch

from clipwright.core.atomic import write_bytes
from clipwright.core.errors import FormatError, UsageError

_LOGGER = logging.getLogger(__name__)
FORMAT = 1
_KEY = "clipwright.checkpoint"

State = tuple[dict[str, torch.Tensor], dict[str, Any]]


class Checkpoint:
    """The state of a fit, replaced as a whole each time it is saved; a kill leaves the last one.

    Args:
        path: the file.
        digest: says what is being fitted; a state of anything else is not taken up.
        keep: files that are kept, at least 1: the last one at `path`, those before it at ``PATH.1``, ``PATH.2``, ...;
            where the last one is damaged, the one before it is taken up.
        rest: least seconds between two files; states that come sooner are not written.

    Raises:
        UsageError: `keep` is less than 1.
    """

    def __init__(self, path: Path, digest: str, *, keep: int = 1, rest: float = 0.0) -> None:
        if keep < 1:
            raise UsageError(f"keep must be at least 1; it is {keep}.")
        self.path, self.digest, self.rest = path, digest, rest
        self._files = [path, *(path.with_name(f"{path.name}.{age}") for age in range(1, keep))]
        self._written: float | None = None

    def save(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        """Write tensors and JSON facts.

        Raises:
            DiskFullError: the disk is full; the state saved before is kept.
        """
        from safetensors.torch import save

        now = time.monotonic()
        if self._written is not None and now - self._written < self.rest:
            return
        note = {"format": FORMAT, "digest": self.digest, "facts": facts}
        whole = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
        content = save(whole, metadata={_KEY: json.dumps(note, sort_keys=True)})
        if self.path.exists():
            for newer, older in reversed(list(zip(self._files, self._files[1:], strict=False))):
                if newer.exists():
                    newer.replace(older)
        write_bytes(self.path, content)
        self._written = time.monotonic()

    def load(self) -> State | None:
        """What was saved last, or None where there is nothing, or the state of another fit.

        Raises:
            FormatError: all files are damaged, or one is written by a newer clipwright.
        """
        damage: FormatError | None = None
        for path in self._files:
            try:
                found = self._read(path) if path.exists() else None
            except _DamagedError as error:
                damage = damage or error
                continue
            if found is not None:
                if damage is not None:
                    _LOGGER.warning("the last checkpoint is damaged: the fit goes on from %s", path)
                return found
        if damage is not None:
            raise damage
        return None

    def _read(self, path: Path) -> State | None:
        """What a file holds, or None where it is the state of another fit."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                note = json.loads((file.metadata() or {}).get(_KEY, "null"))
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dict
            version, digest, facts = note["format"], note["digest"], note["facts"]
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise _DamagedError(f"{path} is damaged: remove it, and the fit starts anew.") from error
        if version > FORMAT:
            raise FormatError(f"{path} was written by a newer clipwright (format {version}): update clipwright.")
        return (tensors, facts) if digest == self.digest else None

    def clear(self) -> None:
        """Remove the files once the fit is done."""
        for path in self._files:
            path.unlink(missing_ok=True)


class _DamagedError(FormatError):
    """One file of several can't be read."""
