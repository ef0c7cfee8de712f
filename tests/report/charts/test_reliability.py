"""Confidence against accuracy as a picture, with its text."""

from __future__ import annotations

import re

from clipwright.report.charts.reliability import reliability_chart, size
from clipwright.report.elements import Bin

_BINS = (Bin(0.4, 0.5, 0.2, 0.8, 0.1), Bin(0.95, 0.9, 0.85, 0.94, 0.9))


def test_each_panel_has_its_title_and_its_bins_in_words() -> None:
    svg = reliability_chart([("Before", _BINS), ("After", _BINS[:1])], key="k")
    assert re.search(r"<text[^>]*>Before</text>", svg)
    assert "Before: 40 % sure, 50 % right, 95 % sure, 90 % right. After: 40 % sure, 50 % right." in svg


def test_panels_stand_side_by_side_or_one_under_the_other() -> None:
    (wide, flat), (narrow, tall) = size(2, stacked=False), size(2, stacked=True)
    assert wide > narrow
    assert tall > flat
    for stacked, (width, height) in ((False, (wide, flat)), (True, (narrow, tall))):
        svg = reliability_chart([("a", _BINS), ("b", _BINS)], key="k", stacked=stacked)
        box = [float(v) for v in re.search(r'viewBox="([^"]*)"', svg).group(1).split()]  # type: ignore[union-attr] # there is one
        assert box[2:] == [0.75 * width, 0.75 * height]
