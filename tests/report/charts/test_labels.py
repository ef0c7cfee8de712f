"""Names beside points touch neither each other nor the edge, as long as there is room."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from clipwright.report.charts.labels import HEIGHT, Box, placed

_FRAME = Box(0, 0, 720, 320)


@given(
    st.lists(st.tuples(st.floats(10, 710), st.floats(10, 310)), min_size=1, max_size=8),
    st.lists(st.floats(20, 150), min_size=8, max_size=8),
)
def test_labels_keep_clear_of_each_other_and_inside(points: list[tuple[float, float]], widths: list[float]) -> None:
    places = placed(points, widths[: len(points)], _FRAME)
    for one, other in combinations(places, 2):
        assert one.box.overlap(other.box) < 0.25 * HEIGHT * 20, "at most a sliver"
    for place in places:
        assert place.box.overlap(_FRAME) > 0.999 * place.box.area


def test_a_label_stands_at_the_right_of_its_point_where_nothing_is_in_the_way() -> None:
    (place,) = placed([(100, 100)], [80], _FRAME)
    assert place.side == "right"
    assert place.box.left > 100
    assert not place.tied


def test_a_label_at_the_right_edge_stands_at_the_left() -> None:
    (place,) = placed([(700, 100)], [80], _FRAME)
    assert place.side == "left"
    assert place.box.right < 700


def test_labels_of_points_in_one_place_are_tied_to_it_by_lines() -> None:
    places = placed([(360, 160)] * 6, [100] * 6, _FRAME)
    assert sum(p.tied for p in places) >= 4
    assert not any(a.box.overlap(b.box) for a, b in combinations(places, 2))


def test_a_label_goes_round_a_line() -> None:
    wall = Box(150, 0, 154, 320)
    (place,) = placed([(100, 100)], [80], _FRAME, [wall])
    assert not place.box.overlap(wall)
