"""One cell of a comparison: a method fitted without a test label, then scored once, with what it cost."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from clipwright.core.memory import PeakMemory
from clipwright.core.metrics import RowScores, score_rows
from clipwright.fitted import Fitted
from clipwright.protocol.auto import Auto, real_only
from clipwright.protocol.bench import Bench, Job
from clipwright.protocol.calibrate import temperature
from clipwright.protocol.schema import PREDICTIONS
from clipwright.task import Features, Need, Task


@dataclass(frozen=True, eq=False)
class Cell:
    """A finished cell.

    Attributes:
        row: values of `clipwright.protocol.schema.CELLS`.
        predicted: (n,) predicted class of each test image.
        confidence: (n,) probability of the predicted class.
        calibrated: (n,) the same after the temperature, or None where none was fitted.
    """

    row: dict[str, Any]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]
    calibrated: NDArray[np.float64] | None = None


def run_cell(bench: Bench, job: Job) -> tuple[Cell, Fitted]:
    """Fit, then score the test images once.

    Args:
        bench: data set and backbone.
        job: which cell.

    Returns:
        the cell, and the fit that it scored.
    """
    method, task = job.arm.method, bench.task(job)
    rows, features = bench.test(job.draw)
    labels = bench.labels[rows]
    start = time.perf_counter()
    with PeakMemory() as memory:
        fitted = method.fit(task)
    fitted_at = time.perf_counter()
    if fitted.tower is not None:
        features = bench.prepared.answering(fitted, rows).without_labels()
    logits = _logits(fitted, features, task)
    scored_at = time.perf_counter()
    scores = score_rows(logits, labels)
    row = _identity(bench, job, task) | scores.summary() | _trace(fitted, job) | _cost(fitted, job, task)
    row |= {
        "right": np.packbits(scores.correct).tobytes(),
        "per_class": [None if np.isnan(share) else float(share) for share in scores.per_class()],
        "seconds_fit": fitted_at - start,
        "seconds_predict": scored_at - fitted_at,
        "peak_mib": memory.mib,
        "n_test": len(rows),
    }
    after: RowScores | None = None
    asked = real_only(task) if isinstance(method, Auto) else task  # what automatic choice looked at
    if bench.plan.calibrate and (found := temperature(method, asked, fitted=fitted)[0]) is not None:
        after = score_rows(logits / found.value, labels)
        row["temperature"] = found.value
        figures = after.summary()
        row |= {f"{name}_calibrated": figures[name] for name in ("nll", "ece", "brier")}
    return Cell(row, scores.predicted, scores.confidence, None if after is None else after.confidence), fitted


def _identity(bench: Bench, job: Job, task: Task) -> dict[str, Any]:
    given = [f.labels[~f.is_generated].numpy() for f in (task.support, task.validation) if f is not None and len(f)]
    labels = np.bincount(np.concatenate(given), minlength=task.n_classes) if given else np.zeros(task.n_classes)
    return {
        "dataset": bench.prepared.dataset.name,
        "backbone": bench.prepared.backbone,
        "method": job.arm.name,
        "shots": job.shots,
        "draw": job.draw,
        "labels_per_class": [int(n) for n in labels],
        "seed": task.seed,
    }


def _trace(fitted: Fitted, job: Job) -> dict[str, Any]:
    trace = fitted.trace
    sources = set(trace.how.values())
    inside = "cross-validation" if "cross-validation" in sources else "none"
    return {
        "validation": job.arm.validation if job.arm.validation != "none" else inside,
        "chosen": json.dumps(trace.chosen, default=str, ensure_ascii=False),
        "how": json.dumps(trace.how),
        "reason": trace.reason or None,
        "notes": list(trace.notes),
    }


def _cost(fitted: Fitted, job: Job, task: Task) -> dict[str, Any]:
    """What had to be encoded and asked for this fit to be possible, beside time and memory."""
    wants = job.arm.method.requires().needs | job.arm.method.requires().optional
    support = len(task.support) if task.support is not None else 0
    views = task.support.views.shape[1] if task.support is not None and task.support.views is not None else 0
    rest = sum(len(f) for f in (task.validation, task.unlabeled, task.query) if f is not None)
    images = support * (1 + (views if Need.VIEWS in wants else 0)) + rest
    texts = len(task.text) if task.text is not None and Need.TEXT in wants else 0
    texts += fitted.trace.spent.get("texts", 0)
    return {"images": images, "texts": texts, "calls": fitted.trace.calls, "tokens": fitted.trace.tokens}


def _logits(fitted: Fitted, features: Features, task: Task) -> NDArray[np.float64]:
    answered = fitted.query_logits is not None and task.query is not None
    logits = fitted.query_logits if answered else fitted(features)
    assert logits is not None  # noqa: S101 - one of the two
    return logits.detach().double().cpu().numpy()


def predictions(bench: Bench, job: Job, cell: Cell) -> pa.Table:
    """What was said of each test image, as rows of `clipwright.protocol.schema.PREDICTIONS`."""
    rows, _ = bench.test(job.draw)
    n = len(rows)
    columns = {
        "dataset": [bench.prepared.dataset.name] * n,
        "backbone": [bench.prepared.backbone] * n,
        "method": [job.arm.name] * n,
        "shots": np.full(n, job.shots, dtype=np.int32),
        "draw": np.full(n, job.draw, dtype=np.int32),
        "id": [bench.ids[i] for i in rows],
        "label": bench.labels[rows].astype(np.int32),
        "predicted": cell.predicted.astype(np.int32),
        "confidence": cell.confidence,
        "confidence_calibrated": [None] * n if cell.calibrated is None else cell.calibrated,
    }
    return pa.table(columns, schema=PREDICTIONS)
