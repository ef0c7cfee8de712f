"""Printing what strangers named: no control characters on a terminal, no formulas in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def safe(text: str) -> str:
    """`text` with everything that isn't printable escaped, so that no name can move a cursor or hide a suffix."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def csv_cell(value: object) -> object:
    """`value` as a CSV cell; text that a spreadsheet would run as a formula gets a leading apostrophe."""
    if not isinstance(value, str):
        return value
    text = safe(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def csv_line(values: Iterable[object]) -> str:
    """One line of CSV (RFC 4180 quoting, ending in a newline)."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow([csv_cell(v) for v in values])
    return stream.getvalue()


def json_text(value: Any, *, indent: int | None = None) -> str:
    """JSON of `value` in one piece; names that aren't valid Unicode are written as escapes."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=_plain)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent, default=_plain)
    return text


def _plain(value: Any) -> Any:
    """What JSON lacks: numbers of NumPy and torch, paths, sets."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "as_json"):
        return value.as_json()
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


def say(text: str = "") -> None:
    """Print one line of results and flush it, so that a pipe sees it at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def show_json(value: Any) -> None:
    """Print a JSON document."""
    say(json_text(value, indent=2))


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows as aligned text, header first, columns two spaces apart; numbers to the right."""
    cells = [[safe(str(c)) for c in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(header), *cells]) for i in range(len(header))]
    right = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(header))]

    def line(values: Sequence[str]) -> str:
        parts = (v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True))
        return "  ".join(parts).rstrip()

    return "\n".join([line(header), *map(line, cells)])


def note(text: str, *, quiet: bool = False) -> None:
    """Tell the user something on standard error."""
    if not quiet:
        sys.stderr.write(safe(text) + "\n")
        sys.stderr.flush()
