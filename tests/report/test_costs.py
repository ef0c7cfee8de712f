"""What methods took, beside what they gave."""

from __future__ import annotations

import pytest
from tests.report.made import results

from clipwright.report.comparison import comparison_page
from clipwright.report.costs import costs, costs_note
from clipwright.report.standings import scores
from clipwright.report.view import View

_GROUP = ("birds", "tiny")
_SHARES = {("Names", 0): 0.6, ("A", 1): 0.7, ("A", 16): 0.9, ("B", 16): 0.95}


def test_costs_are_those_at_most_labels_and_from_names_alone_the_best_first() -> None:
    made = results(_SHARES)
    found = costs(made, _GROUP, scores(made, _GROUP), 16)
    assert [(c.score.method, c.score.shots, c.images) for c in found] == [("B", 16, 32), ("A", 16, 32), ("Names", 0, 0)]
    assert found[0].peak_mib == pytest.approx(901.5), "the median of the draws"


def test_columns_that_say_nothing_are_left_out() -> None:
    (part,) = comparison_page(results(_SHARES)).parts
    columns = View(part, "p1", 2).cost_columns
    assert [c.title for c in columns] == ["One fit", "Memory", "Images", "Texts"]
    assert columns[2].values == ("32", "32", "0")
    (asked,) = comparison_page(results(_SHARES, cell={"calls": 7, "tokens": 12_000, "peak_mib": None})).parts
    columns = View(asked, "p1", 2).cost_columns
    assert [c.title for c in columns] == ["One fit", "Images", "Texts", "Calls", "Tokens"]
    assert columns[-1].values == ("12,000",) * 3


def test_the_note_says_what_was_counted() -> None:
    made = results(_SHARES)
    text = costs_note(16, costs(made, _GROUP, scores(made, _GROUP), 16))
    assert "with 16 labels per class, and over those from names alone" in text
    assert "whole process" in text
    bare = results({("A", 16): 0.9}, cell={"peak_mib": None})
    text = costs_note(16, costs(bare, _GROUP, scores(bare, _GROUP), 16))
    assert "names alone" not in text
    assert "whole process" not in text


def test_one_method_has_a_table_but_no_chart() -> None:
    (part,) = comparison_page(results({("A", 16): 0.9})).parts
    assert View(part, "p1", 2).cost_chart is None
    assert "cost" in dict(View(part, "p1", 2).sections)
