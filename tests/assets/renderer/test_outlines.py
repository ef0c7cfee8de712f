import math

import numpy as np
import pytest

from clipwright.assets.renderer import outlines


@pytest.mark.parametrize("name", outlines.SHAPES)
@pytest.mark.parametrize("form", [0.0, 0.5, 1.0])
def test_shapes_fill_their_box_and_stay_inside(name: str, form: float) -> None:
    x, y = outlines.grid(48, 2)
    covered = outlines.inside(name, 1.1 * x, 1.1 * y, form)
    assert not np.delete(covered.ravel(), np.flatnonzero(np.pad(np.ones((88, 88)), 4))).any()
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    assert max(np.ptp(rows), np.ptp(columns)) > 60
    assert 0.08 < covered.mean() < 0.75


@pytest.mark.parametrize(
    ("name", "area"),
    [("circle", math.pi * 0.85**2), ("square", 1.48**2), ("hexagon", 1.5 * math.sqrt(3) * 0.92**2)],
)
def test_areas(name: str, area: float) -> None:
    x, y = outlines.grid(64, 8)
    assert 4 * outlines.inside(name, x, y).mean() == pytest.approx(area, rel=1e-2)


def test_shapes_differ_from_each_other() -> None:
    x, y = outlines.grid(32, 2)
    masks = [outlines.inside(name, x, y) for name in outlines.SHAPES]
    for i, first in enumerate(masks):
        for second in masks[:i]:
            assert (first & second).sum() / (first | second).sum() < 0.93


def test_coverage_counts_sub_pixels() -> None:
    covered = np.zeros((4, 4), dtype=np.bool_)
    covered[:2, :3] = True
    assert outlines.coverage(covered, 2).tolist() == [[4, 2], [0, 0]]
