"""What a comparison found, in sentences."""

from __future__ import annotations

from typing import Any

from tests.report.made import results

from clipwright.protocol.results import Results
from clipwright.report.comparison import comparison_page
from clipwright.report.page import Part


def _part(shares: dict[tuple[str, int], float], **more: Any) -> Part:
    (found,) = comparison_page(results(shares, **more)).parts
    return found


def test_the_headline_is_the_best_at_most_labels_with_its_gain_over_names() -> None:
    part = _part({("Names", 0): 0.6, ("A", 1): 0.7, ("A", 16): 0.9, ("B", 16): 0.8})
    assert part.headline is not None
    assert part.headline.share == 0.9
    assert part.headline.sentence.replace("\u202f", " ") == (
        "A names 90.0 % of 400 test images right from 16 labels per class, "
        "on average over 4 draws of the labelled images."
    )
    assert "Names alone give 60.0" in part.headline.aside
    assert "add 30.0 points (25.5 to 34.5)" in part.headline.aside


def test_ties_are_said_and_shown() -> None:
    part = _part({("Names", 0): 0.6, ("A", 16): 0.9, ("B", 16): 0.8975, ("C", 16): 0.7})
    assert part.headline is not None
    assert part.headline.sentence.endswith("B ties with it.")
    assert [(s.method, s.standing) for s in part.scores] == [("Names", ""), ("A", "best"), ("B", "tied"), ("C", "")]
    assert "includes zero" in part.scores_note
    assert any("picked by its test accuracy" in note for note in part.notes)


def test_labels_that_do_not_help_are_said_to() -> None:
    part = _part({("Names", 0): 0.9, ("A", 1): 0.7, ("A", 16): 0.9})
    assert part.headline is not None
    assert "make no difference that these images and draws could show (+0.0 points)" in part.headline.aside
    notes = " ".join(part.notes)
    assert "A with 1 label per class is worse than names alone: its labels cost 20.0 points" in notes
    assert "A with 16 labels per class can't be told from names alone (Names)." in notes
    assert not any("picked by its test accuracy" in note for note in part.notes)


def test_one_draw_claims_nothing_about_other_draws() -> None:
    part = _part({("A", 16): 0.9}, draws=1)
    assert part.headline is not None
    assert "on average" not in part.headline.sentence
    assert "one draw says nothing about other labelled images" in part.scores_note


def test_what_labels_to_choose_on_add_is_not_part_of_the_headline() -> None:
    shares = {("A", 4): 0.8, ("A+val", 4): 0.9, ("A", 8): 0.85}
    part = _part(shares, equal_labels={"4": 8}, shots=[4])
    assert part.headline is not None
    assert (part.headline.share, part.scores[0].method) == (0.8, "A")
    assert "stand at the labels they used" in part.curves_note
    full = _part(shares, shots=[4])
    assert "Further labels, to choose on, went to A+val" in full.curves_note
    assert [(s.method, s.standing) for s in full.scores] == [("A", ""), ("A+val", "")]
    assert full.scores[1].remark == "8.0 labels per class used, so not ranked"


def test_notes_of_a_method_are_said_once_and_only_in_its_own_part() -> None:
    one = results({("A", 16): 0.9})
    other = results({("B", 16): 0.9}, dataset="bees", cell={"notes": ["Mind that."]})
    parts = comparison_page(Results.joined([one, other])).parts
    assert parts[0].notes == ("A note of the data set.", "A: Mind this.")
    assert parts[1].notes == ("A note of the data set.", "B: Mind that.")
