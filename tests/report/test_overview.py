"""Several data sets and backbones together."""

from __future__ import annotations

import pytest
from tests.report.made import results

from clipwright.protocol.means import means
from clipwright.protocol.results import Results
from clipwright.report.comparison import comparison_page
from clipwright.report.page import Overview
from clipwright.report.render import render

_SHARES = {("Names", 0): 0.6, ("A", 1): 0.7, ("B", 1): 0.5, ("A", 16): 0.9, ("B", 16): 0.8}


def _results(n: int = 3, **more: object) -> Results:
    return Results.joined(
        [results({k: v - 0.1 * i for k, v in _SHARES.items()}, dataset=f"set {i}", **more) for i in range(n)]  # type: ignore[arg-type] # fields of a run
    )


def _overview(found: Results) -> Overview:
    made = comparison_page(found).overview
    assert made is not None
    return made


def test_means_are_those_of_the_protocol_with_names_alone_once() -> None:
    found = _results()
    made = _overview(found)
    expected = {(r.method, r.shots): r for r in means(found).rows}
    table = {(s.method, s.shots): s for s in made.scores}
    assert [k for k in table if k[0] == "Names"] == [("Names", 0)]
    assert table["A", 16].mean == pytest.approx(0.8)
    assert (table["A", 16].low, table["A", 16].high) == (expected["A", 16].low, expected["A", 16].high)
    assert table["A", 16].standing == "best"
    assert {s.shots for s in made.gaps if s.method == "Names"} == {1, 16}
    assert [[p.shots for p in c.points] for c in made.curves if c.method == "Names"] == [[0]]


def test_the_grid_has_a_row_for_each_part_and_the_means_below() -> None:
    made = _overview(_results())
    first = made.grids[0]
    assert [g.shots for g in made.grids] == [16, 1]
    assert [(title, key) for title, key, _ in first.rows] == [("set 0", "p1"), ("set 1", "p2"), ("set 2", "p3")]
    column = first.methods.index("B")
    assert [cells[column].mean for _, _, cells in first.rows if cells[column]] == pytest.approx([0.8, 0.7, 0.6])  # type: ignore[union-attr] # they are there
    mean = first.means[column]
    assert mean is not None
    assert mean.mean == pytest.approx(0.7)


def test_a_method_that_some_part_lacks_is_left_out_of_the_means_and_named() -> None:
    extra = results(_SHARES | {("C", 16): 0.99}, dataset="set 9")
    made = _overview(Results.joined([_results(2), extra]))
    assert "C" not in {s.method for s in made.scores}
    assert "Left out, because some part lacks them: C." in made.scores_note
    grid = made.grids[0]
    assert "C" in grid.methods
    assert grid.means[grid.methods.index("C")] is None


def test_the_note_says_what_was_resampled_and_warns_of_few_clusters() -> None:
    note = _overview(_results()).scores_note
    assert "3 data sets" in note
    assert "tend to be too narrow" in note


def test_methods_with_validation_labels_are_compared_at_equal_labels() -> None:
    shares = {("A", 4): 0.8, ("A+val", 4): 0.84, ("A", 8): 0.9}
    parts = [results(shares, dataset=f"set {i}", equal_labels={"4": 8}, shots=[4]) for i in range(2)]
    made = _overview(Results.joined(parts))
    assert [(s.method, s.shots) for s in made.scores] == [("A", 4)]
    assert [(s.method, s.shots, s.standing) for s in made.equal] == [("A", 8, "best"), ("A+val", 8, "")]
    html = render(comparison_page(Results.joined(parts)))
    assert html.count(">At equal numbers of labels</h") == 3


def test_validation_labels_that_nothing_stands_beside_are_shown_without_a_rank() -> None:
    shares = {("A", 4): 0.8, ("A+val", 4): 0.84}
    made = _overview(Results.joined([results(shares, dataset=f"set {i}") for i in range(2)]))
    assert [(s.method, s.standing, bool(s.remark)) for s in made.scores] == [("A", "", False), ("A+val", "", True)]
