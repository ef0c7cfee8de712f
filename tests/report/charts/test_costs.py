"""Accuracy against seconds: every method named, leaders filled, ticks in units that people use."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest

from clipwright.report.charts.costs import cost_chart, drawable, tick, ticks
from clipwright.report.charts.svg import SERIES
from clipwright.report.elements import Cost, Score


def _cost(name: str, seconds: float | None, mean: float = 0.8, standing: str = "", shots: int = 16) -> Cost:
    return Cost(Score(shots, name, mean, mean - 0.02, mean + 0.02, standing=standing), seconds)


def test_every_method_is_named_and_leaders_say_so() -> None:
    costs = [_cost("A", 0.01, 0.9, "best"), _cost("B", 2.0, 0.89, "tied"), _cost("C", 40.0, 0.7)]
    svg = cost_chart(costs, {"A": (SERIES[0], "o")}, key="k")
    assert re.search(r"<text[^>]*>A, best</text>", svg)
    assert re.search(r"<text[^>]*>B, tied</text>", svg)
    assert re.search(r"<text[^>]*>C</text>", svg)
    assert "A: 90.0 % for 10\u202fms (best)" in svg
    assert "fill: none" in svg, "who neither leads nor ties is hollow"


def test_names_are_text_whatever_they_hold() -> None:
    svg = cost_chart([_cost("<script>$x", 1.0), _cost("\x00\ud800" + "a" * 300, 2.0)], {}, key="k", width=360)
    assert "<script>" not in svg
    assert "a" * 30 not in re.sub(r'aria-label="[^"]*"', "", svg)
    svg.encode()


@pytest.mark.parametrize("seconds", [[0.0, 0.0], [1.0, 1.0], [1e-5, 4e5]])
def test_degenerate_times_are_drawn(seconds: list[float]) -> None:
    svg = cost_chart([_cost(f"m{i}", s) for i, s in enumerate(seconds)], {}, key="k")
    assert svg.startswith("<svg ")
    assert "nan" not in svg


def test_methods_of_unknown_time_are_not_drawn_and_leaders_choose_their_place_first() -> None:
    costs = [_cost("slow", None), _cost("plain", 1.0, 0.95), _cost("leader", 1.0, 0.9, "best")]
    assert [c.score.method for c in drawable(costs)] == ["leader", "plain"]


def test_ticks_are_in_the_unit_that_suits_them() -> None:
    assert [tick(s) for s in (0.002, 0.1, 5.0, 60.0, 600.0, 7200.0)] == [
        "2 ms",
        "100 ms",
        "5 s",
        "1 min",
        "10 min",
        "2 h",
    ]


@pytest.mark.parametrize("limits", [(-4.0, 6.0), (-3.0, -2.0), (-1.2, 1.1), (0.5, 3.9)])
@pytest.mark.parametrize("width", [280, 710])
def test_ticks_have_room_and_there_are_always_some(limits: tuple[float, float], width: int) -> None:
    at = [(math.log10(t) - limits[0]) / (limits[1] - limits[0]) * width for t in ticks(limits, width)]
    assert len(at) >= 2
    assert all(b - a >= 50 for a, b in pairwise(at))
    assert at[0] >= 20
    assert at[-1] <= width - 20
