"""Each conformance check fails on a method that breaks just what it is about."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from pydantic.dataclasses import dataclass as checked

from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted
from clipwright.heads.base import Head
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Method, Requirements, Tags, class_texts, working_dtype
from clipwright.methods.conformance import CHECKS, ConformanceError, Subject, check_method, run_check
from clipwright.methods.zero_shot import ZeroShot
from clipwright.task import Features, Need, Task


@checked(frozen=True)
class Good(Method):
    """Texts plus the mean of the support set.

    Attributes:
        share: weight of the images.
    """

    title: ClassVar[str] = "Good"
    summary: ClassVar[str] = "a method that keeps everything"

    share: float = 0.5

    def requires(self) -> Requirements:
        return Requirements(needs=frozenset({Need.TEXT, Need.LABELS}), optional=frozenset({Need.VIEWS, Need.UNLABELED}))

    def fit(self, task: Task) -> Fitted:
        self.check(task)
        trace = self.trace(task)
        with trace.timed():
            return Fitted(self.head(task), trace=trace)

    def head(self, task: Task) -> Head:
        return LinearHead(self.weight(task), scale=task.logit_scale)

    def texts(self, task: Task) -> torch.Tensor:
        return unit_rows(class_texts(task, "mean_unit_renorm")).to(working_dtype(task))

    def weight(self, task: Task) -> torch.Tensor:
        assert task.support is not None
        rows, labels = task.support.unit_x().to(working_dtype(task)), task.support.labels
        sums = torch.zeros(task.n_classes, rows.shape[1], dtype=rows.dtype).index_add_(0, labels, rows)
        counts = torch.bincount(labels, minlength=task.n_classes).clamp(min=1)[:, None]
        return unit_rows(self.texts(task) + self.share * sums / counts)


def support(task: Task) -> Features:
    assert task.support is not None
    return task.support


class SortsClasses(Good):
    """share: the first class is favoured."""

    def weight(self, task: Task) -> torch.Tensor:
        weight = super().weight(task)
        weight[0] *= 1.01
        return weight


class LooksAtFirstRow(Good):
    def weight(self, task: Task) -> torch.Tensor:
        return super().weight(task) + support(task).unit_x()[0] / 100


class UsesImageNorms(Good):
    def weight(self, task: Task) -> torch.Tensor:
        weight: torch.Tensor = super().weight(task) * support(task).x.norm()
        return weight


class UsesTextNorms(Good):
    def texts(self, task: Task) -> torch.Tensor:
        return class_texts(task, "raw_mean").to(working_dtype(task))


class DividesBySpreadOfClasses(Good):
    def weight(self, task: Task) -> torch.Tensor:
        weight = super().weight(task)
        scaled: torch.Tensor = weight / (weight - weight.mean(0)).norm()
        return scaled


class DividesBySpreadWithinClasses(Good):
    def weight(self, task: Task) -> torch.Tensor:
        y = support(task).labels
        rows = support(task).unit_x()
        spread = torch.stack([(rows[y == c] - rows[y == c].mean(0)).norm() for c in range(task.n_classes)])
        scaled: torch.Tensor = super().weight(task) / spread.sum()
        return scaled


class BreaksTiesByNumber(Good):
    def head(self, task: Task) -> Head:
        weight = self.weight(task)
        return LinearHead(weight, 0.01 * torch.arange(len(weight)), scale=task.logit_scale)


class StumblesOverMissingClass(Good):
    def weight(self, task: Task) -> torch.Tensor:
        rows, y = support(task).unit_x(), support(task).labels
        return torch.stack([rows[y == c][[0]].mean(0) for c in range(task.n_classes)]).to(working_dtype(task))


class NaiveHead(LinearHead):
    """Divides by the length of a row, even where that is zero."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.to(self.weight.dtype)
        logits: torch.Tensor = self.scale * (rows / rows.norm(dim=1, keepdim=True)) @ self.weight.T
        return logits


class DividesByZeroLength(Good):
    def head(self, task: Task) -> Head:
        return NaiveHead(self.weight(task))


class AlwaysSingle(Good):
    def weight(self, task: Task) -> torch.Tensor:
        return super().weight(task).float()


class DrawsFromTorch(Good):
    def weight(self, task: Task) -> torch.Tensor:
        weight = super().weight(task)
        return weight + 1e-6 * torch.randn_like(weight)


class DrawsAndIgnores(Good):
    def weight(self, task: Task) -> torch.Tensor:
        torch.rand(1)
        return super().weight(task)


class ForgetsOrder(LinearHead):
    """Sorts the classes it is restricted to."""

    def restrict(self, class_index: torch.Tensor) -> Head:
        return super().restrict(class_index.sort().values)


class RestrictsWrongly(Good):
    def head(self, task: Task) -> Head:
        return ForgetsOrder(self.weight(task))


