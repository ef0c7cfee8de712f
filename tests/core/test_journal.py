"""Append-only lines that survive a kill."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipwright.core.journal import Journal

_ROWS = st.lists(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=20), max_size=4), max_size=6)


def test_a_journal_that_was_never_written_is_empty(tmp_path: Path) -> None:
    assert Journal(tmp_path / "none" / "journal.jsonl").rows() == []


@given(rows=_ROWS)
def test_rows_come_back_in_order(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]]) -> None:
    journal = Journal(tmp_path_factory.mktemp("journal") / "j.jsonl")
    for row in rows:
        journal.append(row)
    assert journal.rows() == rows


@given(cut=st.integers(1, 60))
def test_a_torn_last_line_costs_only_itself(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    journal = Journal(tmp_path_factory.mktemp("journal") / "j.jsonl")
    journal.append({"number": 1, "text": "one"})
    whole = journal.path.read_bytes()
    journal.append({"number": 2, "text": "two, a little longer, with ünïcode"})
    data = journal.path.read_bytes()
    journal.path.write_bytes(data[: max(len(whole), len(data) - cut)])
    before = journal.rows()
    assert before[0] == {"number": 1, "text": "one"}
    journal.append({"number": 3})
    assert journal.rows() == [*before, {"number": 3}]


def test_lines_that_are_no_objects_are_skipped(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.path.write_bytes(b'[1]\n\n{"a": 1}\n\xff\xfe\n{"b": \n3\n')
    assert journal.rows() == [{"a": 1}]


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda i: Journal(path).append({"i": i}), range(64)))
    assert sorted(row["i"] for row in Journal(path).rows()) == list(range(64))


def test_several_rows_are_written_together_after_a_torn_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.path.write_bytes(b'{"n": 0}\n{"n": ')
    journal.extend({"n": n} for n in (1, 2))
    assert journal.rows() == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert journal.path.read_bytes().endswith(b'{"n": 1}\n{"n": 2}\n')
