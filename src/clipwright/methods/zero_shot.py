"""Zero-shot classification: the class texts themselves are the classifier."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Method, Requirements, class_texts, working_dtype
from clipwright.task import AveragingRule, Need, Task


@dataclass(frozen=True)
class ZeroShot(Method):
    """``logit_scale * unit(x) . unit(t_c)``: the nearest class text by cosine.

    Attributes:
        averaging: how the prompts of a class become one vector t_c: ``mean_unit_renorm`` or ``unit_mean`` (every
            prompt counts the same; the two are equal here, since t_c is scaled to length 1), or ``raw_mean`` (a
            prompt counts by the length of its raw feature). Source: Radford et al. 2021, section 3.1.4.
    """

    title: ClassVar[str] = "ZeroShot"
    summary: ClassVar[str] = "class names only: the nearest class text by cosine"
    paper: ClassVar[str] = "Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021"

    averaging: AveragingRule = "mean_unit_renorm"

    def requires(self) -> Requirements:
        """Text features."""
        return Requirements(needs=frozenset({Need.TEXT}))

    def fit(self, task: Task) -> Fitted:
        """Average the texts of each class.

        Raises:
            NeedsError: the task has no text features.
            DataError: a class has no text.
        """
        self.check(task)
        trace = self.trace(task, labels=False)
        with trace.timed():
            weight = unit_rows(class_texts(task, self.averaging)).to(working_dtype(task))
            return Fitted(LinearHead(weight, scale=task.logit_scale), trace=trace)

    def extend(self, fitted: Fitted, task: Task) -> Fitted:
        """The texts of the other classes are their classifier, whatever was fitted before."""
        return self.fit(task)
