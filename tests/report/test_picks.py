"""How often each candidate was picked, and what that says of the choice."""

from __future__ import annotations

import json
from typing import Any

from tests.report.made import CONFIG, results

from clipwright.protocol.results import Results
from clipwright.report.comparison import comparison_page
from clipwright.report.picks import picks
from clipwright.report.render import render


def _picked(by_shots: dict[int, list[str]], **config: Any) -> Results:
    rows = []
    for shots, names in by_shots.items():
        made = results({("auto", shots): 0.8}, draws=len(names), keep=False, **config).cells.to_pylist()
        rows += [row | {"chosen": json.dumps({"method": name})} for row, name in zip(made, names, strict=True)]
    return Results.from_rows(rows, [CONFIG | {"shots": sorted(by_shots)} | config])


def test_shares_are_counted_by_shots_the_commonest_first() -> None:
    (found,) = picks(_picked({1: ["TaskRes", "TaskRes", "GDA"], 16: ["GDA", "GDA", "GDA"]}))
    assert found.method == "auto"
    assert (found.shots, found.fits) == ((1, 16), (3, 3))
    assert found.candidates == (("GDA", (1, 3)), ("TaskRes", (2, 0)))
    assert found.words.replace("\u202f", " ") == "Over 6 fits it took GDA most often, in 67 % of them."


def test_a_constant_choice_is_pointed_out() -> None:
    (found,) = picks(_picked({1: ["GDA", "GDA"], 16: ["GDA", "GDA"]}))
    assert "took GDA in all 4 fits: a constant choice" in found.words
    (single,) = picks(_picked({1: ["GDA"]}))
    assert "its only fit" in single.words


def test_a_choice_that_the_number_of_labels_makes_is_said_to_be() -> None:
    (found,) = picks(_picked({1: ["TaskRes"] * 3, 16: ["GDA"] * 3}))
    assert "The number of labels alone decided: TaskRes with 1 label, GDA with 16 labels." in found.words


def test_methods_that_pick_nothing_have_no_section() -> None:
    assert picks(results({("A", 1): 0.7})) == ()


def test_groups_are_counted_apart_and_together() -> None:
    both = Results.joined([_picked({1: ["GDA"]}), _picked({1: ["TaskRes"]}, dataset="bees")])
    assert [p.candidates for p in picks(both, ("birds", "tiny"))] == [(("GDA", (1,)),)]
    assert [p.candidates for p in picks(both)] == [(("GDA", (1,)), ("TaskRes", (1,)))]
    html = render(comparison_page(both))
    assert html.count(">What was picked</h") == 3, "in the overview and in each part"
