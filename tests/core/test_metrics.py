"""Metrics against scikit-learn, and against loops that spell the definitions out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from clipwright.core import metrics
from clipwright.core.errors import DataError


def _case(seed: int, n: int = 200, classes: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    logits = rng.normal(size=(n, classes)) * 2
    logits[np.arange(n), labels] += 1.5
    return logits, labels


@pytest.mark.parametrize("seed", range(5))
def test_agree_with_scikit_learn(seed: int) -> None:
    logits, labels = _case(seed)
    p, predicted, classes = metrics.softmax(logits), logits.argmax(1), np.arange(7)
    np.testing.assert_allclose(metrics.accuracy(logits, labels), reference.accuracy_score(labels, predicted))
    np.testing.assert_allclose(
        metrics.top_k_accuracy(logits, labels, 3), reference.top_k_accuracy_score(labels, logits, k=3)
    )
    np.testing.assert_allclose(
        metrics.macro_accuracy(predicted, labels, 7), reference.balanced_accuracy_score(labels, predicted)
    )
    np.testing.assert_allclose(
        metrics.per_class_accuracy(predicted, labels, 7), reference.recall_score(labels, predicted, average=None)
    )
    np.testing.assert_array_equal(
        metrics.confusion_matrix(predicted, labels, 7), reference.confusion_matrix(labels, predicted)
    )
    np.testing.assert_allclose(
        metrics.negative_log_likelihood(logits, labels), reference.log_loss(labels, p, labels=classes)
    )
    one_hot = np.eye(7)[labels]
    expected = np.mean([reference.mean_squared_error(a, b) * 7 for a, b in zip(one_hot, p, strict=True)])
    np.testing.assert_allclose(metrics.brier_score(logits, labels), expected)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_calibration_error_by_its_definition(bins: int) -> None:
    logits, labels = _case(3, n=500)
    p = metrics.softmax(logits)
    confidence, right = p.max(1), p.argmax(1) == labels
    expected = 0.0
    for b in range(bins):
        inside = (confidence > b / bins) & (confidence <= (b + 1) / bins)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    np.testing.assert_allclose(metrics.expected_calibration_error(logits, labels, bins), expected)


def test_summary_holds_what_the_single_functions_say() -> None:
    logits, labels = _case(1, classes=12)
    found = metrics.score_rows(logits, labels).summary()
    assert list(found) == ["top1", "macro", "nll", "ece", "brier", "aurc", "top5", "top10"]
    np.testing.assert_allclose(found["top5"], metrics.top_k_accuracy(logits, labels, 5))
    np.testing.assert_allclose(found["ece"], metrics.expected_calibration_error(logits, labels))
    assert "top5" not in metrics.score_rows(*_case(1, classes=5)).summary()


def test_of_equal_logits_the_first_class_wins_everywhere() -> None:
    logits, labels = np.zeros((4, 4)), np.arange(4)
    rows = metrics.score_rows(logits, labels)
    assert rows.predicted.tolist() == [0, 0, 0, 0]
    assert rows.rank.tolist() == [0, 1, 2, 3]
    assert [rows.top_k(k) for k in (1, 2, 3, 4)] == [0.25, 0.5, 0.75, 1.0]


@given(st.integers(0, 10_000), st.floats(-1e3, 1e3), st.integers(1, 60))
def test_a_shift_of_all_logits_changes_nothing(seed: int, shift: float, n: int) -> None:
    logits, labels = _case(seed, n)
    one, other = metrics.score_rows(logits, labels), metrics.score_rows(logits + shift, labels)
    np.testing.assert_allclose(one.nll, other.nll, atol=1e-9)
    np.testing.assert_allclose(one.brier, other.brier, atol=1e-9)
    assert 0 <= one.summary()["ece"] <= 1


def test_blocks_don_t_show(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = _case(0)
    whole = metrics.score_rows(logits, labels)
    monkeypatch.setattr(metrics, "_BLOCK", 21)  # three rows at a time
    parts = metrics.score_rows(logits, labels)
    for name in ("predicted", "rank", "confidence", "nll", "brier"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_huge_logits_stay_finite() -> None:
    rows = metrics.score_rows(np.array([[1e4, 0.0], [0.0, 1e4]]), np.array([0, 0]))
    assert np.isfinite(rows.nll).all()
    assert rows.nll[1] == 1e4


def test_classes_without_rows_are_nan_and_left_out_of_the_mean() -> None:
    per_class = metrics.per_class_accuracy(np.array([0, 2]), np.array([0, 0]), 3)
    np.testing.assert_array_equal(per_class, [0.5, np.nan, np.nan])
    assert metrics.macro_accuracy(np.array([0, 2]), np.array([0, 0]), 3) == 0.5


@pytest.mark.parametrize(
    ("logits", "labels", "says"),
    [
        (np.zeros((2, 3)), np.array([0]), r"shapes are \(2, 3\) and \(1,\)"),
        (np.zeros((0, 3)), np.zeros(0, int), "nothing to score"),
        (np.zeros((1, 3)), np.array([3]), r"must lie in 0\.\.2"),
        (np.zeros((1, 3)), np.array([-1]), "range from -1"),
        (np.zeros((1, 3)), np.array([0.5]), "must be integers"),
        (np.array([[np.nan, 0.0]]), np.array([0]), "NaN or infinity"),
    ],
)
def test_refuses_what_can_t_be_scored(logits: np.ndarray, labels: np.ndarray, says: str) -> None:
    with pytest.raises(DataError, match=says):
        metrics.score_rows(logits, labels)


@pytest.mark.parametrize("seed", range(5))
def test_aurc_is_the_mean_risk_over_all_coverages(seed: int) -> None:
    """Against a loop; ties are averaged over random orders."""
    rng = np.random.default_rng(seed)
    confidence = rng.choice([0.2, 0.5, 0.7, 0.9], 40) if seed % 2 else rng.random(40)
    correct = rng.random(40) < 0.7

    def once() -> float:
        order = sorted(range(40), key=lambda i: (-confidence[i], rng.random()))
        errors = [1 - bool(correct[i]) for i in order]
        return float(np.mean([np.mean(errors[: n + 1]) for n in range(40)]))

    expected = np.mean([once() for _ in range(2000 if seed % 2 else 1)])
    tolerance = 5e-3 if seed % 2 else 1e-12
    assert metrics.risk_coverage_area(confidence, correct) == pytest.approx(expected, abs=tolerance)


def test_aurc_at_its_ends() -> None:
    assert metrics.risk_coverage_area([0.9, 0.8], [True, True]) == 0
    assert metrics.risk_coverage_area([0.9, 0.8], [False, False]) == 1
    best = metrics.risk_coverage_area([0.9, 0.8, 0.1], [True, True, False])
    assert best == pytest.approx(1 / 9)
    assert metrics.risk_coverage_area([0.1, 0.8, 0.9], [True, True, False]) > best
