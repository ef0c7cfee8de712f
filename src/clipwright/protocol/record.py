"""Finished cells on disk, one line each, so that a comparison that was killed goes on where it stopped."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clipwright.core.journal import Journal
from clipwright.protocol.bench import Bench, Job
from clipwright.protocol.cells import Cell

FILE = "cells.jsonl"

Key = tuple[str, str, int, int]  # digest of what the cell depends on, arm, shots, draw


class CellRecord:
    """Cells that were finished in a folder.

    A cell is known again only where data, features, texts, method and its settings, seed and protocol are the same.

    Args:
        folder: where ``cells.jsonl`` lies or is to lie; made with the first cell.
    """

    def __init__(self, folder: Path) -> None:
        self._journal = Journal(folder / FILE)
        self._cells: dict[Key, dict[str, Any]] = {
            (row["digest"], row["method"], row["shots"], row["draw"]): row
            for row in self._journal.rows()
            if row.keys() >= {"digest", "method", "shots", "draw", "right", "seconds_fit"}
        }

    def __len__(self) -> int:
        return len(self._cells)

    def find(self, bench: Bench, job: Job) -> Cell | None:
        """A finished cell, or None; one whose predictions are wanted but weren't kept counts as unfinished."""
        row = self._cells.get((bench.digest(job.arm), *job.key))
        if row is None or (job.draw < bench.plan.keep and "predicted" not in row):
            return None
        row = dict(row)
        row.pop("digest")
        kept = [row.pop(name, None) for name in ("predicted", "confidence", "calibrated")]
        row["right"] = base64.b64decode(row["right"])
        predicted, confidence, calibrated = (None if text is None else _array(text) for text in kept)
        nothing = np.empty(0)
        return Cell(
            row,
            nothing.astype(np.int64) if predicted is None else predicted.astype(np.int64),
            nothing if confidence is None else confidence,
            calibrated,
        )

    def add(self, bench: Bench, job: Job, cell: Cell) -> None:
        """Keep a finished cell; returns once it is on disk."""
        row = cell.row | {"digest": bench.digest(job.arm), "right": base64.b64encode(cell.row["right"]).decode()}
        if job.draw < bench.plan.keep:
            row |= {"predicted": _text(cell.predicted.astype(np.float64)), "confidence": _text(cell.confidence)}
            if cell.calibrated is not None:
                row["calibrated"] = _text(cell.calibrated)
        self._journal.append(row)


def _text(values: NDArray[np.float64]) -> str:
    return base64.b64encode(values.astype("<f8").tobytes()).decode()


def _array(text: str) -> NDArray[np.float64]:
    return np.frombuffer(base64.b64decode(text), dtype="<f8").astype(np.float64)
