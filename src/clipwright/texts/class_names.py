"""Class names as a prompt should say them."""

from __future__ import annotations

from collections.abc import Sequence

from clipwright.core.errors import UsageError
from clipwright.task import check_class_names


def clean_names(class_names: Sequence[str], *, underscores: bool = True) -> tuple[str, ...]:
    """Names with underscores as spaces and surrounding and repeated spaces removed.

    Args:
        class_names: as the data set has them.
        underscores: turn underscores into spaces (CoOp, Tip-Adapter, GDA, CraFT). The released code of TaskRes and
            CLAP leaves them: pass False for their numbers.

    Raises:
        DataError: a name is empty.
        UsageError: two names become the same.
    """
    check_class_names(class_names)
    cleaned = tuple(" ".join((name.replace("_", " ") if underscores else name).split()) for name in class_names)
    seen: dict[str, str] = {}
    for name, clean in zip(class_names, cleaned, strict=True):
        if not clean:
            raise UsageError(f"the class name {name!r} has no letters: give the class a name that a text can say.")
        if clean in seen:
            raise UsageError(
                f"the class names {seen[clean]!r} and {name!r} both read {clean!r} in a text: rename one of them."
            )
        seen[clean] = name
    return cleaned
