"""How hyper-parameters got their values."""

from __future__ import annotations

import json

from tests.report.made import CONFIG, results

from clipwright.protocol.results import Results
from clipwright.report.settings import settings

_GROUP = ("birds", "tiny")


def test_settings_say_by_shots_what_was_chosen_and_how() -> None:
    found = settings(results({("A", 1): 0.7, ("A", 16): 0.9}), _GROUP)
    assert [(s.name, s.value, s.how) for s in found] == [
        ("alpha", "0.5", "fixed for all data sets"),
        ("steps", "10 at 1; 160 at 16", "a rule of labels and classes"),
    ]


def test_values_that_draws_chose_are_ordered_as_numbers() -> None:
    row = results({("A", 1): 0.7}).cells.to_pylist()[0]
    rows = [row | {"draw": i, "chosen": json.dumps({"alpha": alpha})} for i, alpha in enumerate((10, 9, 100))]
    (setting,) = settings(Results.from_rows(rows, [CONFIG]), _GROUP)
    assert setting.value == "3 values, 9 to 100"


def test_the_method_that_was_picked_is_left_to_its_own_section() -> None:
    found = settings(results({("auto", 1): 0.7}, cell={"chosen": json.dumps({"method": "GDA", "beta": 1})}), _GROUP)
    assert [s.name for s in found] == ["beta"]


def test_values_that_are_no_numbers_are_counted() -> None:
    row = results({("A", 1): 0.7}).cells.to_pylist()[0]
    weights = ({"GDA": 0.75, "TaskRes": 0.25}, {"GDA": 1.0})
    rows = [row | {"draw": i, "chosen": json.dumps({"weights": w})} for i, w in enumerate(weights)]
    (setting,) = settings(Results.from_rows(rows, [CONFIG]), _GROUP)
    assert setting.value == "2 different"
    (setting,) = settings(Results.from_rows(rows[:1], [CONFIG]), _GROUP)
    assert setting.value == "GDA 0.75, TaskRes 0.25"
