"""What the page about a comparison says, against the results it was made from."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from clipwright.core.errors import DataError
from clipwright.protocol.results import PREDICTIONS, Results
from clipwright.report.comparison import comparison_page
from clipwright.report.render import render

_N = 400
_CONFIG: dict[str, Any] = {
    "dataset": "birds",
    "dataset_digest": "d" * 64,
    "class_names": ["wren <i>", "owl"],
    "backbone": "tiny",
    "backbone_digest": "b" * 64,
    "templates": ["a photo of a {}.", "a {}."],
    "shots": [0, 1, 16],
    "draws": 4,
    "seed": 7,
    "validation": "none",
    "images": 1000,
    "train_pool": 600,
    "test": _N,
    "test_rule": "split",
    "notes": ["A note of the data set."],
    "skipped": [["a.png", "truncated"]] * 250,
    "seconds_prepare": 12.0,
    "versions": {"clipwright": "1"},
}


def _results(shares: dict[tuple[str, int], float], draws: int = 4, keep: bool = True, **config: Any) -> Results:
    """Methods with exactly these shares of one difficulty-ordered test set."""
    rows = []
    for (method, shots), share in shares.items():
        for draw in range(draws if shots else 1):
            right = np.arange(_N) < share * _N
            rows.append(
                {
                    "dataset": "birds",
                    "backbone": "tiny",
                    "method": method,
                    "shots": shots,
                    "draw": draw,
                    "top1": float(right.mean()),
                    "macro": 0.5,
                    "nll": 1.0,
                    "ece": 0.1,
                    "seconds_fit": 0.5,
                    "seconds_predict": 0.0,
                    "n_test": _N,
                    "right": np.packbits(right).tobytes(),
                    "labels_per_class": [shots, shots],
                    "chosen": json.dumps({"alpha": 0.5, "steps": 10 * shots}),
                    "how": json.dumps({"alpha": "fixed", "steps": "rule"}),
                    "notes": ["Mind this."],
                }
            )
    kept = []
    if keep:
        method, shots = max(shares, key=lambda k: (k[1], shares[k]))
        columns = [["birds"] * 4, ["tiny"] * 4, [method] * 4, [shots] * 4, [0] * 4]
        said = [["a", "b", "c", "d"], [0, 0, 1, 1], [0, 1, 1, 1], [0.9, 0.8, 0.7, 0.6]]
        kept = [pa.table([*columns, *said], schema=PREDICTIONS)]
    return Results.from_rows(rows, [_CONFIG | config], kept)


def test_the_headline_is_the_best_at_most_labels_with_its_gain_over_names() -> None:
    page = comparison_page(_results({("Names", 0): 0.6, ("A", 1): 0.7, ("A", 16): 0.9, ("B", 16): 0.8}))
    assert page.headline is not None
    assert page.headline.share == 0.9
    assert page.headline.sentence.replace("\u202f", " ") == (
        "A names 90.0 % of 400 test images right from 16 labels per class, "
        "on average over 4 draws of the labelled images."
    )
    assert "Names alone give 60.0" in page.headline.aside
    assert "add 30.0 points (25.5 to 34.5)" in page.headline.aside


def test_ties_are_said_and_shown() -> None:
    page = comparison_page(_results({("Names", 0): 0.6, ("A", 16): 0.9, ("B", 16): 0.8975, ("C", 16): 0.7}))
    assert page.headline is not None
    assert page.headline.sentence.endswith("B ties with it.")
    assert [(s.method, s.standing) for s in page.scores] == [("Names", ""), ("A", "best"), ("B", "tied"), ("C", "")]
    assert "includes zero" in page.scores_note
    assert any("picked by its test accuracy" in note for note in page.notes)


def test_labels_that_do_not_help_are_said_to() -> None:
    page = comparison_page(_results({("Names", 0): 0.9, ("A", 1): 0.7, ("A", 16): 0.9}))
    assert page.headline is not None
    assert "make no difference that these images and draws could show (+0.0 points)" in page.headline.aside
    notes = " ".join(page.notes)
    assert "A with 1 label per class is worse than names alone: its labels cost 20.0 points" in notes
    assert "A with 16 labels per class can't be told from names alone (Names)." in notes
    assert not any("picked by its test accuracy" in note for note in page.notes)


def test_one_draw_claims_nothing_about_other_draws() -> None:
    page = comparison_page(_results({("A", 16): 0.9}, draws=1))
    assert page.headline is not None
    assert "on average" not in page.headline.sentence
    assert "one draw says nothing about other labelled images" in page.scores_note


def test_settings_say_by_shots_what_was_chosen_and_how() -> None:
    page = comparison_page(_results({("A", 1): 0.7, ("A", 16): 0.9}))
    assert [(s.name, s.value, s.how) for s in page.settings] == [
        ("alpha", "0.5", "fixed for all data sets"),
        ("steps", "10 at 1; 160 at 16", "a rule of labels and classes"),
    ]


def test_values_that_draws_chose_are_ordered_as_numbers() -> None:
    parts = [_results({("A", 1): 0.7}), _results({("A", 1): 0.8}), _results({("A", 1): 0.9})]
    rows = [
        row | {"draw": i, "chosen": json.dumps({"alpha": alpha})}
        for i, (part, alpha) in enumerate(zip(parts, (10, 9, 100), strict=True))
        for row in part.cells.slice(0, 1).to_pylist()
    ]
    (setting,) = comparison_page(Results.from_rows(rows, [_CONFIG])).settings
    assert setting.value == "3 values, 9 to 100"


def test_examples_classes_and_confusions_come_from_the_headline_s_first_draw() -> None:
    page = comparison_page(_results({("Names", 0): 0.6, ("A", 16): 0.9}))
    assert [c.right for c in page.classes] == [1, 2]
    assert page.confusions[0].label == "wren <i>"
    assert "first draw of A with 16 labels per class" in page.classes_note
    bare = comparison_page(_results({("A", 16): 0.9}, keep=False))
    assert not bare.classes
    assert not bare.galleries


def test_facts_name_what_was_run_and_skipped_images_are_counted() -> None:
    page = comparison_page(_results({("A", 16): 0.9}), command="clipwright demo", notes=("First.",))
    facts = {fact.label: fact.value for fact in page.facts}
    assert facts["Command"] == "clipwright demo"
    assert facts["Draws"] == "4, seed 7"
    assert facts["Backbone digest"] == "b" * 16
    assert facts["Scored on"] == "400 images of the test split, once, after fitting"
    assert facts["Prompts"] == "a photo of a {}. and 1 more"
    assert (page.n_skipped, len(page.skipped)) == (250, 200)
    assert page.notes[0] == "First."
    assert "A note of the data set." in page.notes
    assert page.notes.count("A: Mind this.") == 1


def test_a_group_is_shown_alone() -> None:
    one = _results({("A", 16): 0.9})
    other = _results({("A", 16): 0.5}, keep=False, backbone="big")
    cells = other.cells.set_column(1, "backbone", pa.array(["big"] * len(other)))
    both = Results.joined([one, Results(cells, other.runs, other.predictions)])
    assert [s.mean for s in comparison_page(both, group=("birds", "big")).scores] == [0.5]
    assert [s.mean for s in comparison_page(both).scores] == [0.9]
    with pytest.raises(DataError, match="no results of birds with huge"):
        comparison_page(both, group=("birds", "huge"))


def test_no_results_make_no_page() -> None:
    with pytest.raises(DataError, match="run a comparison first"):
        comparison_page(Results.from_rows([], []))


def test_the_page_renders() -> None:
    html = render(comparison_page(_results({("Names", 0): 0.6, ("A", 1): 0.7, ("A", 16): 0.9}), title="Birds"))
    assert "wren &lt;i&gt;" in html
    assert html.count("<svg") == 2
