"""Linear classifiers from texts of some kinds: what CuPL, DCLIP and WaffleCLIP have in common."""

from __future__ import annotations

from collections.abc import Collection

import torch

from clipwright.core.errors import NeedsError
from clipwright.fitted import FitTrace
from clipwright.methods.base import SUPPLY
from clipwright.methods.coder_texts import NAMING, first_kind
from clipwright.task import Need, Task, TextFeatures


def rows_of(task: Task, kinds: Collection[str], trace: FitTrace | None = None) -> TextFeatures:
    """The texts of some kinds; a class that has none gives its name, or its prompt templates, or all there is.

    Args:
        task: with texts.
        kinds: which are wanted.
        trace: gets a note on how many classes have none.

    Raises:
        NeedsError: the task has no texts.
    """
    text = task.text
    if text is None:
        raise NeedsError(f"this needs {SUPPLY[Need.TEXT]}.")
    alone = text.rivals < 0
    chosen = alone & torch.tensor([kind in kinds for kind in text.kind], dtype=torch.bool)
    without = task.n_classes - len(torch.unique(text.classes[chosen]))
    for others in (first_kind(text, NAMING), alone):
        has = torch.bincount(text.classes[chosen], minlength=text.n_classes) > 0
        chosen = chosen | (others & ~has[text.classes])
    if without and trace is not None:
        said = " or ".join(sorted(kinds))
        trace.notes.append(f"{without} of {task.n_classes} classes have no text of kind {said}: their names stand in.")
    return text[chosen]
