"""One data set and backbone of a comparison, laid out."""

from __future__ import annotations

from typing import Any

import pytest
from tests.report.made import results

from clipwright.report.comparison import comparison_page
from clipwright.report.page import Part


def _part(shares: dict[tuple[str, int], float], **more: Any) -> Part:
    (found,) = comparison_page(results(shares, **more)).parts
    return found


def test_examples_classes_and_confusions_come_from_the_headline_s_first_draw() -> None:
    part = _part({("Names", 0): 0.6, ("A", 16): 0.9})
    assert [c.right for c in part.classes] == [1, 2]
    assert part.confusions[0].label == "wren <i>"
    assert part.matrix is not None
    assert part.matrix.counts == ((1, 1), (0, 2))
    assert "first draw of A with 16 labels per class" in part.counted
    assert [g.title for g in part.galleries] == ["Named right", "Most confident mistakes", "Least certain"]
    bare = _part({("A", 16): 0.9}, keep=False)
    assert not bare.classes
    assert not bare.galleries
    assert bare.matrix is None
    assert bare.calibration is None


def test_confidences_are_shown_after_the_temperature_and_binned_before_and_after() -> None:
    raw = _part({("A", 16): 0.9}, calibrate=True)
    assert raw.calibration is not None
    assert not raw.calibration.after
    assert "needs at least two labelled images" in raw.calibration.note
    assert raw.galleries[-1].examples[0].confidence == 0.6
    part = _part({("A", 16): 0.9}, calibrated=True, calibrate=True)
    assert part.calibration is not None
    assert [b.confidence for b in part.calibration.before] == [0.6, 0.7, 0.8, 0.9]
    assert part.calibration.after[-1].confidence == pytest.approx((0.75 + 0.8) / 2), "two in one bin"
    assert "No temperature" not in part.calibration.note
    assert part.galleries[-1].examples[0].confidence == 0.55


def test_a_comparison_without_temperatures_says_how_to_get_them() -> None:
    part = _part({("A", 16): 0.9})
    assert part.calibration is not None
    assert "--calibrate" in part.calibration.note


def test_the_time_of_all_fits_is_that_of_the_group_alone() -> None:
    facts = {f.label: f.value for f in _part({("A", 1): 0.7, ("A", 16): 0.9}).facts}
    assert facts["Time"] == "12.0\u202fs features and texts, 4.0\u202fs all fits"
