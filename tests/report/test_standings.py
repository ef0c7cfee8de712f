"""Who leads, who ties, and by how much the others are behind."""

from __future__ import annotations

import pytest
from tests.report.made import results

from clipwright.protocol.results import Results
from clipwright.report.standings import curves, equal, gaps, scores
from clipwright.report.views import views

_GROUP = ("birds", "tiny")


def test_differences_to_the_best_are_paired_and_signed() -> None:
    found = {s.method: s for s in scores(results({("A", 16): 0.9, ("B", 16): 0.8975, ("C", 16): 0.7}), _GROUP)}
    assert found["A"].difference is None
    assert found["A"].standing == "best"
    assert found["B"].standing == "tied"
    gap = found["C"].difference
    assert gap is not None
    assert gap.mean == pytest.approx(-0.2)
    assert gap.low < gap.mean < gap.high < 0


def test_a_method_without_rivals_is_not_called_best() -> None:
    (alone,) = scores(results({("A", 16): 0.9}), _GROUP)
    assert alone.standing == ""


def test_names_alone_stand_beside_the_best_at_each_number_of_labels() -> None:
    made = results({("Names", 0): 0.75, ("A", 1): 0.7, ("A", 16): 0.9, ("B", 16): 0.8})
    found = {(s.method, s.shots): s for s in gaps(made, _GROUP, scores(made, _GROUP))}
    ahead, behind = found["Names", 1].difference, found["Names", 16].difference
    assert ahead is not None
    assert behind is not None
    assert ahead.mean == pytest.approx(0.05), "names alone beat the best with one label, and it says so"
    assert behind.mean == pytest.approx(-0.15)
    assert found["A", 1].standing == "best"


def test_runs_that_share_no_draw_can_t_be_paired_and_are_not_called_tied() -> None:
    one, other = results({("A", 16): 0.9}), results({("B", 16): 0.8})
    moved = [row | {"draw": row["draw"] + 10} for row in other.cells.to_pylist()]
    found = scores(Results.joined([one, Results.from_rows(moved, other.runs)]), _GROUP)
    assert [(s.method, s.standing, s.difference) for s in found] == [("A", "best", None), ("B", "", None)]


def test_equal_labels_say_how_they_were_divided() -> None:
    made = results({("A", 4): 0.8, ("A+val", 4): 0.8, ("A", 8): 0.9}, equal_labels={"4": 8}, shots=[4])
    found = equal(views(made).equal, _GROUP, {"equal_labels": {"4": 8}})
    assert [(s.method, s.shots, s.standing, s.remark) for s in found] == [
        ("A", 8, "best", "all to learn from"),
        ("A+val", 8, "", "4 to learn from, 4 to choose on"),
    ]


def test_curves_have_a_point_for_each_number_of_labels_in_order() -> None:
    (curve,) = curves(results({("A", 16): 0.9, ("A", 1): 0.7}), _GROUP)
    assert [p.shots for p in curve.points] == [1, 16]
