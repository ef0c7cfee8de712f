from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipwright.cli.output import csv_line, json_text, note, safe, say, show_json, table


@given(st.text())
def test_safe_text_is_printable_and_keeps_what_was(text: str) -> None:
    assert safe(text).isprintable()
    if text.isprintable():
        assert safe(text) == text


def test_safe_shows_escapes_instead_of_obeying_them() -> None:
    assert safe("a\x1b[2Jb\nc") == "a\\x1b[2Jb\\nc"
    assert safe("evil\u202egpj.exe") == "evil\\u202egpj.exe"
    assert safe("bad\udcff") == "bad\\udcff"
    assert safe("Größe 猫") == "Größe 猫"


@given(st.lists(st.text(), min_size=2, max_size=5))
def test_csv_is_one_record_and_no_cell_is_a_formula(cells: list[str]) -> None:
    line = csv_line(cells)
    assert line.count("\n") == 1
    (record,) = csv.reader(io.StringIO(line))
    assert len(record) == len(cells)
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in record)


def test_csv_leaves_numbers_alone() -> None:
    assert csv_line([-1.5, "-1.5", 'a "b", c']) == '-1.5,\'-1.5,"a ""b"", c"\n'


def test_json_takes_arrays_sets_and_broken_names() -> None:
    value = {"a": np.float64(0.5), "b": np.arange(2), "c": {"y", "x"}, "d": "bad\udcff"}
    text = json_text(value)
    text.encode()
    assert json.loads(text) == {"a": 0.5, "b": [0, 1], "c": ["x", "y"], "d": "bad\udcff"}


def test_table_aligns_columns_and_escapes_cells() -> None:
    text = table(["name", "n"], [["a\x1bb", 5], ["c", 123]])
    assert text.splitlines() == ["name      n", "a\\x1bb    5", "c       123"]
    assert table(["only", "header"], []) == "only  header"


def test_results_go_to_stdout_and_notes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say("row")
    show_json({"a": 1})
    note("hint")
    note("nothing", quiet=True)
    out, err = capsys.readouterr()
    assert out == 'row\n{\n  "a": 1\n}\n'
    assert err == "hint\n"
