"""Predictions as rows of a table, of CSV or of JSON lines, written while they come."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from clipwright.cli.output import csv_line, json_text, safe

if TYPE_CHECKING:
    from clipwright import Prediction

UNCERTAIN = "uncertain"
_PATH_WIDTH = 32


def as_row(prediction: Prediction, top_k: int, min_confidence: float) -> dict[str, Any]:
    """One prediction as JSON.

    Args:
        prediction: what the classifier said.
        top_k: how many classes to list.
        min_confidence: below it the label is ``"uncertain"``; `top` still says what was likeliest.
    """
    if prediction.error is not None:
        return {"path": prediction.path, "label": None, "confidence": None, "top": [], "error": prediction.error}
    label = prediction.label if prediction.confidence >= min_confidence else UNCERTAIN
    top = [{"label": name, "confidence": round(float(p), 6)} for name, p in prediction.top[:top_k]]
    confidence = round(float(prediction.confidence), 6)
    return {"path": prediction.path, "label": label, "confidence": confidence, "top": top, "error": None}


def lines(rows: Iterable[dict[str, Any]], style: str, top_k: int) -> Iterator[str]:
    """Lines of text (without the newline) for rows of `as_row`; the header comes with the first row.

    Args:
        rows: predictions, as they come.
        style: ``table``, ``csv`` or ``jsonl``.
        top_k: how many classes a row lists.
    """
    rows = iter(rows)
    first = next(rows, None)  # what is wrong with the very first row is said before there is any output
    rows = itertools.chain([] if first is None else [first], rows)
    if style == "jsonl":
        yield from (json_text(row) for row in rows)
    elif style == "csv":
        ranks = [c for k in range(1, top_k + 1) for c in (f"label_{k}", f"confidence_{k}")]
        yield csv_line(["path", "label", "confidence", *ranks, "error"])[:-1]
        for row in rows:
            cells = [c for entry in row["top"] for c in (entry["label"], entry["confidence"])]
            cells += [""] * (len(ranks) - len(cells))
            yield csv_line([row["path"], row["label"] or "", _number(row), *cells, row["error"] or ""])[:-1]
    else:
        yield from _table(rows)


def _number(row: dict[str, Any]) -> object:
    return "" if row["confidence"] is None else row["confidence"]


def _table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Aligned as far as rows that are still to come allow: a column grows when it has to."""
    path_width, label_width = _PATH_WIDTH, 12
    yield f"{'path':<{path_width}}  {'label':<{label_width}}  confidence  top"
    for row in rows:
        path = safe(row["path"])
        path_width = max(path_width, len(path))
        if row["error"]:
            yield f"{path:<{path_width}}  error: {safe(row['error'])}"
            continue
        label = safe(row["label"])
        label_width = max(label_width, len(label))
        top = ", ".join(f"{safe(entry['label'])} {entry['confidence']:.3f}" for entry in row["top"])
        confidence = "-" if row["confidence"] is None else f"{row['confidence']:.3f}"  # some models give none
        yield f"{path:<{path_width}}  {label:<{label_width}}  {confidence:>10}  {top}".rstrip()
