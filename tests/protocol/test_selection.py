"""Which method a task is given, and why."""

from __future__ import annotations

import pytest
from tests.protocol.conftest import MakePrepared

from clipwright.core.errors import NeedsError
from clipwright.protocol.selection import choose
from clipwright.task import Task


def test_names_alone(make_prepared: MakePrepared) -> None:
    method, reason = choose(make_prepared().task())
    assert type(method).__name__ == "ZeroShot"
    assert "no labels" in reason


def test_labels_of_every_class(make_prepared: MakePrepared) -> None:
    prepared = make_prepared()
    method, reason = choose(prepared.task([0, 1, 12, 13, 24]))
    assert type(method).__name__ == "TaskRes"
    assert "at least 1 labelled" in reason


def test_a_class_without_labels_leaves_the_names(make_prepared: MakePrepared) -> None:
    method, reason = choose(make_prepared().task([0, 12]))
    assert type(method).__name__ == "ZeroShot"
    assert "1 of 3 classes" in reason


def test_nothing_at_all() -> None:
    with pytest.raises(NeedsError, match="give class names"):
        choose(Task(("a", "b")))
