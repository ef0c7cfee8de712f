"""What names are worth, and how candidates are configured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clipwright.methods.example import example
from clipwright.protocol.candidates import ALONE, BLEND, FEW_MEMBERS, MEMBERS, candidate, names_trust
from clipwright.task import Need, TextFeatures


def test_right_wrong_and_missing_names_are_told_apart() -> None:
    task = example({Need.TEXT, Need.LABELS}, shots=4).task
    assert task.text is not None
    assert names_trust(task).level == "fine"
    moved = TextFeatures(task.text.x, (task.text.classes + 1) % 5)
    assert names_trust(replace(task, text=moved)).level == "wrong"
    swapped = task.text.classes.clone()
    swapped[task.text.classes == 0], swapped[task.text.classes == 1] = 1, 0
    doubtful = names_trust(replace(task, text=TextFeatures(task.text.x, swapped)))
    assert doubtful.level == "doubtful"
    assert doubtful.share == pytest.approx(0.6, abs=0.1)
    assert names_trust(replace(task, text=None)).level == "none"


def test_every_name_is_a_method_that_can_be_made() -> None:
    task = example({Need.TEXT, Need.LABELS}).task
    for table in (ALONE, MEMBERS, FEW_MEMBERS):
        for members in table.values():
            for name in members:
                assert name != BLEND
                candidate(name, task).check(task)
