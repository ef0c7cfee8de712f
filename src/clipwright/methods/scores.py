"""Class scores of a task, whether a black box gave them or its features and texts do."""

from __future__ import annotations

import torch

from clipwright.core.errors import NeedsError
from clipwright.core.tensors import unit_rows
from clipwright.heads.base import Head
from clipwright.heads.linear import LinearHead
from clipwright.heads.refine import ChainHead
from clipwright.methods.base import SUPPLY, class_texts, working_dtype
from clipwright.task import AveragingRule, Features, Need, Task


def text_head(task: Task, averaging: AveragingRule = "mean_unit_renorm") -> LinearHead:
    """The zero-shot classifier of a task that has texts."""
    weight = unit_rows(class_texts(task, averaging)).to(working_dtype(task))
    return LinearHead(weight, scale=task.logit_scale)


def class_scores(task: Task, rows: Features) -> torch.Tensor:
    """(n, S, C) scores of some rows of a task: those that came with them, else cosines with the class texts, scaled.

    Raises:
        NeedsError: there are neither.
    """
    if rows.scores is not None:
        return rows.scores if rows.scores.dtype == torch.float64 else rows.scores.float()
    if task.text is None or not rows.dim:
        raise NeedsError(f"this needs {SUPPLY[Need.SCORES]}.")
    with torch.no_grad():
        scores: torch.Tensor = text_head(task)(rows.x)
    return scores[:, None]


def behind_scores(task: Task, head: Head) -> Head:
    """A head on scores as one that the task's rows can be given to: behind the texts where scores come from them."""
    given = task.support is not None and task.support.scores is not None
    return head if given else ChainHead(text_head(task), head)
