"""Bins of confidence, figures over draws, and why there is no temperature."""

from __future__ import annotations

import numpy as np
import pytest
from tests.report.made import results

from clipwright.core.intervals import wilson
from clipwright.core.metrics import calibration_error
from clipwright.report.reliability import bins, figures, why_not
from clipwright.report.standings import scores

_GROUP = ("birds", "tiny")


def test_bins_are_those_that_the_calibration_error_counts(rng: np.random.Generator) -> None:
    confidence = rng.random(500)
    right = rng.random(500) < confidence**2
    found = bins(confidence, right)
    assert sum(b.share for b in found) == pytest.approx(1)
    error = sum(b.share * abs(b.accuracy - b.confidence) for b in found)
    assert error == pytest.approx(calibration_error(confidence, right))


def test_a_bin_of_few_images_has_a_wide_interval() -> None:
    (found,) = bins(np.array([0.9, 0.91]), np.array([True, False]))
    interval = wilson(1, 2)
    assert (found.low, found.high) == (interval.low, interval.high)


def test_figures_are_means_over_draws_and_unknown_where_a_draw_lacks_them() -> None:
    after = {"temperature": 2.0, "ece_calibrated": 0.03, "nll_calibrated": 0.8, "brier_calibrated": 0.3}
    made = results({("A", 16): 0.9}, cell=after)
    (found,) = figures(made, _GROUP, scores(made, _GROUP))
    assert np.asarray(found.ece, dtype=float) == pytest.approx([0.1, 0.03])
    assert found.temperature == 2.0
    assert found.aurc == pytest.approx(0.05)
    bare = results({("A", 16): 0.9})
    (without,) = figures(bare, _GROUP, scores(bare, _GROUP))
    assert without.brier[0] == pytest.approx(0.4)
    assert without.brier[1] is None
    assert without.temperature is None


def test_no_temperature_has_a_reason() -> None:
    assert "--calibrate" in why_not({}, 16)
    assert "this method had none" in why_not({"calibrate": True}, 0)
    assert "two labelled images of every class" in why_not({"calibrate": True}, 1)
