"""What automatic choice chooses among: a few methods that proved strong over many tasks, from the cheapest up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clipwright.methods import make
from clipwright.methods.base import Method
from clipwright.task import Task

Trust = Literal["fine", "doubtful", "wrong", "none"]
"""What the labelled images say of the class names: see `names_trust`."""

FINE, WRONG = 0.65, 0.25
"""From this share of labelled images named right by names alone, names are taken to fit; below that, to be wrong."""

BLEND = "blend"
NAMES, GAUSS, PULLED, FREE, RESIDUAL, KERNEL = (
    "ZeroShot",
    "GDA",
    "LinearProbe towards the texts",
    "LinearProbe",
    "TaskRes",
    "ProKeR",
)
ADAPTER = "CLIPAdapter"
DESCRIBED = "CODER"
"""Names with the texts that describe the classes, those that agree with the names; picked where nothing is labelled."""

PILED = "Transductive"
"""Picked where nothing is labelled but there are unlabeled images of every class."""

AS_THEY_ARE, PROMPTED, REFINED, STACKED = "class scores as they are", "CraFT", "CraFT's refinement", "ScoreScaling"
"""What is picked where a black box keeps its features."""

MEMBERS: dict[Trust, tuple[str, ...]] = {
    "fine": (GAUSS, PULLED, RESIDUAL),
    "doubtful": (GAUSS, PULLED, RESIDUAL, KERNEL, FREE),
    "wrong": (FREE,),
    "none": (FREE,),
}
"""Which methods are blended, by what the names are worth."""

FEW_MEMBERS: dict[Trust, tuple[str, ...]] = MEMBERS | {"doubtful": (ADAPTER,)}
"""The same with one or two labels per class, where no weight can be found."""

ALONE: dict[Trust, tuple[str, ...]] = {
    "fine": (NAMES, GAUSS, PULLED, RESIDUAL),
    "doubtful": (NAMES, GAUSS, PULLED, FREE, RESIDUAL),
    "wrong": (FREE,),
    "none": (FREE,),
}
"""Methods that may be picked by themselves, from the cheapest up."""

LARGE = 2e9
"""Labelled images times classes times dimensions from which fits are too slow to be repeated for folds."""


def candidate(name: str, task: Task) -> Method:
    """A candidate, configured for a task: hyper-parameters are rules of the task's sizes, none is searched."""
    strength = task.logit_scale**2
    if name == FREE:
        return make("LinearProbe", C=strength)
    if name == DESCRIBED:
        return make("CODER", agreement="auto", rerank=False, few_shot=False)
    if name == REFINED:
        return make("CraFT", parts="head")
    if name == PULLED:
        return make("LinearProbe", init="text", C=strength)
    return make(name)


def is_described(task: Task) -> bool:
    """Whether more is said of the classes than their names."""
    return task.text is not None and any(kind not in {"name", "template", "caption"} for kind in task.text.kind)


@dataclass(frozen=True)
class NamesTrust:
    """How far class names are to be trusted.

    Attributes:
        level: fine, doubtful, wrong, or none where there are no texts.
        share: share of the labelled images that names alone get right, or None.
    """

    level: Trust
    share: float | None = None


def names_trust(task: Task) -> NamesTrust:
    """Judge the class names by the labelled images, which zero-shot has never seen."""
    if task.text is None:
        return NamesTrust("none")
    support = task.support
    assert support is not None  # noqa: S101 - the caller has labels
    fitted = make(NAMES).fit(task)
    right = fitted(support.without_labels()).argmax(1).cpu() == support.labels
    share = float(right.double().mean())
    return NamesTrust("fine" if share >= FINE else "doubtful" if share >= WRONG else "wrong", share)


def is_large(task: Task) -> bool:
    """Whether fits are too slow to be repeated."""
    return task.support is not None and len(task.support) * task.n_classes * task.support.dim > LARGE
