"""Accuracy curves: labels that never touch, places on the axis, text that stays text."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipwright.report.charts.curves import accuracy_curves, spread, thinned
from clipwright.report.elements import Curve, CurvePoint

_UNIT = st.floats(0, 100)


@given(st.lists(_UNIT, min_size=1, max_size=9).map(sorted), st.floats(0.1, 12))
def test_labels_are_moved_apart_in_order_and_kept_inside_where_they_fit(values: list[float], gap: float) -> None:
    found = spread(values, gap, 0, 100)
    assert all(b - a >= gap - 1e-6 for a, b in pairwise(found))
    if (len(values) - 1) * gap <= 100:
        assert found[0] >= -1e-6
        assert found[-1] <= 100 + 1e-6


@given(st.lists(_UNIT, min_size=1, max_size=9, unique=True).map(sorted))
def test_labels_that_do_not_touch_stay_where_they_are(values: list[float]) -> None:
    gap = min((b - a for a, b in pairwise(values)), default=1.0)
    assert spread(values, gap, 0, 100) == pytest.approx(values, abs=1e-6)


def _curve(name: str, points: dict[int, float]) -> Curve:
    return Curve(name, tuple(CurvePoint(s, m, m - 0.02, m + 0.02) for s, m in points.items()))


def test_each_method_is_named_with_its_last_figure() -> None:
    svg = accuracy_curves([_curve("A", {0: 0.5}), _curve("B", {1: 0.6, 4: 0.7})], key="k")
    assert re.search(r"<text[^>]*>A 50\.0</text>", svg)
    assert re.search(r"<text[^>]*>B 70\.0</text>", svg)
    assert "A: 50.0 % from names only. B: 60.0 % from 1 label, 70.0 % from 4 labels." in svg


def test_names_are_text_whatever_they_hold() -> None:
    svg = accuracy_curves([_curve('<b>"$x', {1: 0.5, 2: 0.6}), _curve("\x00\ud800", {1: 0.4, 2: 0.5})], key="k")
    assert "&lt;b&gt;" in svg
    assert "<b>" not in svg
    assert "\x00" not in svg
    svg.encode()


@pytest.mark.parametrize("points", [{16: 0.5}, {0: 0.5}, {0: 1.0, 1: 1.0}, {1: 0.0, 2: 0.0}])
def test_degenerate_curves_are_drawn(points: dict[int, float]) -> None:
    svg = accuracy_curves([_curve("only", points)], key="k", width=360, height=300)
    assert svg.startswith("<svg ")
    assert "nan" not in svg


def test_the_same_curves_give_the_same_picture() -> None:
    curves = [_curve("A", {1: 0.5, 4: 0.6})]
    assert accuracy_curves(curves, key="k") == accuracy_curves(curves, key="k")


def test_numbers_under_the_axis_that_would_touch_are_left_out_powers_of_two_last() -> None:
    places = {s: float(i) for i, s in enumerate((0, 1, 2, 4, 8))} | {16: 5.0, 20: 5.3, 12: 4.6}
    assert thinned(places, 0.8) == [0, 1, 2, 4, 8, 16]
    assert thinned(places, 0.2) == [0, 1, 2, 4, 8, 12, 16, 20]
