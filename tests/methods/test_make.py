"""Names and values as users type them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from clipwright.core.errors import UsageError
from clipwright.methods import get, make, names, runnable
from clipwright.methods.example import example
from clipwright.methods.taskres import TaskRes
from clipwright.methods.zero_shot import ZeroShot
from clipwright.task import Access, Need


@pytest.mark.parametrize("name", ["ZeroShot", "zeroshot", "zero-shot", "zero_shot", "Zero Shot"])
def test_spelling_of_a_name_does_not_matter(name: str) -> None:
    assert get(name) is ZeroShot


def test_an_unknown_method_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match="choose one of ZeroShot, TaskRes"):
        make("TaskRez")


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("alpha", "1", 1.0),
        ("alpha", " 0.25 ", 0.25),
        ("learning_rate", "2e-4", 2e-4),
        ("epochs", "50", 50),
        ("epochs", "none", None),
        ("epochs", "None", None),
        ("legacy_drop_last", "false", False),
        ("legacy_drop_last", "True", True),
        ("use_views", "no", False),
        ("schedule", "constant", "constant"),
        ("text_scale", "auto", "auto"),
        ("text_scale", "1", 1.0),
        ("averaging", "raw_mean", "raw_mean"),
        ("alpha", 1, 1.0),
        ("epochs", None, None),
    ],
)
def test_values_are_read_as_the_command_line_has_them(field: str, text: Any, value: object) -> None:
    read = getattr(make("TaskRes", **{field: text}), field)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("alpha", "-1", "greater than 0"),
        ("alpha", 0, "greater than 0"),
        ("alpha", "nan", "finite|greater"),
        ("alpha", "inf", "finite"),
        ("alpha", "none", "valid number"),
        ("alpha", "much", "valid number"),
        ("epochs", "0", "greater than or equal to 1"),
        ("epochs", "1.5", "valid integer"),
        ("batch_size", "none", "valid integer"),
        ("weight_decay", "-0.1", "greater than or equal to 0"),
        ("schedule", "steps", "'cosine' or 'constant'"),
        ("text_scale", "big", "'auto' or .*valid number"),
        ("averaging", "median", "raw_mean"),
        ("legacy_drop_last", "[1", "valid boolean"),
    ],
)
def test_values_out_of_range_are_refused_in_one_sentence(field: str, value: object, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        make("task-res", **{field: value})
    assert str(caught.value).startswith(f"TaskRes: {field} = ")
    assert "\n" not in str(caught.value)


def test_an_unknown_hyper_parameter_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match="TaskRes has no hyper-parameter 'lr': it has alpha, learning_rate, epochs"):
        make("TaskRes", lr=1)


def test_a_configuration_is_frozen_hashable_and_equal_by_value() -> None:
    assert make("TaskRes", alpha="0.5") == TaskRes()
    assert hash(TaskRes(alpha=1)) == hash(TaskRes(alpha=1.0))
    with pytest.raises(AttributeError):
        TaskRes().alpha = 1.0  # type: ignore[misc] # that is the point
    with pytest.raises(ValidationError):
        TaskRes(alpha=-1)


def test_runnable_names_what_the_task_allows() -> None:
    from_texts = ("ZeroShot", "CODER", "CuPL", "DCLIP", "WaffleCLIP")
    assert runnable(example({Need.TEXT}).task) == from_texts
    piles = {"Transductive", "LabelPropagation"}
    trained = {name for name in names() if Access.WEIGHTS in make(name).requires().access}
    # A box that takes soft prompts, unlabeled images, weights.
    elsewhere = {"CraFT", "LattePrototypes", *piles, *trained}
    with_layer = tuple(name for name in names() if name not in elsewhere)
    without_layer = tuple(name for name in with_layer if name != "ProLIP")
    assert runnable(example({Need.TEXT, Need.LABELS}).task) == without_layer
    assert runnable(example({Need.TEXT, Need.LABELS, Need.PRE_PROJECTION}).task) == with_layer
    for rows in (Need.UNLABELED, Need.QUERY):
        assert piles < set(runnable(example({Need.TEXT, rows}).task))
    assert runnable(example({Need.UNLABELED}).task) == ()
