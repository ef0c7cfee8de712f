"""Which method to fit, and why."""

from __future__ import annotations

from clipwright.core.errors import NeedsError
from clipwright.methods import make, runnable
from clipwright.methods.base import Method
from clipwright.task import Need, Task


def choose(task: Task) -> tuple[Method, str]:
    """The method for `task` by rule, and the reason in one sentence.

    Raises:
        NeedsError: no method can be fitted on what is there.
    """
    able = runnable(task)
    if Need.LABELS in task.supplies() and "TaskRes" in able:
        fewest = min(task.shots)
        if fewest == 0:
            unseen = sum(count == 0 for count in task.shots)
            reason = f"{unseen} of {task.n_classes} classes have no labelled image, so the names decide."
            return make("ZeroShot"), reason
        return make("TaskRes"), f"There are class names and at least {fewest} labelled images per class."
    if "ZeroShot" in able:
        return make("ZeroShot"), "There are class names and no labels."
    raise NeedsError(
        "nothing can be fitted: give class names with a backbone, or a bundle that holds text_features; "
        "labels alone are not enough yet."
    )
