"""LattePrototypes: against plain loops, what captions bring, what is missing, and how many steps are taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.methods.test_transductive import right

from clipwright.core.errors import DataError, NeedsError, UsageError
from clipwright.core.rng import generator
from clipwright.core.tensors import unit_rows
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Requirements
from clipwright.methods.conformance import CHECKS, run_check
from clipwright.methods.example import example
from clipwright.methods.latte_mixing import FLOOR
from clipwright.methods.latte_prototypes import LattePrototypes
from clipwright.methods.zero_shot import ZeroShot
from clipwright.task import Features, Need, Task, TextFeatures

QUICK = LattePrototypes(steps=60, alpha=0.05)


def captioned_task(n: int = 240, classes: int = 6, dim: int = 24, *, seed: int = 0) -> tuple[Task, Features]:
    """Images whose captions say more about the classes than their names do, and other images to predict."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((classes, dim))
    labels = rng.integers(0, classes, n)

    def near(rows: np.ndarray, noise: float) -> torch.Tensor:
        return torch.from_numpy(rows + noise * rng.standard_normal(rows.shape))

    names = near(centres, 1.0)
    images = near(centres[labels], 1.2)
    unlabeled = Features(images, captions=near(centres[labels], 0.5), ids=[f"{i:03}" for i in range(n)])  # type: ignore[arg-type] # a list becomes a tuple
    groups = TextFeatures(near(centres.repeat(4, 0), 0.3), torch.arange(classes).repeat_interleave(4))
    y = rng.integers(0, classes, 300)
    task = Task(
        tuple(f"class {c}" for c in range(classes)), TextFeatures(names), unlabeled=unlabeled, group_captions=groups
    )
    return task, Features(near(centres[y], 1.2), torch.from_numpy(y))


def prototypes(method: LattePrototypes, task: Task) -> torch.Tensor:
    head = method.fit(task).head
    assert isinstance(head, LinearHead)
    return head.weight


def plain(task: Task, method: LattePrototypes) -> np.ndarray:
    """The published method, image by image with numpy; the task's rows must stand in the order of their ids."""
    assert task.unlabeled is not None
    assert task.unlabeled.captions is not None
    assert task.text is not None
    assert task.group_captions is not None
    z, u = task.unlabeled.unit_x().numpy(), unit_rows(task.unlabeled.captions).numpy()
    a, pool = task.text.classifier().numpy(), unit_rows(task.group_captions.x).numpy()
    once, p, n = (z @ a.T).argmax(1), a.copy(), len(z)
    members = [np.flatnonzero(task.group_captions.classes.numpy() == c) for c in range(len(a))]

    def weight(t: np.ndarray, reference: np.ndarray) -> float:
        second, first = np.sort(reference @ t)[-2:]
        return float(first - second) + FLOOR

    done = 0
    for epoch in range(10**6):
        draws, start = generator(task.seed, "latte", "groups", epoch).random(n), p.copy()
        order = generator(task.seed, "latte", "order", epoch).permutation(n) if n > method.batch_size else np.arange(n)
        for first in range(0, n - n % method.batch_size if n > method.batch_size else 1, method.batch_size):
            if done == method.steps:
                return p
            done += 1
            rows, reference = order[first : first + method.batch_size], start if method.snapshot == "epoch" else p
            found: list[list[np.ndarray]] = [[] for _ in p]
            for i in rows:
                now = int((z[i] @ p.T).argmax())
                for y in (now, int(once[i])):
                    c = y if method.group_label == "branch" else int(once[i])
                    texts = [a[y], u[i], pool[members[c][int(draws[i] * len(members[c]))]]]
                    w = [weight(t, reference) for t in texts]
                    mixed = sum(x * t for x, t in zip(w, texts, strict=True)) / sum(w)
                    found[y].append(p[y] + method.alpha * (mixed - p[y]))
            p = np.stack([np.mean(q, 0) if q else old for q, old in zip(found, p, strict=True)])
            p /= np.linalg.norm(p, axis=1, keepdims=True)
    raise AssertionError


@pytest.mark.parametrize(
    "changes",
    [{}, {"batch_size": 25, "steps": 11}, {"snapshot": "step", "batch_size": 30}, {"group_label": "branch"}],
    ids=str,
)
def test_against_plain_loops(changes: dict[str, Any]) -> None:
    task, _ = captioned_task(n=60)
    method = LattePrototypes(**{"steps": 5, "alpha": 0.1, **changes})
    found = prototypes(method, task)
    torch.testing.assert_close(found, torch.from_numpy(plain(task, method)), rtol=0, atol=1e-10)
    assert not torch.allclose(found, unit_rows(task.text.x), atol=1e-3)  # type: ignore[union-attr] # it has texts


def test_captions_that_know_more_than_names_help() -> None:
    task, images = captioned_task()
    zero = right(ZeroShot().fit(task)(images), images.labels)
    fitted = LattePrototypes().fit(task)
    assert right(fitted(images), images.labels) > zero + 15
    assert fitted.trace.labels_per_class == (0,) * 6
    for part in (
        replace(QUICK, group_captions=False),
        replace(QUICK, image_captions=False),
        replace(QUICK, mixer=False),
    ):
        assert right(part.fit(task)(images), images.labels) > zero


