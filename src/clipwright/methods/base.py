"""The contract of a method: a frozen set of hyper-parameters whose `fit` turns a Task into a Fitted."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from clipwright.core.errors import DataError, NeedsError
from clipwright.fitted import Fitted, FitTrace, Source
from clipwright.task import Access, AveragingRule, Features, Need, Task


@dataclass(frozen=True)
class Requirements:
    """What one configuration of a method must and may be given."""

    needs: frozenset[Need] = frozenset()
    optional: frozenset[Need] = frozenset()
    access: frozenset[Access] = frozenset({Access.FEATURES})


def wants(*, text: bool = True, labels: bool = True, views: bool = False, validation: bool = False) -> Requirements:
    """Requirements of a few-label method: text and labels are musts, views and validation labels may be given."""
    needs = {Need.TEXT: text, Need.LABELS: labels}
    optional = {Need.VIEWS: views, Need.VALIDATION: validation}
    return Requirements(frozenset(n for n in needs if needs[n]), frozenset(n for n in optional if optional[n]))


@dataclass(frozen=True)
class Tags:
    """What a method is like, as data that the conformance checks and the runner read.

    Attributes:
        transductive: `Fitted.query_logits` answers `task.query` as a whole.
        exempt: conformance checks that don't hold for this method by its nature, each with the reason.
        tolerance: how far logits in float32 may lie from those in float64, relative to the largest.
    """

    transductive: bool = False
    exempt: Mapping[str, str] = field(default_factory=dict)
    tolerance: float = 1e-3


class Method(ABC):
    """A way to fit a classifier. Subclasses are frozen pydantic dataclasses: hyper-parameters are fields.

    Every field has a default. A subclass keeps what `clipwright.methods.conformance` checks, or says in its tags why
    it doesn't.

    Attributes:
        title: what users call it.
        summary: what it needs and does, half a line.
        paper: authors, title, venue, year.
        tags: what it is like.
    """

    title: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str] = ""
    tags: ClassVar[Tags] = Tags()

    @abstractmethod
    def requires(self) -> Requirements:
        """What this configuration needs of a Task."""

    @abstractmethod
    def fit(self, task: Task) -> Fitted:
        """Fit on a task.

        Raises:
            NeedsError: the task lacks what `requires` names.
            DataError: the task's features can't be used.
        """

    def extend(self, fitted: Fitted, task: Task) -> Fitted:
        """The classifier of other classes that follows from a fit, given their texts and nothing else.

        Args:
            fitted: what this configuration's `fit` returned, perhaps saved and loaded since.
            task: the other classes and their texts, without images.

        Raises:
            NeedsError: the method can't, which is what this default says, or the task has no texts.
        """
        raise NeedsError(
            f"{self.title} can't score classes that it was not fitted on, since it learns each class from its labelled "
            "images: score the classes of the fit alone (--classes-subset base), or fit ZeroShot."
        )

    def trace(self, task: Task, rules: dict[str, Any] | None = None, *, labels: bool = True) -> FitTrace:
        """A trace that says what each hyper-parameter is and where its value came from.

        Args:
            task: what is fitted on.
            rules: values that a rule of the method put in the place of ``None`` or ``"auto"``.
            labels: whether the fit looks at the support labels.
        """
        found = rules or {}
        given, defaults = self.hyper_parameters(), type(self)().hyper_parameters()
        how: dict[str, Source] = {n: "fixed" if value == defaults[n] else "user" for n, value in given.items()}
        return FitTrace(
            chosen=given | found,
            how=how | dict.fromkeys(found, "rule"),
            labels_per_class=task.labels_per_class if labels else (0,) * task.n_classes,
        )

    def hyper_parameters(self) -> dict[str, Any]:
        """The fields of this configuration by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type] # subclasses are

    def missing(self, task: Task) -> tuple[list[Need], list[Access]]:
        """What `task` lacks for this configuration."""
        wants = self.requires()
        return sorted(wants.needs - task.supplies()), sorted(wants.access - task.grants())

    def check(self, task: Task) -> None:
        """Refuse a task that can't be fitted.

        Raises:
            NeedsError: names what is missing, how to supply it, and which methods would run.
        """
        needs, access = self.missing(task)
        if not needs and not access:
            return
        from clipwright.methods import runnable

        lacks = " and ".join([*(SUPPLY[n] for n in needs), *(GRANT[a] for a in access)])
        others = ", ".join(runnable(task)) or "none"
        raise NeedsError(f"{self.title} needs {lacks}. With what is there, these would run: {others}.")


SUPPLY: dict[Need, str] = {
    Need.TEXT: "text features of the class names (give class names and a backbone, or text_features in the bundle)",
    Need.LABELS: "labelled images (at least one per class)",
    Need.VALIDATION: "validation labels (--validation few-shot, or a val split)",
    Need.UNLABELED: "unlabeled images",
    Need.QUERY: "a query batch to look at",
    Need.VIEWS: "augmented views (extract with --views 10)",
    Need.PRE_PROJECTION: "features before the tower's last matrix (extract them with an open_clip backbone)",
    Need.SECOND: "features of a second backbone",
    Need.RAW_NORMS: "features whose norms were kept (not unit-norm ones)",
    Need.IMAGES: "the images themselves",
    Need.CAPTIONS: "captions of the unlabeled images (make them with 'clipwright caption', and give --captions FOLDER)",
    Need.SCORES: "class scores (text and image features, or `scores` in the bundle, or an endpoint that grants scores)",
}


GRANT: dict[Access, str] = {
    Access.WEIGHTS: "a model whose weights are at hand (a backbone in this process, not an endpoint)",
    Access.SOFT_PROMPT: "a model that takes soft prompts (a backbone with a causal text tower, such as openclip:... or "
    "tiny, or an endpoint that grants soft_prompt; a bundle holds none)",
    Access.FEATURES: "image features (an endpoint that grants features, or a backbone in this process)",
    Access.SCORES: "class scores (an endpoint that grants scores, or a backbone in this process)",
    Access.LABELS: "a model that names classes",
}
"""What to say of access that is missing."""


def require_labels(task: Task) -> Features:
    """The support set, refused when a class has none.

    Raises:
        DataError: names the first class without a labelled image.
    """
    if task.support is None or not len(task.support):
        raise NeedsError(f"this needs {SUPPLY[Need.LABELS]}.")
    for name, count in zip(task.class_names, task.shots, strict=True):
        if count == 0:
            raise DataError(f"class {name!r} has no labelled image: add one, or leave the class out.")
    return task.support


def class_texts(task: Task, rule: AveragingRule) -> torch.Tensor:
    """(C, D) one vector per class: its prompt templates averaged, or all its texts where it has no template rows.

    Raises:
        NeedsError: the task has no text features.
        DataError: a class has no text.
    """
    if task.text is None:
        raise NeedsError(f"this needs {SUPPLY[Need.TEXT]}.")
    return task.text.describing("template").classifier(rule)


def working_dtype(task: Task) -> torch.dtype:
    """What to compute in: float64 where any feature of the task is, else float32."""
    parts = [task.text, task.support, task.validation, task.unlabeled, task.query]
    wide = any(part is not None and part.x.dtype == torch.float64 for part in parts)
    return torch.float64 if wide else torch.float32
