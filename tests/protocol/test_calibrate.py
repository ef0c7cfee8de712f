"""Out-of-fold logits come from fits that did not see the row."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from clipwright.fitted import Fitted
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Method, Requirements
from clipwright.methods.taskres import TaskRes
from clipwright.methods.zero_shot import ZeroShot
from clipwright.protocol.calibrate import out_of_fold_logits, temperature
from clipwright.task import Features, Need, Task, TextFeatures


@dataclass(frozen=True)
class Witness(Method):
    """Notes what each fit was given; its head is the class means."""

    title: ClassVar[str] = "Witness"
    summary: ClassVar[str] = "class means"
    seen: list[tuple[str, ...]] = field(default_factory=list)

    def requires(self) -> Requirements:
        return Requirements(needs=frozenset({Need.LABELS}))

    def fit(self, task: Task) -> Fitted:
        assert task.support is not None
        assert task.support.ids is not None
        self.seen.append(task.support.ids)
        y = task.support.labels
        means = torch.stack([task.support.x[y == c].mean(0) for c in range(task.n_classes)])
        return Fitted(LinearHead(means, scale=1.0, normalize=False))


def _task(per_class: tuple[int, ...] = (6, 7, 8), seed: int = 0) -> Task:
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(per_class)), per_class)
    centres = np.eye(len(per_class), 5) * 2
    x = centres[y] + rng.normal(size=(len(y), 5))
    support = Features(torch.tensor(x).float(), torch.tensor(y), ids=tuple(f"r{i}" for i in range(len(y))))
    names = tuple(f"c{i}" for i in range(len(per_class)))
    return Task(names, TextFeatures(torch.tensor(centres).float()), support, logit_scale=10.0, seed=seed)


def test_no_row_is_scored_by_a_fit_that_saw_it() -> None:
    task, witness = _task(), Witness()
    found, reason = out_of_fold_logits(witness, task, folds=4)
    assert found is not None
    assert found.folds == len(witness.seen) == 4
    assert task.support is not None
    assert task.support.ids is not None
    missing = [set(task.support.ids) - set(seen) for seen in witness.seen]
    assert sorted(i for part in missing for i in part) == sorted(task.support.ids)
    assert "4-fold" in reason
    # The logits are those of the fits, row by row.
    for part in missing:
        held = [i for i, name in enumerate(task.support.ids) if name in part]
        rest = [i for i, name in enumerate(task.support.ids) if name not in part]
        fitted = Witness().fit(replace(task, support=task.support[rest]))
        np.testing.assert_allclose(found.logits[held], fitted(task.support[held]).double().numpy(), rtol=1e-6)


def test_the_order_of_rows_does_not_matter() -> None:
    task = _task()
    assert task.support is not None
    order = np.random.default_rng(1).permutation(len(task.support))
    one, _ = out_of_fold_logits(Witness(), task)
    other, _ = out_of_fold_logits(Witness(), replace(task, support=task.support[order]))
    assert one is not None
    assert other is not None
    np.testing.assert_allclose(one.logits[order], other.logits, atol=1e-5)


def test_a_method_that_looks_at_no_labels_is_fitted_once() -> None:
    task = _task((1, 2, 3))
    found, reason = out_of_fold_logits(ZeroShot(), task)
    assert found is not None
    assert found.folds == 1
    assert "saw no labels" in reason
    assert task.support is not None
    np.testing.assert_allclose(found.logits, ZeroShot().fit(task)(task.support).double().numpy())


@pytest.mark.parametrize(
    ("task", "says"),
    [
        (_task((3, 1, 3)), "'c1' has 1, so confidences are not calibrated"),
        (replace(_task(), support=None), "There are no labels"),
    ],
)
def test_too_few_labels_give_no_temperature_and_say_why(task: Task, says: str) -> None:
    found, reason = temperature(Witness(), task)
    assert found is None
    assert says in reason


@pytest.mark.parametrize("method", [ZeroShot(), TaskRes(epochs=20)])
def test_the_temperature_mends_confidence_on_new_images(method: Method) -> None:
    task = replace(_task((40, 40, 40)), logit_scale=60.0)  # far too sure of itself
    found, _ = temperature(method, task)
    assert found is not None
    fresh = _task((200, 200, 200), seed=9).support
    assert fresh is not None
    logits = method.fit(task)(fresh).double()
    before, after = (torch.nn.functional.cross_entropy(logits / t, fresh.labels).item() for t in (1.0, found.value))
    assert found.value > 1.5
    assert after < before