def test_the_trace_says_what_was_mixed() -> None:
    task, _ = captioned_task()
    note = QUICK.fit(task).trace.notes[0]
    shares = [float(part.split(" %")[0].split()[-1]) for part in note.split(";")[0].split(",")]
    assert sum(shares) == pytest.approx(100, abs=2)
    assert "class texts" in note
    assert "image captions" in note
    assert "group captions" in note
    even = LattePrototypes(mixer=False, steps=3).fit(task).trace.notes[0]
    assert "33 % class texts, 33 % image captions, 33 % group captions" in even


def test_without_captions_the_class_texts_stay() -> None:
    task, images = captioned_task()
    assert task.unlabeled is not None
    bare = replace(task, unlabeled=replace(task.unlabeled, captions=None), group_captions=None)
    wordless = LattePrototypes(image_captions=False, group_captions=False)
    for method, given in ((LattePrototypes(), bare), (wordless, task)):
        fitted = method.fit(given)
        torch.testing.assert_close(fitted(images), ZeroShot().fit(task)(images), rtol=0, atol=1e-9)
        assert fitted.trace.notes == [
            "No caption was used, so the classes stay as their texts are: caption the images first."
        ]
    assert not wordless.requires().optional
    # Steps in which no caption is heard would change nothing either.
    still = prototypes(LattePrototypes(steps=50, mask_wrong_captions=True), _deaf(replace(task, group_captions=None)))
    torch.testing.assert_close(still, unit_rows(task.text.x), rtol=0, atol=1e-12)  # type: ignore[union-attr] # texts


def _deaf(task: Task) -> Task:
    """The task with captions of every image that point at another class than the image."""
    assert task.unlabeled is not None
    assert task.text is not None
    a = unit_rows(task.text.x)
    other = ((task.unlabeled.unit_x() @ a.T).argmax(1) + 1) % len(a)
    return replace(task, unlabeled=replace(task.unlabeled, captions=a[other]))


def test_images_without_a_caption_count_with_the_texts_there_are() -> None:
    task, images = captioned_task()
    assert task.unlabeled is not None
    captions = task.unlabeled.captions
    assert captions is not None
    captions = captions.clone()
    captions[::3] = 0
    some = replace(task, unlabeled=replace(task.unlabeled, captions=captions))
    fitted = QUICK.fit(some)
    assert right(fitted(images), images.labels) > right(ZeroShot().fit(task)(images), images.labels)
    assert "80 of 240 images have no caption and count with their other texts." in fitted.trace.notes
    # A group caption of zeros is none, as if it weren't there.
    assert task.group_captions is not None
    empty = TextFeatures(
        torch.cat([torch.zeros(3, 24, dtype=torch.float64), task.group_captions.x]),
        torch.cat([torch.tensor([0, 1, 5]), task.group_captions.classes]),
    )
    assert torch.equal(prototypes(QUICK, replace(task, group_captions=empty)), prototypes(QUICK, task))
    # Only some classes have group captions.
    half = replace(task, group_captions=task.group_captions[task.group_captions.classes < 3])
    moved = prototypes(replace(QUICK, image_captions=False, group_label="branch"), half)
    a = unit_rows(task.text.x)  # type: ignore[union-attr] # it has texts
    torch.testing.assert_close(moved[3:], a[3:], rtol=0, atol=1e-12)
    assert float((moved[:3] - a[:3]).abs().max()) > 0.05


def test_a_class_that_no_image_has_keeps_its_text() -> None:
    task, _ = captioned_task()
    assert task.text is not None
    far = torch.cat([task.text.x, -task.text.x.sum(0, keepdim=True)])
    wider = replace(task, class_names=(*task.class_names, "nothing"), text=TextFeatures(far))
    fitted = QUICK.fit(wider)
    torch.testing.assert_close(prototypes(QUICK, wider)[6], unit_rows(far)[6], rtol=0, atol=1e-15)
    assert "1 of 7 classes are no image's label by the class texts." in fitted.trace.notes


def test_few_images_duplicates_and_a_single_class() -> None:
    task, images = captioned_task(n=3)
    assert task.unlabeled is not None
    for rows in (task.unlabeled, task.unlabeled[[0]], task.unlabeled[[0, 0, 0, 1]]):
        assert QUICK.fit(replace(task, unlabeled=rows))(images).shape == (300, 6)
    twice = replace(task, unlabeled=task.unlabeled[[0, 1, 2, 0, 1, 2]], group_captions=None)
    once = replace(task, group_captions=None)
    torch.testing.assert_close(prototypes(QUICK, twice), prototypes(QUICK, once), rtol=0, atol=1e-12)
    one, _ = captioned_task(classes=1)
    moved = prototypes(LattePrototypes(), one)
    # With one class margins mean nothing, so all texts count the same.
    assert one.unlabeled is not None
    assert one.unlabeled.captions is not None
    a, u = unit_rows(one.text.x)[0], unit_rows(one.unlabeled.captions).mean(0)  # type: ignore[union-attr] # texts
    v = unit_rows(one.group_captions.x).mean(0)  # type: ignore[union-attr] # group captions
    wanted = (a + u + v) / (a + u + v).norm()
    assert float(moved[0] @ wanted) > 0.999


