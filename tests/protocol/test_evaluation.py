"""Figures of a finished classifier."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, log_loss, recall_score

from clipwright.core.errors import DataError
from clipwright.protocol.evaluation import evaluate_logits


def test_figures_equal_independent_ones(rng: np.random.Generator) -> None:
    logits, labels = rng.normal(size=(200, 6)), rng.integers(0, 6, 200)
    names = [f"c{i}" for i in range(6)]
    found = evaluate_logits(logits, labels, names, split="test")
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert found.top1 == pytest.approx(accuracy_score(labels, logits.argmax(1)))
    assert found.macro == pytest.approx(recall_score(labels, logits.argmax(1), average="macro"))
    assert found.nll == pytest.approx(log_loss(labels, p, labels=range(6)))
    assert found.topk.keys() == {5}
    assert found.low < found.top1 < found.high
    assert found.split == "test"
    assert sum(c["n"] for c in found.per_class.values()) == found.n == 200
    json.dumps(found.as_json(), allow_nan=False)


def test_a_class_without_images_has_no_accuracy() -> None:
    found = evaluate_logits(np.eye(3)[:2], [0, 1], ["a", "b", "c"])
    assert found.per_class["c"] == {"accuracy": None, "n": 0}
    assert found.macro == 1.0


def test_nothing_to_score_is_said() -> None:
    with pytest.raises(DataError, match="no labelled images"):
        evaluate_logits(np.empty((0, 3)), [], ["a", "b", "c"])
