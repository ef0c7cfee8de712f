"""What a training tells of itself."""

from __future__ import annotations

import json
import math

import pytest
import torch

from clipwright.training.loop import DivergedError
from clipwright.training.step_log import StepLog


def parts(value: float) -> dict[str, torch.Tensor]:
    return {"a": torch.tensor(value), "b": torch.tensor(2 * value, dtype=torch.float64)}


def test_means_of_epochs_and_the_last_line() -> None:
    log = StepLog()
    assert log.line() == ""
    for step, value in enumerate((0.1, 0.3)):
        log.add(0, step, 0.01, parts(value))
    assert log.line() == "a 0.1, b 0.2"  # the last step is not read before the next
    assert log.close() == pytest.approx({"a": 0.2, "b": 0.4})
    assert log.line() == "a 0.3, b 0.6"
    log.add(1, 2, 0.01, parts(7.0))
    assert log.close()["a"] == 7


def test_facts_go_through_json_to_the_bit() -> None:
    whole, first = StepLog(), StepLog()
    for step in range(3):
        whole.add(0, step, 0.01, parts(1 / (step + 3)))
    for step in range(2):
        first.add(0, step, 0.01, parts(1 / (step + 3)))
    second = StepLog()
    second.restore(json.loads(json.dumps(first.facts())))
    second.add(0, 2, 0.01, parts(1 / 5))
    assert second.close() == whole.close()


def test_what_is_not_finite_is_said_with_its_step() -> None:
    log = StepLog()
    log.add(2, 9, 0.01, parts(math.nan))
    with pytest.raises(DivergedError, match=r"epoch 2, step 9 \(a nan, b nan\): choose a smaller learning rate"):
        log.add(2, 10, 0.01, parts(1.0))
