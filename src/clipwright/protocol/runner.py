"""Every method on every support draw: fitted without a test label, then scored once on the test images."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch

from clipwright import __version__
from clipwright.core.errors import UsageError
from clipwright.core.progress import progress
from clipwright.protocol.bench import Bench
from clipwright.protocol.cells import predictions, run_cell
from clipwright.protocol.plan import Methods, Plan, Validation, make_plan
from clipwright.protocol.results import Results

if TYPE_CHECKING:
    from clipwright.protocol.prepare import Prepared
    from clipwright.protocol.record import CellRecord


def run(
    prepared: Prepared,
    methods: Methods,
    shots: Sequence[int],
    draws: int | None = None,
    seed: int = 0,
    *,
    validation: Validation = "none",
    quiet: bool = False,
    on_cell: Callable[[dict[str, Any]], None] | None = None,
    **more: Any,
) -> Results:
    """Fit and score every method at every number of shots on every draw.

    The support set of a draw is the same for all methods, and k shots are part of 2k. A method that looks at no
    labels is fitted once, at 0 shots. Test images are scored once, after fitting; their labels never reach a method.
    Without a test split, a draw is scored on the labelled images that its largest support set leaves.

    Args:
        prepared: features, texts and labels of a data set.
        methods: configured methods, or a mapping that names them.
        shots: labels per class; 0 runs the methods that can do without labels.
        draws: support sets per number of shots, at least 1; by default 10.
        seed: any integer.
        validation: ``none``; or ``few-shot`` or ``full``, which runs each method that can choose on validation labels
            a second time with them (``NAME+val``).
        quiet: show no progress.
        on_cell: called with each finished cell.
        more: protocol, short, calibrate and keep, as in `Plan`.

    Raises:
        UsageError: no methods, shots or draws, or two methods of one name.
        NeedsError: a method lacks something; raised before anything is fitted.
        DataError: a class has too few images, or nothing is left to score.
    """
    plan = make_plan(methods, shots, draws, validation=validation, seed=seed, **more)
    return run_plan(prepared, plan, quiet=quiet, on_cell=on_cell)


def run_plan(
    prepared: Prepared,
    plan: Plan,
    *,
    record: CellRecord | None = None,
    quiet: bool = False,
    on_cell: Callable[[dict[str, Any]], None] | None = None,
) -> Results:
    """Run a plan on one data set and backbone; arguments and errors as in `run`.

    Args:
        prepared: features, texts and labels of a data set.
        plan: what to run.
        record: cells that were finished before, which are not run again; new ones are added.
        quiet: show no progress.
        on_cell: called with each cell that was run now.
    """
    start = time.perf_counter()
    bench = Bench(prepared, plan)
    jobs = list(bench.jobs())
    if not jobs:
        raise UsageError(
            "nothing to run: every method needs labels, so ask for at least 1 shot, or give generated images."
        )
    bench.check(jobs)
    rows: list[dict[str, Any]] = []
    kept: list[pa.Table] = []
    with progress(f"fit {prepared.dataset.name}", len(jobs), "fits", quiet=quiet) as advance:
        for job in jobs:
            cell = record.find(bench, job) if record is not None else None
            if cell is None:
                cell, _ = run_cell(bench, job)
                if record is not None:
                    record.add(bench, job, cell)
                if on_cell is not None:
                    on_cell(cell.row)
            rows.append(cell.row)
            if job.draw < plan.keep:
                kept.append(predictions(bench, job, cell))
            advance()
    seconds = {"seconds_run": time.perf_counter() - start}
    return Results.from_rows(rows, [bench.config() | seconds | {"versions": versions()}], kept)


def versions() -> dict[str, str]:
    """Versions of what computes."""
    return {
        "clipwright": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
