"""What all charts share."""

from __future__ import annotations

from clipwright.report.charts.svg import series_colours
from clipwright.report.elements import Curve, CurvePoint


def _curve(name: str, points: dict[int, float]) -> Curve:
    return Curve(name, tuple(CurvePoint(s, m, m - 0.02, m + 0.02) for s, m in points.items()))


def test_the_best_four_have_colours_of_their_own_and_the_rest_is_grey() -> None:
    curves = [_curve(f"m{i}", {1: 0.1, 16: 0.1 * i}) for i in range(1, 8)]
    found = series_colours(curves)
    assert [found[f"m{i}"] for i in (7, 6, 5, 4)] == [f"--series-{i}" for i in (1, 2, 3, 4)]
    assert {found[f"m{i}"] for i in (1, 2, 3)} == {"--rest"}


def test_a_curve_without_points_has_no_colour() -> None:
    assert series_colours([Curve("empty", ())]) == {}
