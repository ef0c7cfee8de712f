"""CuPL: sentences of a language model about each class, averaged like prompts."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from clipwright.core.tensors import unit_rows
from clipwright.fitted import Fitted
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Method, Requirements, working_dtype
from clipwright.methods.text_means import rows_of
from clipwright.task import AveragingRule, Need, Task


@dataclass(frozen=True)
class CuPL(Method):
    """``logit_scale * unit(x) . unit(mean of the unit descriptions of the class)``.

    A class without descriptions is represented by its name, or its prompt templates.

    Attributes:
        templates: average descriptions and prompt templates together, each text counting as one.
        averaging: how the texts of a class become one vector; the default is the published rule.

    Source: Pratt et al. 2023, section 3; prompt ensembling as Radford et al. 2021.
    """

    title: ClassVar[str] = "CuPL"
    summary: ClassVar[str] = "class descriptions only: the nearest mean description by cosine"
    paper: ClassVar[str] = (
        "Pratt et al., What does a platypus look like? Generating customized prompts for zero-shot image "
        "classification, ICCV 2023"
    )

    templates: bool = False
    averaging: AveragingRule = "mean_unit_renorm"

    def requires(self) -> Requirements:
        """Text features."""
        return Requirements(needs=frozenset({Need.TEXT}))

    def fit(self, task: Task) -> Fitted:
        """Average the descriptions of each class.

        Raises:
            NeedsError: the task has no text features.
            DataError: a class has no text.
        """
        self.check(task)
        trace = self.trace(task, labels=False)
        with trace.timed():
            kinds = {"description", "template"} if self.templates else {"description"}
            weight = unit_rows(rows_of(task, kinds, trace).classifier(self.averaging)).to(working_dtype(task))
            return Fitted(LinearHead(weight, scale=task.logit_scale), trace=trace)

    def extend(self, fitted: Fitted, task: Task) -> Fitted:
        """The texts of the other classes are their classifier, whatever was fitted before."""
        return self.fit(task)
