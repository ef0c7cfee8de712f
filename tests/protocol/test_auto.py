"""Automatic choice: what it picks and says, that it conforms, and that it falls back on weak names and weak labels."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from pydantic.dataclasses import dataclass
from tests.protocol.conftest import MakePrepared

from clipwright.core.errors import NeedsError, UsageError
from clipwright.fitted import Fitted
from clipwright.heads.blend import BlendHead
from clipwright.methods import make
from clipwright.methods.base import Requirements, wants
from clipwright.methods.conformance import CHECKS, Subject
from clipwright.methods.example import Example, example
from clipwright.protocol.auto import LEFT_OUT, Auto, Scored, cheapest_within, configured, real_only
from clipwright.protocol.candidates import BLEND, FEW_MEMBERS, PILED, candidate
from clipwright.protocol.runner import run
from clipwright.task import Need, Task, TextFeatures


@dataclass(frozen=True)
class WithBoth(Auto):
    """Asks for texts and labels, as the checks want to be told."""

    def requires(self) -> Requirements:
        return wants(views=True, validation=True)


class Shots(Subject):
    """Example tasks with a given number of labels per class."""

    def __init__(self, shots: int) -> None:
        super().__init__(WithBoth())
        self.shots = shots

    def example(self, *, optional: bool = False, **options: Any) -> Example:
        return super().example(optional=optional, **{"shots": self.shots} | options)


# A task without labels is not refused but answered by names, and the docstring is the parent's.
BESIDE = {"empty_support", "needs_messages", "described"}


@pytest.mark.parametrize("check", sorted(CHECKS.keys() - BESIDE))
@pytest.mark.parametrize("shots", [1, 3, 7])
def test_it_conforms(check: str, shots: int) -> None:
    CHECKS[check](Shots(shots))


def test_its_fields_are_described() -> None:
    CHECKS["described"](Subject(Auto()))


def picked(fitted: Fitted) -> str:
    return str(fitted.trace.chosen["method"])


def test_names_alone(make_prepared: MakePrepared) -> None:
    fitted = Auto().fit(make_prepared().task())
    assert picked(fitted) == "ZeroShot"
    assert "no labels" in fitted.trace.reason
    assert fitted.trace.labels_per_class == (0, 0, 0)


def test_a_class_without_labels_leaves_the_names(make_prepared: MakePrepared) -> None:
    fitted = Auto().fit(make_prepared().task([0, 12]))
    assert picked(fitted) == "ZeroShot"
    assert "1 of 3 classes" in fitted.trace.reason


def test_names_and_unlabeled_images(make_prepared: MakePrepared) -> None:
    prepared = make_prepared((20, 20, 20))
    fitted = Auto().fit(prepared.task(unlabeled=range(60)))
    assert picked(fitted) == PILED
    assert fitted.trace.how["method"] == "rule"
    assert "no labels" in fitted.trace.reason
    assert fitted.trace.reason.endswith("No label could check this choice.")
    assert any("names alone disagree on" in note for note in fitted.trace.notes)
    assert fitted.trace.labels_per_class == (0, 0, 0)
    wanted = make(PILED).fit(prepared.task(unlabeled=range(60)))
    torch.testing.assert_close(fitted(prepared.rows([0, 30])), wanted(prepared.rows([0, 30])), rtol=0, atol=0)


def test_unlabeled_images_of_some_classes_leave_the_names(make_prepared: MakePrepared) -> None:
    prepared = make_prepared((20, 20, 20), noise=0.2)
    task = prepared.task(unlabeled=range(40))
    fitted = Auto().fit(task)
    assert picked(fitted) == "ZeroShot"
    assert "1 of 3 classes have next to no image" in fitted.trace.reason
    assert fitted.trace.notes
    rows = prepared.rows([0, 30, 50])
    torch.testing.assert_close(fitted(rows), make("ZeroShot").fit(task)(rows), rtol=0, atol=0)
    text = task.text
    assert text is not None
    described = TextFeatures(
        torch.cat([text.x, text.x]), torch.cat([text.classes] * 2), kind=("template",) * 3 + ("attribute",) * 3
    )
    assert picked(Auto().fit(dataclasses.replace(task, text=described))) == "CODER"
    whole = prepared.task(unlabeled=range(60))
    assert picked(Auto().fit(dataclasses.replace(whole, text=described))) == PILED


def test_unlabeled_images_count_where_a_class_has_no_label(make_prepared: MakePrepared) -> None:
    prepared = make_prepared((20, 20, 20))
    fitted = Auto().fit(prepared.task([0, 20], unlabeled=range(60)))
    assert picked(fitted) == PILED
    assert "1 of 3 classes have no labelled image" in fitted.trace.reason
    assert fitted.trace.labels_per_class == (0, 0, 0)


def test_unlabeled_images_have_no_say_beside_labels(make_prepared: MakePrepared) -> None:
    prepared = make_prepared((20, 20, 20))
    support = [0, 20, 40]
    found, wanted = Auto().fit(prepared.task(support, unlabeled=range(60))), Auto().fit(prepared.task(support))
    assert found.trace.reason == wanted.trace.reason
    assert found.trace.notes == wanted.trace.notes
    for name, tensor in wanted.head.state_dict().items():
        torch.testing.assert_close(found.head.state_dict()[name], tensor, rtol=0, atol=0)


def test_unlabeled_images_without_names_are_of_no_use(make_prepared: MakePrepared) -> None:
    task = dataclasses.replace(make_prepared((20, 20, 20)).task(unlabeled=range(60)), text=None)
    with pytest.raises(NeedsError, match="nothing can be fitted: give text features"):
        Auto().fit(task)


def test_a_comparison_without_labels_gives_it_the_training_images(make_prepared: MakePrepared) -> None:
    results = run(make_prepared((40, 40, 40), test=20), {"auto": Auto(), PILED: make(PILED)}, (0,), 1, quiet=True)
    cells = {row["method"]: row for row in results.cells.to_pylist()}
    assert "60 unlabeled images" in cells["auto"]["reason"]
    assert cells["auto"]["top1"] >= cells[PILED]["top1"] - 0.05  # the latter answers the test images together


def test_labels_without_names(make_prepared: MakePrepared) -> None:
    task = dataclasses.replace(make_prepared().task([0, 1, 12, 13, 24, 25]), text=None)
    assert picked(Auto().fit(task)) == "LinearProbe"


def test_nothing_at_all() -> None:
    with pytest.raises(NeedsError, match="nothing can be fitted: give text features"):
        Auto().fit(Task(("a", "b")))


def test_one_label_per_class_is_an_even_blend_by_rule() -> None:
    case = example({Need.TEXT, Need.LABELS}, shots=1)
    fitted = Auto().fit(case.task)
    members = FEW_MEMBERS["fine"]
    assert picked(fitted) == BLEND
    assert fitted.trace.how["method"] == "rule"
    assert fitted.trace.chosen["weights"] == dict.fromkeys(members, 1 / 3)
    expected = sum(candidate(name, case.task).fit(case.task)(case.test) for name in members) / 3
    torch.testing.assert_close(fitted(case.test), expected, rtol=1e-9, atol=1e-9)


def test_more_labels_are_scored_on_what_folds_leave_out() -> None:
    fitted = Auto().fit(example({Need.TEXT, Need.LABELS}, shots=8).task)
    trace = fitted.trace
    assert trace.how["method"] == "cross-validation"
    assert [row["method"] for row in trace.candidates][-1] == BLEND
    assert [row["picked"] for row in trace.candidates].count(True) == 1
    assert all(row["of"] == 40 for row in trace.candidates)
    assert fitted.out_of_fold is not None
    assert len(fitted.out_of_fold.labels) == 40
    best = next(row for row in trace.candidates if row["picked"])
    predicted = fitted.out_of_fold.logits.argmax(1)
    assert int((predicted == fitted.out_of_fold.labels).sum()) == best["right"]


def shuffled_names(task: Task) -> Task:
    assert task.text is not None
    classes = (task.text.classes + 1) % task.n_classes
    return dataclasses.replace(task, text=TextFeatures(task.text.x, classes))


@pytest.mark.parametrize("shots", [1, 8])
def test_wrong_names_are_left_out_and_it_says_so(shots: int) -> None:
    case = example({Need.TEXT, Need.LABELS}, shots=shots)
    task = shuffled_names(case.task)
    fitted = Auto().fit(task)
    assert picked(fitted) == "LinearProbe"
    assert any("names fit only" in note for note in fitted.trace.notes)

    def right(found: Fitted) -> float:
        return float((found(case.test).argmax(1) == case.test.labels).double().mean())

    assert right(fitted) > right(make("ZeroShot").fit(task)) + 0.5


def test_weak_labels_fall_back_to_names_and_it_says_so() -> None:
    """Labels drawn by chance: what is learned from them is worse on held-out rows than the names are."""
    case = example({Need.TEXT, Need.LABELS}, shots=8)
    support = case.task.support
    assert support is not None
    rng = np.random.default_rng(0)
    y = support.labels.numpy().copy()
    wrong = rng.permutation(len(y))[: int(0.4 * len(y))]
    y[wrong] = rng.integers(5, size=len(wrong))
    task = dataclasses.replace(case.task, support=dataclasses.replace(support, y=torch.from_numpy(y)))
    fitted = Auto().fit(task)
    rows = {row["method"]: row["right"] for row in fitted.trace.candidates}
    chosen = picked(fitted)
    assert rows[chosen] >= rows["ZeroShot"]
    if rows["ZeroShot"] > rows[BLEND]:
        assert chosen == "ZeroShot"


def scored(loss: list[float], right: int) -> Scored:
    return Scored(np.zeros((len(loss), 2)), np.array(loss), right, 0.0)


def test_the_cheapest_within_one_standard_error_is_taken() -> None:
    blend = scored([0.1, 0.2, 0.3, 0.4], 4)
    near, far = scored([0.1, 0.2, 0.3, 0.5], 4), scored([0.9, 1.0, 1.1, 1.2], 4)
    assert cheapest_within({"far": far, "near": near, BLEND: blend}, 1.0)[0] == "near"
    assert cheapest_within({"far": far, "near": near, BLEND: blend}, 0.0)[0] == BLEND
    fewer = dataclasses.replace(near, right=3)
    assert cheapest_within({"near": fewer, BLEND: blend}, 1.0)[0] == BLEND
    assert "cheapest within 1 standard" in cheapest_within({"near": near, BLEND: blend}, 1.0)[1]


def test_a_large_task_is_fitted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clipwright.protocol.candidates.LARGE", 1.0)
    fitted = Auto().fit(example({Need.TEXT, Need.LABELS}, shots=8).task)
    assert picked(fitted) == "GDA"
    assert "no fit is repeated" in fitted.trace.reason


def test_classes_with_a_single_image_stay_in() -> None:
    case = example({Need.TEXT, Need.LABELS}, shots=8)
    support = case.task.support
    assert support is not None
    keep = (support.labels != 0) | (torch.arange(len(support)) == 0)
    fitted = Auto().fit(dataclasses.replace(case.task, support=support[keep]))
    assert all(row["of"] == 32 for row in fitted.trace.candidates)


def test_a_blend_is_saved_as_one_head() -> None:
    fitted = Auto().fit(example({Need.TEXT, Need.LABELS}, shots=1).task)
    assert isinstance(fitted.head, BlendHead)


def test_it_is_made_by_name() -> None:
    assert configured("auto") == Auto()
    assert configured("AUTO", tolerance="0.5") == Auto(tolerance=0.5)
    assert configured("TaskRes").title == "TaskRes"
    with pytest.raises(UsageError, match="no hyper-parameter"):
        configured("auto", alpha=1)


def with_generated(make_prepared: MakePrepared, kept: int) -> Task:
    """A support set of `kept` real and 6 generated rows of each of three classes; the generated ones are noise."""
    prepared = make_prepared((16, 16, 16), splits=(["train"] * 10 + ["generated"] * 6) * 3)
    real = np.concatenate([np.arange(kept) + 16 * c for c in range(3)])
    task = prepared.task(np.concatenate([real, np.flatnonzero(prepared.dataset.is_generated)]), seed=3)
    assert task.support is not None
    x = task.support.x.clone()
    x[task.support.is_generated] = torch.randn(18, x.shape[1], generator=torch.Generator().manual_seed(0))
    return dataclasses.replace(task, support=dataclasses.replace(task.support, x=x))


def test_generated_images_alone_leave_the_names(make_prepared: MakePrepared) -> None:
    fitted = Auto().fit(with_generated(make_prepared, 0))
    assert picked(fitted) == "ZeroShot"
    assert "Generated images were left out" in fitted.trace.reason
    assert fitted.trace.labels_per_class == (0, 0, 0)
    assert not fitted.trace.candidates
    nameless = dataclasses.replace(with_generated(make_prepared, 0), text=None)
    with pytest.raises(NeedsError, match="nothing can be fitted"):
        Auto().fit(nameless)


@pytest.mark.parametrize("kept", [2, 8])
def test_generated_images_have_no_say_beside_labels(make_prepared: MakePrepared, kept: int) -> None:
    task = with_generated(make_prepared, kept)
    found, wanted = Auto().fit(task), Auto().fit(real_only(task))
    assert picked(found) == picked(wanted)
    assert found.trace.labels_per_class == wanted.trace.labels_per_class == (kept,) * 3
    assert found.trace.reason == f"{wanted.trace.reason} {LEFT_OUT}"
    for name, tensor in wanted.head.state_dict().items():
        torch.testing.assert_close(found.head.state_dict()[name], tensor, rtol=0, atol=0)
    assert real_only(real_only(task)).support is not None
    plain = real_only(task)
    assert real_only(plain) is plain
