"""What the page about a comparison says, against the results it was made from."""

from __future__ import annotations

from typing import Any

import pytest
from tests.report.made import results

from clipwright.core.errors import DataError
from clipwright.protocol.results import Results
from clipwright.report.comparison import comparison_page, titles
from clipwright.report.render import render


def _two(**other: Any) -> Results:
    shares = {("Names", 0): 0.6, ("A", 1): 0.7, ("B", 1): 0.65, ("A", 16): 0.9, ("B", 16): 0.8}
    return Results.joined([results(shares), results({**shares, ("B", 16): 0.95}, **other)])


def test_facts_name_what_was_run_and_skipped_images_are_counted() -> None:
    page = comparison_page(results({("A", 16): 0.9}), command="clipwright demo", notes=("First.",))
    (part,) = page.parts
    assert [(f.label, f.value) for f in page.facts] == [("Command", "clipwright demo")]
    facts = {fact.label: fact.value for fact in part.facts}
    assert facts["Draws"] == "4, seed 7"
    assert facts["Backbone digest"] == "b" * 16
    assert facts["Scored on"] == "400 images of the test split, once, after fitting"
    assert facts["Prompts"] == "a photo of a {}. and 1 more"
    assert (part.n_skipped, len(part.skipped)) == (250, 200)
    assert page.notes == ("First.",)
    html = render(page)
    assert html.index("clipwright demo") < html.index("Backbone digest")
    assert html.index("First.") < html.index("A note of the data set.")


def test_groups_are_parts_and_one_can_be_shown_alone() -> None:
    both = _two(backbone="big")
    page = comparison_page(both)
    assert page.title == "Comparison"
    assert page.subtitle == "birds, 2 backbones"
    assert page.overview is not None
    assert [(p.title, p.headline.share) for p in page.parts if p.headline] == [("tiny", 0.9), ("big", 0.95)]
    alone = comparison_page(both, group=("birds", "big"))
    assert alone.overview is None
    assert [p.headline.share for p in alone.parts if p.headline] == [0.95]
    with pytest.raises(DataError, match="no results of birds with huge"):
        comparison_page(both, group=("birds", "huge"))


def test_parts_are_called_by_what_tells_them_apart() -> None:
    assert list(titles([("a", "x"), ("b", "x")]).values()) == ["a", "b"]
    assert list(titles([("a", "x"), ("a", "y")]).values()) == ["x", "y"]
    assert list(titles([("a", "x"), ("b", "y")]).values()) == ["a, x", "b, y"]


def test_many_parts_show_fewer_pictures_each() -> None:
    def pictures(n: int) -> int:
        found = [results({("A", 16): 0.9}, dataset=f"set {i}") for i in range(n)]
        return len(comparison_page(Results.joined(found)).parts[0].galleries[-1].examples)

    assert pictures(1) == pictures(4) == 4, "there are four images"
    assert pictures(5) == 4


def test_no_results_make_no_page() -> None:
    with pytest.raises(DataError, match="run a comparison first"):
        comparison_page(Results.from_rows([], []))
    with pytest.raises(DataError, match="nothing can be ranked"):
        comparison_page(results({("A+val", 1): 0.7}))


def test_the_page_of_one_group_renders() -> None:
    html = render(comparison_page(results({("Names", 0): 0.6, ("A", 1): 0.7, ("A", 16): 0.9}), title="Birds"))
    assert "wren &lt;i&gt;" in html
    assert html.count("<svg") == 6, "curves, costs and reliability, each wide and narrow"
    assert "<details class" not in html


def test_the_page_of_several_groups_renders() -> None:
    html = render(comparison_page(_two(dataset="bees <b>")))
    assert html.count('<details class="part" open>') == 2
    assert "bees &lt;b&gt;" in html
    assert 'href="#p2"' in html
    assert 'id="p2"' in html
