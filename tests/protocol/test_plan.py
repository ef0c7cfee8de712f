"""What a comparison is asked to run."""

from __future__ import annotations

import dataclasses

import pytest

from clipwright.core.errors import UsageError
from clipwright.methods import make
from clipwright.protocol.auto import Auto
from clipwright.protocol.plan import Arm, equal_labels, make_plan


def test_methods_that_look_at_no_labels_are_run_at_none() -> None:
    plan = make_plan([make("ZeroShot"), make("TaskRes")], (1, 4))
    assert plan.shots == (0, 1, 4)
    assert [plan.shots_of(arm) for arm in plan.arms] == [(0,), (1, 4)]


def test_auto_is_run_at_none_only_where_that_is_asked_for() -> None:
    assert make_plan([Auto()], (1, 4)).shots_of(Arm("auto", Auto())) == (1, 4)
    assert make_plan([Auto()], (0, 4)).shots_of(Arm("auto", Auto())) == (0, 4)


def test_beside_generated_images_every_method_is_run_at_none_where_that_is_asked_for() -> None:
    for shots, wanted in (((0, 4), (0, 4)), ((4,), (4,)), ((0,), (0,))):
        plan = dataclasses.replace(make_plan([make("GDA")], shots), generated=True)
        assert plan.shots_of(plan.arms[0]) == wanted
    assert make_plan([make("GDA")], (0, 4)).shots_of(Arm("GDA", make("GDA"))) == (4,)


def test_validation_doubles_the_methods_that_can_use_it() -> None:
    plan = make_plan([make("TaskRes"), make("GDA")], (2, 8), validation="few-shot")
    assert [arm.name for arm in plan.arms] == ["TaskRes", "GDA", "GDA+val"]
    assert [plan.shots_of(arm) for arm in plan.arms] == [(2, 4, 8, 12), (2, 4, 8, 12), (2, 8)]
    fixed = make_plan([make("GDA", alpha=1.0)], (2,), validation="few-shot")
    assert [arm.name for arm in fixed.arms] == ["GDA"]


@pytest.mark.parametrize(("shots", "total"), [(1, 2), (2, 4), (4, 8), (8, 12), (16, 20)])
def test_equal_labels(shots: int, total: int) -> None:
    assert equal_labels(shots) == total


def test_cells_depend_on_what_changes_them_and_on_nothing_else() -> None:
    def digest(**more: object) -> str:
        plan = make_plan([make("TaskRes")], (1, 4), **more)  # type: ignore[arg-type] # each is tried
        return plan.cell_digest(plan.arms[0])

    assert digest() == digest(draws=3) == digest(keep=2)
    assert len({digest(), digest(seed=1), digest(calibrate=True), digest(short="all"), digest(protocol="coop")}) == 5


def test_draws_by_default_are_ten_and_three_in_coops_protocol() -> None:
    assert make_plan([make("TaskRes")], (1,)).draws == 10
    assert make_plan([make("TaskRes")], (1,), protocol="coop").draws == 3


@pytest.mark.parametrize(
    ("methods", "shots", "draws", "says"),
    [
        ([], (1,), 1, "no methods"),
        ([make("TaskRes"), make("TaskRes", alpha=1)], (1,), 1, "need names"),
        ([make("TaskRes")], (), 1, "shots must be"),
        ([make("TaskRes")], (-1,), 1, "none negative"),
        ([make("TaskRes")], (1,), 0, "at least one draw"),
    ],
)
def test_nonsense_is_refused(methods: list, shots: tuple, draws: int, says: str) -> None:  # type: ignore[type-arg] # of many kinds
    with pytest.raises(UsageError, match=says):
        make_plan(methods, shots, draws)
