"""Finished cells on disk: killed anywhere, a run goes on with what is whole and gives the same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.protocol.conftest import MakePrepared

from clipwright.methods import make
from clipwright.protocol.plan import Plan, make_plan
from clipwright.protocol.record import FILE, CellRecord
from clipwright.protocol.results import Results
from clipwright.protocol.runner import run_plan

TIMES = ("seconds_fit", "seconds_predict", "peak_mib")


def plan(**more: Any) -> Plan:
    return make_plan([make("ZeroShot"), make("TaskRes", epochs=3), make("NearestMean")], (1, 2), 2, **more)


def same_numbers(one: Results, other: Results) -> bool:
    rows = [[{k: v for k, v in r.items() if k not in TIMES} for r in x.cells.to_pylist()] for x in (one, other)]
    return rows[0] == rows[1] and one.predictions.equals(other.predictions)


def test_nothing_finished_is_run_again(make_prepared: MakePrepared, tmp_path: Path) -> None:
    prepared = make_prepared(test=5)
    ran: list[dict[str, Any]] = []
    first = run_plan(prepared, plan(calibrate=True), record=CellRecord(tmp_path), quiet=True, on_cell=ran.append)
    assert len(ran) == len(first) == 9
    again = run_plan(prepared, plan(calibrate=True), record=CellRecord(tmp_path), quiet=True, on_cell=ran.append)
    assert len(ran) == 9
    assert again.cells.equals(first.cells)
    assert again.predictions.equals(first.predictions)


@pytest.mark.parametrize("whole", [0, 1, 4, 8])
@pytest.mark.parametrize("torn", [0, 5, 200])
def test_killed_at_any_cell_it_ends_with_the_same_numbers(
    make_prepared: MakePrepared, tmp_path: Path, whole: int, torn: int
) -> None:
    prepared = make_prepared(test=5)
    ran: list[dict[str, Any]] = []
    expected = run_plan(prepared, plan(), record=CellRecord(tmp_path), quiet=True)
    lines = (tmp_path / FILE).read_bytes().splitlines(keepends=True)
    (tmp_path / FILE).write_bytes(b"".join(lines[:whole]) + lines[whole][:torn])
    found = run_plan(prepared, plan(), record=CellRecord(tmp_path), quiet=True, on_cell=ran.append)
    assert len(ran) == 9 - whole
    assert same_numbers(found, expected)


def test_what_a_cell_depends_on_makes_it_another(make_prepared: MakePrepared, tmp_path: Path) -> None:
    def ran(prepared: Any, made: Plan) -> int:
        new: list[Any] = []
        run_plan(prepared, made, record=CellRecord(tmp_path), quiet=True, on_cell=new.append)
        return len(new)

    assert ran(make_prepared(test=5), plan()) == 9
    assert ran(make_prepared(test=5), plan()) == 0
    assert ran(make_prepared(test=5), plan(seed=1)) == 9
    assert ran(make_prepared(test=5, noise=0.7), plan()) == 9
    other = make_plan([make("ZeroShot"), make("TaskRes", epochs=4), make("NearestMean")], (1, 2), 2)
    assert ran(make_prepared(test=5), other) == 4
    more = make_plan([make("ZeroShot"), make("TaskRes", epochs=3), make("NearestMean")], (1, 2), 3)
    assert ran(make_prepared(test=5), more) == 4


def test_wanted_predictions_that_were_not_kept_make_a_cell_unfinished(
    make_prepared: MakePrepared, tmp_path: Path
) -> None:
    prepared = make_prepared(test=5)
    ran: list[dict[str, Any]] = []
    run_plan(prepared, plan(keep=0), record=CellRecord(tmp_path), quiet=True)
    found = run_plan(prepared, plan(keep=1), record=CellRecord(tmp_path), quiet=True, on_cell=ran.append)
    assert {row["draw"] for row in ran} == {0}
    assert found.predictions.num_rows


def test_foreign_lines_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps({"digest": "x"}) + '\n[1]\n{"torn', encoding="utf-8")
    assert len(CellRecord(tmp_path)) == 0