def test_the_order_in_which_images_are_given_does_not_matter() -> None:
    task, _ = captioned_task()
    assert task.unlabeled is not None
    order = torch.from_numpy(np.random.default_rng(3).permutation(240))
    method = LattePrototypes(steps=30, alpha=0.1, batch_size=50)
    moved = prototypes(method, replace(task, unlabeled=task.unlabeled[order]))
    assert torch.equal(moved, prototypes(method, task))
    other = prototypes(method, replace(task, seed=1))
    assert not torch.equal(other, moved)


def test_reordered_classes_reorder_the_prototypes() -> None:
    task, _ = captioned_task()
    assert task.text is not None
    assert task.group_captions is not None
    old_of_new = torch.tensor([3, 0, 4, 1, 5, 2])
    new_of_old = old_of_new.argsort()

    def relabel(text: TextFeatures) -> TextFeatures:
        return replace(text, class_index=new_of_old[text.classes])

    names = tuple(task.class_names[c] for c in old_of_new)
    other = replace(task, class_names=names, text=relabel(task.text), group_captions=relabel(task.group_captions))
    torch.testing.assert_close(prototypes(QUICK, other), prototypes(QUICK, task)[old_of_new], rtol=0, atol=1e-12)


def test_steps_and_epochs() -> None:
    task, _ = captioned_task()
    trace = LattePrototypes(batch_size=100, steps=5).fit(task).trace  # two full batches an epoch
    assert (trace.chosen["steps"], trace.chosen["epochs"]) == (5, 3)
    assert (trace.how["steps"], trace.how["epochs"]) == ("user", "rule")
    by_epochs = LattePrototypes(batch_size=100, epochs=3)
    trace = by_epochs.fit(task).trace
    assert (trace.chosen["steps"], trace.chosen["epochs"]) == (6, 3)
    assert (trace.how["steps"], trace.how["epochs"]) == ("rule", "user")
    assert torch.equal(prototypes(by_epochs, task), prototypes(LattePrototypes(batch_size=100, steps=6), task))
    a = unit_rows(task.text.x)  # type: ignore[union-attr] # it has texts
    torch.testing.assert_close(prototypes(LattePrototypes(steps=0), task), a, rtol=0, atol=1e-15)


def test_the_released_mistakes_are_switches() -> None:
    task, _ = captioned_task()
    released = LattePrototypes(steps=20, batch_size=24, mixer_legacy_broadcast=True, z_uses_f_weights=True)
    intended = prototypes(LattePrototypes(steps=20, batch_size=24), task)
    assert not torch.allclose(prototypes(released, task), intended, atol=1e-5)
    with pytest.raises(UsageError, match=r"\(24\); this one has 100: set batch_size"):
        replace(released, batch_size=100).fit(task)
    plainly = LattePrototypes(steps=20, batch_size=24)
    for changed in (
        replace(plainly, mask_wrong_captions=True),
        replace(plainly, renorm_target=True),
        replace(plainly, z_uses_f_weights=True),
        replace(plainly, double_count=False),
    ):
        assert not torch.equal(prototypes(changed, task), intended)


def test_needs_and_broken_captions() -> None:
    task, _ = captioned_task()
    with pytest.raises(NeedsError, match="needs unlabeled images"):
        LattePrototypes().fit(replace(task, unlabeled=None))
    with pytest.raises(NeedsError, match="fit it anew"):
        QUICK.extend(QUICK.fit(task), task)
    assert task.unlabeled is not None
    spoilt = replace(task.unlabeled)
    captions = torch.full((240, 24), torch.nan)
    object.__setattr__(spoilt, "captions", captions)  # past the checks of Features
    with pytest.raises(DataError, match="NaN"):
        QUICK.fit(replace(task, unlabeled=spoilt))


class Heard(LattePrototypes):
    """LattePrototypes that asks for captions, so that every check's example has them."""

    __doc__ = LattePrototypes.__doc__

    def requires(self) -> Requirements:
        return Requirements(frozenset({Need.TEXT, Need.UNLABELED, Need.CAPTIONS}))


# Group captions don't follow the classes in `class_permutation`, see the test above. Classes that look the same share
# no image, since an image has one label: the first of them gets all.
@pytest.mark.parametrize("check", sorted(set(CHECKS) - {"class_permutation", "ties"}))
def test_conforms_with_captions(check: str) -> None:
    run_check(check, Heard(steps=60, alpha=0.05))


def test_the_example_with_captions_says_something_else() -> None:
    case = example({Need.TEXT, Need.UNLABELED, Need.CAPTIONS})
    assert case.task.group_captions is not None
    gap = (QUICK.fit(case.task)(case.test) - ZeroShot().fit(case.task)(case.test)).abs().max()
    assert float(gap) > 0.1
