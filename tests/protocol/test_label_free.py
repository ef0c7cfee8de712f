"""What unlabeled images decide, and what they are said to look like."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from tests.protocol.conftest import MakePrepared

from clipwright.fitted import Fitted
from clipwright.methods import make
from clipwright.protocol import label_free
from clipwright.protocol.label_free import judge, sample, strangers
from clipwright.task import Features, Task


def task_with(make_prepared: MakePrepared, counts: Sequence[int], *, noise: float = 0.6) -> Task:
    """Names of three classes and so many unlabeled images of each."""
    prepared = make_prepared((80, 80, 80), noise=noise)
    rows = np.concatenate([80 * c + np.arange(n) for c, n in enumerate(counts)])
    return prepared.task([], unlabeled=rows, seed=3)


def same(one: Fitted, other: Fitted) -> bool:
    ours, theirs = one.head.state_dict(), other.head.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_images_of_every_class_are_clustered(make_prepared: MakePrepared) -> None:
    task = task_with(make_prepared, (20, 20, 20))
    found = judge(task)
    wanted = make("Transductive").fit(task)
    assert found.fitted is not None
    assert same(found.fitted, wanted)
    assert "some of every class" in found.reason
    assert task.unlabeled is not None
    assert task.text is not None
    x = torch.nn.functional.normalize(task.unlabeled.x.double(), dim=1)
    text = torch.nn.functional.normalize(task.text.x.double(), dim=1)
    moved = int(((x @ text.T).argmax(1) != wanted(task.unlabeled).argmax(1)).sum())
    assert found.notes == [
        f"Transductive and names alone disagree on {moved} of 60 unlabeled images ({100 * moved / 60:.0f} %)."
    ]


@pytest.mark.parametrize(("each", "anchor"), [(2, 1), (7, 1), (8, 3)])
def test_texts_hold_less_where_images_are_few(make_prepared: MakePrepared, each: int, anchor: float) -> None:
    fitted = judge(task_with(make_prepared, (each,) * 3, noise=0.2)).fitted
    assert fitted is not None
    assert fitted.trace.chosen["anchor"] == anchor
    assert fitted.trace.how["anchor"] == ("rule" if anchor == 1 else "fixed")


def test_an_absent_class_leaves_the_names(make_prepared: MakePrepared) -> None:
    found = judge(task_with(make_prepared, (30, 30, 0), noise=0.2))
    assert found.fitted is None
    assert "1 of 3 classes have next to no image among 60 unlabeled images" in found.reason
    assert any("looks like 'class 2': take classes off the list" in note for note in found.notes)


@pytest.mark.parametrize("counts", [(1, 0, 0), (2, 2, 1)])
def test_a_few_images_leave_the_names(make_prepared: MakePrepared, counts: tuple[int, ...]) -> None:
    found = judge(task_with(make_prepared, counts))
    assert found.fitted is None
    assert "too few for 3 classes" in found.reason
    assert not found.notes


def test_uneven_classes_are_told(make_prepared: MakePrepared) -> None:
    found = judge(task_with(make_prepared, (70, 12, 10), noise=0.2))
    assert found.fitted is not None
    assert any("uneven among the unlabeled images, from 10 of 'class 2' to 70 of 'class 0'" in n for n in found.notes)
    even = judge(task_with(make_prepared, (30, 20, 30), noise=0.2))
    assert not any("uneven" in note for note in even.notes)


def test_strangers_are_told(make_prepared: MakePrepared) -> None:
    task = task_with(make_prepared, (30, 30, 30), noise=0.2)
    assert task.unlabeled is not None
    assert not strangers(task.unlabeled, task)
    rng = torch.Generator().manual_seed(0)
    others = 0.2 * torch.randn(30, task.unlabeled.dim, generator=rng)
    others[:, 5] += 2
    mixed = Features(torch.cat([task.unlabeled.x, others]))
    found = judge(dataclasses.replace(task, unlabeled=mixed))
    assert any("of the unlabeled images look less like their class than the rest" in note for note in found.notes)
    assert not strangers(mixed[[*range(10), *range(90, 100)]], task)  # too few to say


def test_many_changed_answers_are_told(make_prepared: MakePrepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_free, "CHANGED", -1.0)
    found = judge(task_with(make_prepared, (20, 20, 20)))
    assert any("more than on any task that this rule was tried on: label a few" in note for note in found.notes)


def test_no_more_images_are_looked_at_than_can_be(make_prepared: MakePrepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_free, "MOST", 50)
    task = task_with(make_prepared, (40, 40, 40), noise=0.2)
    assert sample(task).ids == sample(task).ids
    assert len(sample(task)) == 50
    assert sample(dataclasses.replace(task, seed=4)).ids != sample(task).ids
    found = judge(task)
    assert found.fitted is not None
    assert "Of 120 unlabeled images 50 were looked at." in found.notes


def test_labels_and_the_query_have_no_say(make_prepared: MakePrepared) -> None:
    task = task_with(make_prepared, (20, 20, 20))
    rows = make_prepared((80, 80, 80)).rows
    found = judge(dataclasses.replace(task, support=rows([60, 61]), query=rows([1, 2, 3]).without_labels()))
    plain = judge(task)
    assert found.fitted is not None
    assert plain.fitted is not None
    assert same(found.fitted, plain.fitted)
    assert (found.reason, found.notes) == (plain.reason, plain.notes)
