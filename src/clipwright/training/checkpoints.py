"""Where a long fit has got to: tensors and a few numbers in one file, tied to what is being fitted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from clipwright.core.atomic import write_bytes
from clipwright.core.errors import FormatError

FORMAT = 1
_KEY = "clipwright.checkpoint"


class Checkpoint:
    """The state of a fit, replaced as a whole each time it is saved; a kill leaves the last one.

    Args:
        path: the file.
        digest: says what is being fitted; a state of anything else is not taken up.
    """

    def __init__(self, path: Path, digest: str) -> None:
        self.path, self.digest = path, digest

    def save(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        """Write tensors and JSON facts.

        Raises:
            DiskFullError: the disk is full; the state saved before is kept.
        """
        from safetensors.torch import save

        note = {"format": FORMAT, "digest": self.digest, "facts": facts}
        whole = {name: t.detach().to("cpu", copy=True).contiguous() for name, t in tensors.items()}
        write_bytes(self.path, save(whole, metadata={_KEY: json.dumps(note, sort_keys=True)}))

    def load(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """What was saved last, or None where there is nothing, or the state of another fit.

        Raises:
            FormatError: the file is damaged or written by a newer clipwright.
        """
        from safetensors import SafetensorError, safe_open

        if not self.path.exists():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                note = json.loads((file.metadata() or {}).get(_KEY, "null"))
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dict
            version, digest, facts = note["format"], note["digest"], note["facts"]
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{self.path} is damaged: remove it, and the fit starts anew.") from error
        if version > FORMAT:
            raise FormatError(f"{self.path} was written by a newer clipwright (format {version}): update clipwright.")
        return (tensors, facts) if digest == self.digest else None

    def clear(self) -> None:
        """Remove the file once the fit is done."""
        self.path.unlink(missing_ok=True)
