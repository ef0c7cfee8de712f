from __future__ import annotations

import csv
import io
import json
from typing import Any

from clipwright import Prediction
from clipwright.cli.rows import as_row, lines

GOOD = Prediction("p/cat.png", "cat", 0.9, (("cat", 0.9), ("dog", 0.08), ("=cow", 0.02)))
POOR = Prediction("=dog\x1b.png", "dog", 0.4, (("dog", 0.4), ("cat", 0.35), ("=cow", 0.25)))
BROKEN = Prediction("p/broken.png", None, 0.0, (), "it is cut short")
ROWS = [as_row(p, 2, 0.5) for p in (GOOD, POOR, BROKEN)]


def test_a_poor_guess_is_uncertain_but_says_what_was_likeliest() -> None:
    assert [row["label"] for row in ROWS] == ["cat", "uncertain", None]
    assert ROWS[1]["top"][0] == {"label": "dog", "confidence": 0.4}
    assert as_row(POOR, 2, 0.4)["label"] == "dog"


def test_jsonl_is_exact() -> None:
    read = [json.loads(line) for line in lines(ROWS, "jsonl", 2)]
    assert read == ROWS
    assert read[1]["path"] == "=dog\x1b.png"
    assert read[2]["error"] == "it is cut short"


def test_csv_has_one_width_and_no_formula() -> None:
    text = "\n".join(lines(ROWS, "csv", 2))
    records = list(csv.DictReader(io.StringIO(text)))
    assert list(records[0]) == [
        "path",
        "label",
        "confidence",
        "label_1",
        "confidence_1",
        "label_2",
        "confidence_2",
        "error",
    ]
    assert records[0]["label_2"] == "dog"
    assert records[1]["path"] == "'=dog\\x1b.png"
    assert records[2]["label"] == records[2]["confidence"] == records[2]["label_1"] == ""
    assert records[2]["error"] == "it is cut short"


def test_table_comes_line_by_line() -> None:
    shown = lines(iter(ROWS), "table", 2)
    assert next(shown).split() == ["path", "label", "confidence", "top"]
    assert next(shown).split() == ["p/cat.png", "cat", "0.900", "cat", "0.900,", "dog", "0.080"]
    assert "=dog\\x1b.png" in next(shown)
    assert next(shown).endswith("error: it is cut short")


def test_a_label_without_a_confidence_is_shown_in_every_style() -> None:
    row: dict[str, Any] = {"path": "p/cat.png", "label": "cat", "confidence": None, "top": [], "error": None}
    assert list(lines([row], "table", 0))[1].split() == ["p/cat.png", "cat", "-"]
    assert list(lines([row], "csv", 0))[1] == "p/cat.png,cat,,"
    assert json.loads(next(lines([row], "jsonl", 0))) == row