class NormalisesInPlace(Good):
    def weight(self, task: Task) -> torch.Tensor:
        weight = super().weight(task)
        support(task).x.div_(2)
        return weight


class ForgetsBias(LinearHead):
    """Keeps part of its state outside its buffers."""

    extra = 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + self.extra


class KeepsStateAside(Good):
    def head(self, task: Task) -> Head:
        head = ForgetsBias(self.weight(task))
        head.extra = 1.0
        return head


class LooksAtValidation(Good):
    def weight(self, task: Task) -> torch.Tensor:
        weight = super().weight(task)
        return weight if task.validation is None else weight + task.validation.unit_x().mean(0).to(weight.dtype)


class PeeksAtHiddenLabels(Good):
    def weight(self, task: Task) -> torch.Tensor:
        weight = super().weight(task)
        if task.unlabeled is not None and task.unlabeled.y is not None:
            weight = weight * (1 + task.unlabeled.y.double().mean())
        return weight

    def requires(self) -> Requirements:
        return Requirements(needs=frozenset({Need.TEXT, Need.LABELS, Need.UNLABELED}))


class RaisesKeyError(Good):
    def fit(self, task: Task) -> Fitted:
        if task.text is None:
            raise KeyError("text")
        return super().fit(task)


class SaysNothing(Good):
    def fit(self, task: Task) -> Fitted:
        return Fitted(super().fit(task).head)


class AnswersWithoutSaying(Good):
    def fit(self, task: Task) -> Fitted:
        fitted = super().fit(task)
        return dataclasses.replace(fitted, query_logits=torch.zeros(3, task.n_classes))


@checked(frozen=True)
class Unexplained(Good):
    """No word about its field."""


@dataclass(frozen=True, eq=False)
class LeakyTask(Task):
    """A task that leaves the labels of its unlabeled rows in place."""

    def __post_init__(self) -> None:
        unlabeled = self.unlabeled
        super().__post_init__()
        object.__setattr__(self, "unlabeled", unlabeled)


BROKEN: dict[str, list[type[Good]]] = {
    "class_permutation": [SortsClasses],
    "sample_permutation": [LooksAtFirstRow],
    "image_scale": [UsesImageNorms],
    "text_scale": [UsesTextNorms],
    "one_class": [DividesBySpreadOfClasses],
    "one_sample": [DividesBySpreadWithinClasses],
    "ties": [BreaksTiesByNumber],
    "empty_support": [StumblesOverMissingClass],
    "broken_rows": [DividesByZeroLength],
    "dtypes": [AlwaysSingle],
    "determinism": [DrawsFromTorch, DrawsAndIgnores],
    "restriction": [RestrictsWrongly],
    "untouched_inputs": [NormalisesInPlace],
    "round_trip": [KeepsStateAside],
    "hidden_labels": [PeeksAtHiddenLabels],
    "validation_is_named": [LooksAtValidation],
    "needs_messages": [RaisesKeyError],
    "trace": [SaysNothing],
    "query_answers": [AnswersWithoutSaying],
    "described": [Unexplained],
}


@pytest.fixture(autouse=True)
def _broken_heads_can_be_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heads of this file are known to `build`, as those of the package are."""
    from clipwright.heads import base

    known = base.catalogue() | {kind.__name__: kind for kind in (NaiveHead, ForgetsOrder, ForgetsBias)}
    monkeypatch.setattr(base, "catalogue", lambda: known)


def test_every_check_has_a_method_that_breaks_it() -> None:
    assert set(BROKEN) == set(CHECKS)


def test_the_good_method_passes_all() -> None:
    check_method(Good())


@pytest.mark.parametrize(("check", "kind"), [(check, kind) for check, kinds in BROKEN.items() for kind in kinds])
def test_check_catches(check: str, kind: type[Good]) -> None:
    leaky = LeakyTask if check == "hidden_labels" else Task
    CHECKS[check](Subject(Good(), task_type=leaky))
    with pytest.raises(ConformanceError):
        CHECKS[check](Subject(kind(), task_type=leaky))


def exempting(check: str, kind: type[Method]) -> Method:
    """A method of that kind that claims not to need a check."""
    tags = Tags(exempt={check: "says so"})
    made: Any = type(kind.__name__, (kind,), {"tags": tags, "__doc__": kind.__doc__})
    method: Method = made()
    return method


def test_an_exemption_silences_a_check_only_while_it_fails() -> None:
    run_check("text_scale", exempting("text_scale", UsesTextNorms))
    with pytest.raises(ConformanceError, match="take its exemption out"):
        run_check("text_scale", exempting("text_scale", ZeroShot))


def test_an_exemption_from_an_unknown_check_is_refused() -> None:
    with pytest.raises(ConformanceError, match="no check"):
        run_check("described", exempting("no such check", ZeroShot))
