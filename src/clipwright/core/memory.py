"""The most memory that a stretch of work takes."""

from __future__ import annotations

from pathlib import Path
from typing import Self

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


class PeakMemory:
    """Measures the highest resident memory of this process inside a ``with`` block.

    Attributes:
        mib: the peak in MiB, of the whole process, not above what it held before; None where the system doesn't tell
            (it does on Linux).
    """

    mib: float | None = None

    def __enter__(self) -> Self:
        try:
            _CLEAR.write_text("5")  # the mark of the highest use starts anew
        except OSError:
            self._marked = False
        else:
            self._marked = True
        return self

    def __exit__(self, *_: object) -> None:
        if self._marked:
            self.mib = _highest()


def _highest() -> float | None:
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith("VmHWM:")), None)
    return None if found is None else int(found.split()[1]) / 1024
