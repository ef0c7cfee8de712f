"""WaffleCLIP: the mean of an image's scores against each class name with random words and characters behind it."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from clipwright.fitted import Fitted
from clipwright.heads.linear import LinearHead
from clipwright.methods.base import Method, Requirements, working_dtype
from clipwright.methods.text_means import rows_of
from clipwright.task import Need, Task


@dataclass(frozen=True)
class WaffleCLIP(Method):
    """``logit_scale * mean over the random descriptors r of unit(x) . unit(text of "class name, which has r")``.

    A method has no text tower, so it reads texts that were made and encoded before. All classes share the same random
    descriptors, so these are prompt templates ("a photo of a {}, which has jmhj, uvzq."):
    `clipwright.texts.waffle_templates` draws them, and wherever templates may be given they may. With templates of
    another sort this is `ZeroShot`, except that scores are averaged instead of features: it says nothing about random
    words. Noise put on the features of the names instead of on the texts would average out to the names, which is why
    there is no such fallback.

    Attributes:
        kind: the kind of the rows that hold the random texts; those of a class without any are its name.

    Source: Roth et al. 2023, section 3.2.
    """

    title: ClassVar[str] = "WaffleCLIP"
    summary: ClassVar[str] = "class names with random words behind them only: what descriptors must beat"
    paper: ClassVar[str] = (
        "Roth et al., Waffling around for Performance: Visual Classification with Random Words and Broad Concepts, "
        "ICCV 2023"
    )

    kind: Annotated[str, Field(min_length=1)] = "template"

    def requires(self) -> Requirements:
        """Text features."""
        return Requirements(needs=frozenset({Need.TEXT}))

    def fit(self, task: Task) -> Fitted:
        """Average the unit texts of each class, and leave the mean as long as it is.

        Raises:
            NeedsError: the task has no text features.
            DataError: a class has no text.
        """
        self.check(task)
        trace = self.trace(task, labels=False)
        with trace.timed():
            weight = rows_of(task, {self.kind}, trace).classifier("unit_mean").to(working_dtype(task))
            return Fitted(LinearHead(weight, scale=task.logit_scale), trace=trace)

    def extend(self, fitted: Fitted, task: Task) -> Fitted:
        """The texts of the other classes are their classifier, whatever was fitted before."""
        return self.fit(task)
