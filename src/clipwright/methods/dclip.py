"""DCLIP: the mean of an image's scores against the descriptors of each class."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from clipwright.fitted import Fitted
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Method, Requirements, working_dtype
from clipwright.methods.text_means import rows_of
from clipwright.task import Need, Task


@dataclass(frozen=True)
class DCLIP(Method):
    """``logit_scale * mean over the descriptors of the class of unit(x) . unit(descriptor)``.

    Scores are averaged, not features, so that a class whose descriptors disagree scores lower than one whose
    descriptors agree. A descriptor is said with its class ("a hen, which has a red comb"); a class without any is
    represented by its name, or its prompt templates, as the published code does with an empty descriptor.

    Attributes:
        kinds: which kinds of text are descriptors, at least one.

    Source: Menon and Vondrick 2023, equation 1.
    """

    title: ClassVar[str] = "DCLIP"
    summary: ClassVar[str] = "descriptors of each class only: the mean of the scores against them"
    paper: ClassVar[str] = "Menon and Vondrick, Visual Classification via Description from Large Language Models, 2023"

    kinds: tuple[Literal["attribute", "description", "analogue"], ...] = ("attribute", "description")

    def requires(self) -> Requirements:
        """Text features."""
        return Requirements(needs=frozenset({Need.TEXT}))

    def fit(self, task: Task) -> Fitted:
        """Average the unit descriptors of each class, and leave the mean as long as it is.

        Raises:
            NeedsError: the task has no text features.
            DataError: a class has no text.
        """
        self.check(task)
        trace = self.trace(task, labels=False)
        with trace.timed():
            weight = rows_of(task, self.kinds, trace).classifier("unit_mean").to(working_dtype(task))
            return Fitted(LinearHead(weight, scale=task.logit_scale), trace=trace)

    def extend(self, fitted: Fitted, task: Task) -> Fitted:
        """The texts of the other classes are their classifier, whatever was fitted before."""
        return self.fit(task)
